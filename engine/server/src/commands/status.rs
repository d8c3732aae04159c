use std::{collections::BTreeMap, time::Duration};

use foldstream_runtime::{
    parking::total,
    report::{KeptReport, WorkerReport},
};
use serde_json::json;

use crate::{
    commands::Context,
    exit::{Exit, Outcome},
    output::{Column, Table, count, duration, plural, printable, seconds},
    status::{
        Facts, ProjectionStanding, Rates, WHAT_TO_DO, WHAT_TO_DO_ABOUT_A_RECORD, missing_for_programs,
        missing_in_words, stop_in_words,
    },
    stores::Stores,
};

/// How long to wait for a second report to tell a rate: workers report every second.
const SECOND_LOOK: Duration = Duration::from_millis(1_300);
/// Heartbeats come every ten seconds.
const SILENCE: Duration = Duration::from_secs(120);
/// What is not known.
const UNKNOWN: &str = "-";

pub async fn execute(context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let config = context.config_if_any();
    let mut facts = Facts::gather(&store, config.as_ref(), context.clock.now()).await?;
    let earlier = facts.worker().cloned();
    if earlier.is_some() {
        tokio::time::sleep(SECOND_LOOK).await;
        facts = Facts::gather(&store, config.as_ref(), context.clock.now()).await?;
    }
    let rates = earlier.zip(facts.worker()).and_then(|(earlier, later)| Rates::between(&earlier, later));
    let rates = rates.unwrap_or_default();
    let standings = ProjectionStanding::current(&facts);
    let set_aside = set_aside(&store, &facts, &standings).await?;
    match context.output.is_json() {
        true => for_programs(&facts, &standings, &rates, &set_aside, context)?,
        false => for_people(&facts, &standings, &rates, &set_aside, context)?,
    }
    Ok(Exit::Done)
}

/// How many events of a projection are not in its documents, or not where a replay would put them.
struct SetAside {
    parked: u64,
    discarded: u64,
    /// Came too late for a `global` projection.
    late: u64,
}

async fn set_aside(
    store: &Stores,
    facts: &Facts,
    standings: &[ProjectionStanding],
) -> Outcome<Vec<SetAside>> {
    let (rows, parking) = (store.rows(), store.parking());
    let mut all = Vec::with_capacity(standings.len());
    for ProjectionStanding { projection, .. } in standings {
        let lot = facts.lot(projection);
        all.push(SetAside {
            parked: total(&*parking, projection, lot.epoch).await?,
            discarded: rows.discarded(projection, lot.epoch).await?,
            late: rows.late(projection, lot.epoch).await? as u64,
        });
    }
    Ok(all)
}

fn for_people(
    facts: &Facts,
    standings: &[ProjectionStanding],
    rates: &Rates,
    set_aside: &[SetAside],
    context: &mut Context,
) -> Outcome<()> {
    let output = &mut context.output;
    output.line(worker(facts))?;
    if facts.not_relayed > 0 {
        output.line(format!("{} stored, and not in the stream yet", plural(facts.not_relayed, "event")))?;
    }
    if standings.is_empty() {
        output.line("no projections yet: `foldstream run` makes them")?;
        return Ok(());
    }
    output.line("")?;
    output.table(&projections(facts, standings, rates))?;
    let kept = facts.controls.len()
        - standings.iter().filter(|known| facts.is_registered(&known.projection)).count();
    if kept > 0 {
        let versions = plural(kept as u64, "other version");
        output.line(format!("{versions} in the store, not configured: `foldstream projections list`"))?;
    }
    let shards = match facts.worker() {
        Some(worker) => readings(worker, rates),
        None => positions(facts, standings),
    };
    if !shards.is_empty() {
        output.line("")?;
        output.table(&shards)?;
    }
    for problem in problems(facts, standings, set_aside) {
        output.line(format!("\n{problem}"))?;
    }
    Ok(())
}

fn worker(facts: &Facts) -> String {
    match (facts.worker(), &facts.report) {
        (Some(worker), _) => {
            let processes = facts.processes.iter().map(u32::to_string).collect::<Vec<_>>();
            let noun = if processes.len() == 1 { "process" } else { "processes" };
            format!("running since {}, {noun} {}", seconds(worker.started_at), processes.join(", "))
        }
        (None, Some(last)) => format!("not running; last heard of {}", seconds(last.written_at)),
        (None, None) => "not running".to_owned(),
    }
}

fn projections(facts: &Facts, standings: &[ProjectionStanding], rates: &Rates) -> Table {
    let mut table = Table::new([
        Column::Name("PROJECTION"),
        Column::Name("STATE"),
        Column::Number("LAG"),
        Column::Number("BEHIND"),
        Column::Number("FOR"),
        Column::Number("EVENTS/S"),
        Column::Number("TIME LEFT"),
    ]);
    for standing in standings {
        let shown = |micros: u64| duration(Duration::from_micros(micros));
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
        let rate = rates.of(standing);
        let left = standing.behind.filter(|behind| *behind > 0).zip(rate.filter(|rate| *rate > 0));
        table.row([
            standing.projection.row_name(),
            standing.state.as_str().to_owned(),
            or_unknown(standing.lag_micros.map(shown)),
            or_unknown(standing.behind.map(count)),
            or_unknown(standing.behind_since.map(|since| shown(facts.now.micros_since(since)))),
            or_unknown(rate.map(count)),
            or_unknown(left.map(|(behind, rate)| duration(Duration::from_secs(behind.div_ceil(rate))))),
        ]);
    }
    table
}

/// What a running worker's readings are doing.
fn readings(worker: &WorkerReport, rates: &Rates) -> Table {
    let mut table = Table::new([
        Column::Text("SHARD"),
        Column::Name("READER"),
        Column::Number("POSITION"),
        Column::Number("UNREAD"),
        Column::Number("GAPS"),
        Column::Number("EVENTS/S"),
        Column::Number("KEPT FOR"),
        Column::Name("WAITS FOR"),
    ]);
    for shard in &worker.shards {
        let is_of_shard = |kept: &&KeptReport| kept.source == shard.source && kept.shard == shard.shard;
        let kept = worker.kept.iter().find(is_of_shard);
        let left = kept.map(|kept| duration(Duration::from_secs(kept.seconds_left)));
        for line in &shard.lines {
            let rate = rates.line(&shard.source, &shard.shard, &line.reader);
            let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
            table.row([
                format!("{}/{}", shard.source, shard.shard),
                line.reader.replace('_', " "),
                or_unknown(line.position.clone()),
                or_unknown(line.behind.map(count)),
                count(line.gaps as u64),
                or_unknown(rate.map(|rate| count(rate.events_per_second))),
                or_unknown(left.clone()),
                or_unknown(rate.and_then(|rate| rate.slowest).map(str::to_owned)),
            ]);
        }
    }
    table
}

/// Shards of which less than a quarter of the retention is left.
fn soon_trimmed(facts: &Facts) -> impl Iterator<Item = String> {
    let kept = facts.worker().into_iter().flat_map(|worker| &worker.kept);
    let soon = kept.filter(|kept| kept.seconds_left < kept.retention_seconds / 4);
    soon.map(|KeptReport { source, shard, projection, seconds_left, .. }| {
        let left = duration(Duration::from_secs(*seconds_left));
        let name = projection.row_name();
        format!(
            "{source}/{shard}: records that {name} has not settled are kept for {left} more, and are lost to it then;\n\
             let it go on, delete it if nobody needs it, or raise the retention time"
        )
    })
}

/// Sources of which no heartbeat was read for a while.
fn silent(facts: &Facts) -> impl Iterator<Item = String> {
    let ages = facts.complete_until().map(|(source, until)| (source, facts.now.micros_since(until)));
    let silent =
        ages.map(|(source, age)| (source, Duration::from_micros(age))).filter(|(_, age)| *age > SILENCE);
    silent.map(|(source, age)| {
        let age = duration(age);
        format!("{source}: what was stored in the last {age} may not be in it: its relay is gone, or behind")
    })
}

/// How far each shard was saved; projections that stand at the same place share a row.
fn positions(facts: &Facts, standings: &[ProjectionStanding]) -> Table {
    let mut rows: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for standing in standings {
        for shard in &standing.shards {
            let place = (&shard.source, &shard.shard, &shard.position, shard.behind, shard.behind_since);
            rows.entry(place).or_default().push(standing.projection.row_name());
        }
    }
    let mut table = Table::new([
        Column::Text("SHARD"),
        Column::Number("POSITION"),
        Column::Number("BEHIND"),
        Column::Number("FOR"),
        Column::Text("PROJECTIONS"),
    ]);
    for ((source, shard, position, behind, since), projections) in rows {
        let length = |since| duration(Duration::from_micros(facts.now.micros_since(since)));
        table.row([
            format!("{source}/{shard}"),
            position.to_string(),
            behind.map_or_else(|| UNKNOWN.to_owned(), count),
            since.map_or_else(|| UNKNOWN.to_owned(), length),
            projections.join(", "),
        ]);
    }
    table
}

fn problems(facts: &Facts, standings: &[ProjectionStanding], set_aside: &[SetAside]) -> Vec<String> {
    let (mut problems, mut has_stopped) = (Vec::new(), false);
    for (standing, aside) in standings.iter().zip(set_aside) {
        let name = standing.projection.row_name();
        for shard in &standing.shards {
            if let Some(stop) = &shard.stop {
                problems.push(stop_in_words(&standing.projection, &shard.source, &shard.shard, stop));
            }
        }
        has_stopped |= standing.is_stopped_at_event();
        if aside.parked > 0 {
            let events = plural(aside.parked, "event");
            problems.push(format!("{name}: {events} parked; `foldstream parked list {name}` says why"));
        }
        if aside.discarded > 0 {
            let events = plural(aside.discarded, "event");
            problems.push(format!("{name}: {events} discarded, in none of its documents"));
        }
        if aside.late > 0 {
            let events = plural(aside.late, "event");
            problems.push(format!("{name}: {events} came too late; a rebuild would put them in their order"));
        }
    }
    if has_stopped {
        problems.push(WHAT_TO_DO.to_owned());
    }
    problems.extend(soon_trimmed(facts).chain(silent(facts)));
    for ((source, shard, position), reason) in &facts.unreadable {
        problems.push(format!(
            "{source}/{shard}: the record at position {position} is no event\n  reason    {}\n{WHAT_TO_DO_ABOUT_A_RECORD}",
            printable(reason)
        ));
    }
    for (source, records) in &facts.records {
        let records = plural(*records, "record");
        problems.push(format!("{source}: {records} set aside; `foldstream parked list` says why"));
    }
    for shard in facts.report.iter().flat_map(|report| &report.shards) {
        let gaps = shard.lines.iter().map(|line| line.gaps as u64).max().unwrap_or(0);
        if gaps > 0 {
            let streams = plural(gaps, "stream");
            problems
                .push(format!("{streams} in {}/{} that wait for a missing event", shard.source, shard.shard));
        }
    }
    if !facts.missing.is_empty() {
        problems.push(missing_in_words(&facts.missing).join("\n"));
    }
    problems
}

fn for_programs(
    facts: &Facts,
    standings: &[ProjectionStanding],
    rates: &Rates,
    set_aside: &[SetAside],
    context: &mut Context,
) -> Outcome<()> {
    let worker =
        facts.worker().map(|worker| json!({"process": worker.process, "started_at": worker.started_at}));
    let projections = standings.iter().zip(set_aside).map(|(standing, aside)| {
        json!({
            "standing": standing,
            "events_per_second": rates.of(standing),
            "parked_events": aside.parked,
            "discarded_events": aside.discarded,
            "late_events": aside.late,
        })
    });
    let shards = facts.report.iter().flat_map(|report| &report.shards).flat_map(|shard| {
        shard.lines.iter().map(|line| {
            let rate = rates.line(&shard.source, &shard.shard, &line.reader);
            json!({"source": shard.source, "shard": shard.shard, "line": line, "rate": rate})
        })
    });
    let unreadable = facts.unreadable.iter().map(|((source, shard, position), reason)| {
        json!({"source": source, "shard": shard, "position": position, "reason": reason})
    });
    Ok(context.output.object(&json!({
        "worker": worker,
        "events_not_relayed": facts.not_relayed,
        "projections": projections.collect::<Vec<_>>(),
        "shards": shards.collect::<Vec<_>>(),
        "retention": facts.worker().map(|worker| &worker.kept),
        "complete_until": facts.worker().map(|worker| &worker.complete_until),
        "unreadable_records": unreadable.collect::<Vec<_>>(),
        "parked_records": facts.records,
        "missing": facts.missing.iter().map(missing_for_programs).collect::<Vec<_>>(),
    }))?)
}
