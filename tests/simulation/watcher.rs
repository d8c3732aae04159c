//! Looks at every write that is carried out: for what the final documents cannot show.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{
    Checkpoint, Event, Fed, Journal, Lease, OnFailure, ParkedEvent, ProjectionId, ReadModel, ShardId,
    SourceName, Stop, Value,
    ports::{DocumentWrite, RowKey, StoredDocument, Table},
};
use foldstream_runtime::{
    checkpoint, invariants,
    metrics::VIOLATIONS,
    rows::{self, Rows},
};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde::de::DeserializeOwned;

use crate::{
    forgetting, gaps,
    projections::{CANNOT, Kind},
    workload,
    world::World,
};

pub const SOURCE: &str = "events";

/// Takes notice of what the runtime itself finds broken.
pub struct Violations(pub Arc<World>);

/// One that is counted.
struct Violation {
    world: Arc<World>,
    what: String,
}

impl Recorder for Violations {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != VIOLATIONS {
            return Counter::noop();
        }
        Counter::from_arc(Arc::new(Violation { world: self.0.clone(), what: key.to_string() }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl CounterFn for Violation {
    fn increment(&self, _: u64) {
        self.world.break_off(self.what.clone());
    }

    fn absolute(&self, _: u64) {}
}

fn check(world: &World, what: &str, held: Result<(), String>) {
    if let Err(broken) = held {
        world.break_off(format!("{what}: {broken}"));
    }
}

/// Of an event that is to be parked it is counted whether it has ended processes, if it is said to.
pub fn parked(world: &World, parked: &ParkedEvent) {
    if parked.error.as_ref().is_some_and(|error| error.contains("processes in a row")) {
        let event = Event::from_envelope(&Bytes::copy_from_slice(parked.event.as_bytes())).expect("an event");
        let stream = workload::stream(event.stream_id.as_str());
        let is_deadly = world.workload.deadly.contains(&(stream, event.sequence.0));
        world.count(if is_deadly { "found to be deadly" } else { "blamed wrongly" });
    }
}

pub fn document(
    world: &Arc<World>,
    model: &ReadModel,
    before: Option<StoredDocument>,
    write: &DocumentWrite,
) {
    let what = format!("{model} {}", write.key);
    if let Some(before) = before {
        check(world, &what, invariants::guard_moves_on(&before.guard, &write.put.guard));
        check(world, &what, invariants::nothing_shrinks_under_a_mark(&before.guard, &write.put.guard));
    }
    if model.name.as_str() == Kind::Collect.name() {
        let fields = write.put.document.as_ref().and_then(|document| document.fields.get("sequences"));
        let applied: Vec<u64> = match fields {
            Some(Value::List(list)) => list.iter().map(whole).collect(),
            _ => Vec::new(),
        };
        let mut of_stream = world.workload.handled.get(write.key.as_str()).cloned().unwrap_or_default();
        // What could not be taken may have been left out.
        let stream = workload::stream(write.key.as_str());
        let fails = |sequence: &u64| {
            world.workload.may_fail(Kind::Collect, write.key.as_str(), *sequence)
                || world.is_unwanted(Kind::Collect, stream, *sequence)
        };
        of_stream.retain(|sequence| {
            !world.is_given_up(stream, *sequence) && (applied.contains(sequence) || !fails(sequence))
        });
        check(world, &what, invariants::applied_without_holes(&applied, &of_stream));
        if let Fed::Stream { sequence, .. } = &write.put.guard.fed {
            let agree = applied.last() == Some(&sequence.0) || fails(&sequence.0);
            check(
                world,
                &what,
                if agree { Ok(()) } else { Err(format!("guard={sequence} applied={applied:?}")) },
            );
        }
    }
}

pub fn lease(world: &World, before: &Lease, after: &Lease) {
    check(world, &format!("lease {}", after.key), invariants::lease_moves_on(before, after));
}

fn whole(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.to_string().parse().unwrap_or(0),
        _ => 0,
    }
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> T {
    serde_json::from_slice(body).expect("a row of the runtime's")
}

pub async fn row(world: &Arc<World>, key: &RowKey, before: Option<&Bytes>, after: &Bytes) {
    match key.table {
        Table::Journals if key.partition == SOURCE => {
            if let Some(before) = before {
                let before = parsed::<Journal>(before);
                check(world, &key.to_string(), invariants::journal_moves_on(&before, &parsed(after)));
                gaps::entered(world, &ShardId::new(key.sort.as_str()), &before.horizon).await;
            }
        }
        Table::Checkpoints => checkpoint(world, key, before, after).await,
        _ => {}
    }
}

/// A projection stops where no more may be parked, where records were lost to it, where an event is blamed that may be in
/// documents already, or where it cannot take one and is to stop there; and nowhere else.
fn stopped(world: &World, key: &RowKey, stop: &Stop) {
    let (name, _) = key.partition.split_once('@').expect("a name and a version");
    let on_failure = world.workload.on_failure.get(&Kind::of(name)).copied().unwrap_or_default();
    let is_poison = |words: &str| on_failure == OnFailure::Stop && stop.reason.contains(words);
    if is_poison(CANNOT) || is_poison("fork: ") {
        world.count("stopped at poison");
    } else if stop.reason.contains("undecodable record") {
        world.count("stopped at a record");
    } else if stop.reason.contains("no more events may be parked") {
        world.count("too many are parked");
    } else if stop.reason.contains("processes in a row have ended") {
        world.count("stopped by blame");
    } else if forgetting::is_said(world, Kind::of(name), stop) {
        world.count("stopped at a loss");
    } else {
        world.break_off(format!("{key}: a projection has stopped: {stop}"));
    }
    world.saw(&format!("{key}: {stop}"));
}

async fn checkpoint(world: &Arc<World>, key: &RowKey, before: Option<&Bytes>, after: &Bytes) {
    let what = key.to_string();
    let after: Checkpoint = parsed(after);
    if let Some(before) = before {
        check(world, &what, invariants::checkpoint_moves_on(&parsed(before), &after));
    }
    if let Some(stop) = &after.stop {
        stopped(world, key, stop);
    }
    let source = SourceName::new(SOURCE);
    let shard = ShardId::new(key.sort.trim_start_matches("events/"));
    let rows = Rows::new(world.checkpoints.clone());
    let (name, _) = key.partition.split_once('@').expect("a name and a version");
    // What retention removes with records that a projection has not read is not kept for it: it begins before, and stops.
    if let Some(cut) = after.cut.as_ref().filter(|_| !world.has_lost(Kind::of(name)))
        && rows.cuts(&source, &shard, cut).await.expect("cuts").is_none()
    {
        world.break_off(format!("{what}: a checkpoint stands on a cut that is not there: {cut:?}"));
    }
    let Ok(Some(lineage)) = rows.source(&source).await else { return };
    let Some(known) = lineage.body.get(&shard) else { return };
    let id = ProjectionId::new(name, 1);
    let Ok(Some(control)) = rows.control(&id).await else { return };
    if after.cut.is_none() && !after.ended {
        // It says only why the shard cannot be entered.
        return;
    }
    // Of a generation that was rewound meanwhile: it counts for nothing.
    if control.body.generation > after.generation {
        return;
    }
    let of_parent = |parent: &ShardId| {
        let body = world.checkpoints.body(&rows::checkpoint_key(&id, &source, parent));
        let stored = body.map(|body| parsed::<Checkpoint>(&body));
        Some(checkpoint::effective(stored, &control.body, parent))
    };
    let was_there = |parent: &&ShardId| !control.body.gone.contains(*parent);
    let parents = known.parents.iter().filter(was_there);
    let parents: Vec<_> = parents.map(|parent| (parent.to_string(), of_parent(parent))).collect();
    let parents = parents.iter().map(|(parent, checkpoint)| (parent.as_str(), checkpoint.as_ref()));
    check(world, &what, invariants::parents_have_ended(parents));
}
