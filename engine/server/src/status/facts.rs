use std::collections::BTreeMap;

use foldstream_config::{Config, settings::SourceKind};
use foldstream_local::{LocalLog, LocalStore, LogDescription};
use foldstream_model::{
    Checkpoint, Control, Epoch, Event, Lot, Position, ProjectionId, Result, ShardId, SourceName, Timestamp,
    ports::Table,
};
use foldstream_runtime::{
    checkpoint::effective,
    control::Controls,
    deciding::OpenGap,
    report::WorkerReport,
    rows::{self, Rows},
};

use super::missing;
use crate::stores::Stores;

/// A worker that has said nothing for so long is not running any more.
const SILENT_MICROS: u64 = 5_000_000;

/// What is stored about a line.
pub struct Facts {
    pub now: Timestamp,
    /// What the workers that run now said of themselves, as if they were one; if none does, what the last one said.
    pub report: Option<WorkerReport>,
    /// The processes of the workers that run now.
    pub processes: Vec<u32>,
    pub controls: Vec<(ProjectionId, Control)>,
    /// By projection, then source and shard.
    pub checkpoints: BTreeMap<ProjectionId, BTreeMap<(SourceName, ShardId), Checkpoint>>,
    /// The embedded streams of the configured sources.
    pub logs: BTreeMap<SourceName, LogDescription>,
    /// Events that are stored and in no stream yet: the source with the most of them.
    pub not_relayed: u64,
    /// Recorded-at of the oldest event that is stored and not in the source's stream yet.
    pub not_relayed_since: BTreeMap<SourceName, Timestamp>,
    /// The oldest record in a shard that lies behind a configured projection's checkpoint.
    pub unread: BTreeMap<(ProjectionId, ShardId), Unread>,
    /// Records that are no events.
    pub unreadable: BTreeMap<(SourceName, ShardId, Position), String>,
    /// How many records that could not be decoded wait, of the configured sources that have any.
    pub records: BTreeMap<SourceName, u64>,
    /// What the streams that wait in the configured sources wait for.
    pub missing: Vec<(SourceName, OpenGap)>,
    /// The sources of configured projections.
    pub configured: BTreeMap<ProjectionId, SourceName>,
}

/// A record that is not in the documents.
#[derive(Clone, Copy)]
pub struct Unread {
    /// Of the event; of a record that is none, when it arrived.
    pub recorded_at: Timestamp,
    pub arrived_at: Timestamp,
}

impl Facts {
    pub async fn gather(store: &Stores, config: Option<&Config>, now: Timestamp) -> Result<Self> {
        let rows = store.rows();
        let mut facts = Self {
            now,
            report: None,
            processes: Vec::new(),
            controls: Controls::new(rows.clone()).list().await?,
            checkpoints: BTreeMap::new(),
            logs: BTreeMap::new(),
            not_relayed: 0,
            not_relayed_since: BTreeMap::new(),
            unread: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            records: BTreeMap::new(),
            missing: Vec::new(),
            configured: config.map(configured).unwrap_or_default(),
        };
        facts.hear(reports(&rows).await?);
        if let Some(config) = config.filter(|_| facts.may_have_gaps()) {
            facts.missing = missing(config, store).await?;
        }
        for (projection, control) in &facts.controls {
            let found = checkpoints_of(&rows, projection, control).await?;
            facts.checkpoints.insert(projection.clone(), found);
        }
        for (name, source) in config.into_iter().flat_map(|config| &config.sources) {
            let kind = &source.kind.value;
            let source = SourceName::new(name.as_str());
            let waiting = rows.records_that_wait(&source).await?;
            facts.records.extend((waiting > 0).then(|| (source.clone(), waiting)));
            // What another stream holds is known by its readers alone.
            let SourceKind::Local { stream, .. } = kind else { continue };
            let local = store.local()?;
            let Some(log) = local.existing_log(stream).await? else { continue };
            facts.look_into(&log, source, local).await?;
        }
        Ok(facts)
    }

    /// The lot that a projection parks in.
    pub fn lot(&self, projection: &ProjectionId) -> Lot {
        let control = self.controls.iter().find(|(id, _)| id == projection);
        let epoch = control.map_or(Epoch::default(), |(_, control)| control.epoch);
        Lot::of_documents(projection, epoch)
    }

    /// What a source's stream holds, and what of it is not read yet.
    async fn look_into(&mut self, log: &LocalLog, source: SourceName, store: &LocalStore) -> Result<()> {
        let description = log.describe().await?;
        let next = store.events().read_behind(description.relayed, 1).await?;
        let since = next.first().map(|(_, event)| (source.clone(), event.recorded_at));
        self.not_relayed_since.extend(since);
        let last = store.events().last_offset().await?;
        self.not_relayed = self.not_relayed.max(last.saturating_sub(description.relayed));
        for (projection, control) in &self.controls {
            if self.configured.get(projection) != Some(&source) {
                continue;
            }
            let checkpoints = self.checkpoints.get(projection);
            for shard in &description.shards {
                let checkpoint =
                    checkpoints.and_then(|known| known.get(&(source.clone(), shard.id.clone()))).cloned();
                let done = effective(checkpoint, control, &shard.id).place().position;
                let Some(record) = log.next_record(&shard.id, &done).await? else { continue };
                let recorded_at = match Event::from_envelope(&record.data) {
                    Ok(event) => event.recorded_at,
                    Err(error) => {
                        let at = (source.clone(), shard.id.clone(), record.position);
                        self.unreadable.insert(at, error.to_string());
                        record.arrived_at
                    }
                };
                let unread = Unread { recorded_at, arrived_at: record.arrived_at };
                self.unread.insert((projection.clone(), shard.id.clone()), unread);
            }
        }
        self.logs.insert(source, description);
        Ok(())
    }

    fn hear(&mut self, mut reports: Vec<WorkerReport>) {
        reports.sort_by_key(|report| report.written_at);
        let last = reports.last().cloned();
        let runs =
            |report: &WorkerReport| !report.ended && self.now.micros_since(report.written_at) < SILENT_MICROS;
        let mut running: Vec<WorkerReport> = reports.into_iter().filter(runs).collect();
        running.sort_by(|a, b| a.worker.cmp(&b.worker));
        self.processes = running.iter().map(|report| report.process).collect();
        self.report = running.into_iter().reduce(together).or(last);
    }

    /// The workers that run now, as if they were one.
    pub fn worker(&self) -> Option<&WorkerReport> {
        self.report.as_ref().filter(|_| !self.processes.is_empty())
    }

    /// Up to when all that was stored is in each source that has heartbeats.
    pub fn complete_until(&self) -> impl Iterator<Item = (&SourceName, Timestamp)> {
        let workers = self.worker().into_iter();
        workers.flat_map(|worker| &worker.complete_until).map(|(source, until)| (source, *until))
    }

    /// A worker says whether anything waits in the shards that it reads: not where projections have stopped or are paused.
    fn may_have_gaps(&self) -> bool {
        self.worker().is_none_or(|worker| {
            let has_stopped = worker.projections.iter().any(|said| said.stop.is_some());
            let is_paused = self.controls.iter().any(|(_, control)| control.paused);
            let mut lines = worker.shards.iter().flat_map(|shard| &shard.lines);
            has_stopped || is_paused || lines.any(|line| line.gaps > 0)
        })
    }

    pub fn is_registered(&self, projection: &ProjectionId) -> bool {
        self.controls.iter().any(|(known, _)| known == projection)
    }

    /// Whether the worker that runs now feeds a projection.
    pub fn runs(&self, projection: &ProjectionId) -> bool {
        self.worker()
            .is_some_and(|worker| worker.projections.iter().any(|known| known.projection == *projection))
    }
}

/// The projections of a configuration, with their sources.
fn configured(config: &Config) -> BTreeMap<ProjectionId, SourceName> {
    let projections = config.projections.iter().map(|(name, projection)| {
        let id = ProjectionId::new(name, projection.version.value);
        (id, SourceName::new(projection.source.value.as_str()))
    });
    projections.collect()
}

/// The last word of each worker.
pub async fn reports(rows: &Rows) -> Result<Vec<WorkerReport>> {
    let reports = rows.all::<WorkerReport>(Table::Reports, rows::REPORTS).await?;
    Ok(reports.into_iter().map(|(_, report)| report.body).collect())
}

/// Two workers that share their shards; a shard that is just passed on may be told of by both.
fn together(mut one: WorkerReport, other: WorkerReport) -> WorkerReport {
    one.worker = format!("{} {}", one.worker, other.worker);
    one.started_at = one.started_at.min(other.started_at);
    one.written_at = one.written_at.min(other.written_at);
    one.shards.extend(other.shards);
    one.projections.extend(other.projections);
    one.kept.extend(other.kept);
    for (source, until) in other.complete_until {
        let known = one.complete_until.entry(source).or_insert(until);
        *known = until.max(*known);
    }
    one
}

/// Those that count: a rewind leaves the ones before it behind.
async fn checkpoints_of(
    rows: &Rows,
    projection: &ProjectionId,
    control: &Control,
) -> Result<BTreeMap<(SourceName, ShardId), Checkpoint>> {
    let stored = rows.all::<Checkpoint>(Table::Checkpoints, &projection.row_name()).await?;
    let current =
        stored.into_iter().filter(|(_, checkpoint)| checkpoint.body.generation == control.generation);
    let named = current.filter_map(|(sort, checkpoint)| {
        let (source, shard) = sort.split_once('/')?;
        Some(((SourceName::new(source), ShardId::new(shard)), checkpoint.body))
    });
    Ok(named.collect())
}
