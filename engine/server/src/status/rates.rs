use std::collections::BTreeMap;

use foldstream_model::{ShardId, SourceName};
use foldstream_runtime::report::{LineReport, Phase, WorkerReport};
use serde::Serialize;

use super::ProjectionStanding;

/// What the readings of shards did between two reports of a worker.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    lines: BTreeMap<(SourceName, ShardId, String), LineRate>,
}

/// What one reading did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineRate {
    pub events_per_second: u64,
    /// What it spent most of the time with: `source`, `projector` or `sink`; none if it did nothing.
    pub slowest: Option<&'static str>,
}

impl Rates {
    /// None while the worker has not said anything new.
    pub fn between(earlier: &WorkerReport, later: &WorkerReport) -> Option<Self> {
        let micros = later.written_at.micros_since(earlier.written_at);
        if micros == 0 || earlier.worker != later.worker {
            return None;
        }
        let before: BTreeMap<_, _> = lines(earlier).collect();
        let lines = lines(later).map(|(key, line)| {
            let rate = LineRate::between(before.get(&key).copied(), line, micros);
            (key, rate)
        });
        Some(Self { lines: lines.collect() })
    }

    pub fn line(&self, source: &SourceName, shard: &ShardId, reader: &str) -> Option<LineRate> {
        self.lines.get(&(source.clone(), shard.clone(), reader.to_owned())).copied()
    }

    /// Events a second that a projection was given, by the readings that serve it.
    pub fn of(&self, standing: &ProjectionStanding) -> Option<u64> {
        let rates = standing.shards.iter().filter_map(|shard| {
            let reader = |name| self.line(&shard.source, &shard.shard, name);
            match shard.phase? {
                Phase::CatchingUp => reader("catch_up"),
                _ => reader("shared").or_else(|| reader("merge")),
            }
        });
        rates.map(|rate| rate.events_per_second).reduce(|sum, rate| sum + rate)
    }
}

impl LineRate {
    fn between(before: Option<&LineReport>, line: &LineReport, micros: u64) -> Self {
        let since = |now: u64, before: Option<u64>| now.saturating_sub(before.unwrap_or(0));
        let events = since(line.events, before.map(|line| line.events));
        let stages = [
            ("source", since(line.waiting_for_source_ms, before.map(|line| line.waiting_for_source_ms))),
            ("projector", since(line.projecting_ms, before.map(|line| line.projecting_ms))),
            ("sink", since(line.waiting_for_sink_ms, before.map(|line| line.waiting_for_sink_ms))),
        ];
        let slowest = stages.into_iter().max_by_key(|(_, spent)| *spent).filter(|(_, spent)| *spent > 0);
        Self {
            events_per_second: events.saturating_mul(1_000_000) / micros,
            slowest: slowest.map(|(stage, _)| stage),
        }
    }
}

fn lines(report: &WorkerReport) -> impl Iterator<Item = ((SourceName, ShardId, String), &LineReport)> {
    report.shards.iter().flat_map(|shard| {
        shard
            .lines
            .iter()
            .map(|line| ((shard.source.clone(), shard.shard.clone(), line.reader.clone()), line))
    })
}
