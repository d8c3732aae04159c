//! One run: a seed, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    DocumentKey, Event, EventId, OnFailure, ProjectionId, ShardId,
    ports::{Append, EventStore, ExpectedSequence, NewEvent, Table},
};
use foldstream_runtime::{report::StopReport, worker::Outcome};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    fleet, forgetting, gaps,
    less::Less,
    operator,
    oracle::{self, LeftOut},
    parked_streams,
    producer::{Producer, put},
    projections::Kind,
    records, resolving,
    stores::Bed,
    watcher::Violations,
    workload::{self, Action, Fact, Workload},
    world::World,
};

/// When faults have stopped, everything arrives within this.
const BOUND: Duration = Duration::from_secs(400);
const LOOK: Duration = Duration::from_millis(500);
/// The last worker is followed by so many others at most.
const CLOSINGS: usize = 4;
/// After so many looks what has stopped is started again, and then each time after twice as many: it shows that it goes on only
/// once it has saved something.
const AGAIN: u32 = 10;

/// What a run has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub hash: u64,
    pub virtual_time: Duration,
    pub counts: BTreeMap<&'static str, u64>,
}

/// A run that has failed.
pub struct Failure {
    pub wrong: String,
    pub world: Arc<World>,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { wrong, world } = self;
        let Workload { kinds, on_failure, refuses, shards, has_store, lateness, .. } = &world.workload;
        writeln!(f, "{wrong}\nweather={:?}", world.weather)?;
        writeln!(
            f,
            "projections={kinds:?} on_failure={on_failure:?} refuses={refuses:?} shards={shards} has_store={has_store} lateness={lateness:?}"
        )?;
        f.write_str(&world.told())
    }
}

/// Runs a seed.
pub fn seed(bed: Bed, seed: u64, less: &Less) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = runtime.block_on(World::new(bed, seed, less));
    let run = || runtime.block_on(async { (whole(&world).await, world.began.elapsed()) });
    let run = || metrics::with_local_recorder(&Violations(world.clone()), run);
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok((Ok(()), virtual_time)) => Ok(Report { hash: world.hash(), virtual_time, counts: world.counts() }),
        Ok((Err(wrong), _)) => Err(Failure { wrong, world }),
        Err(_) => Err(Failure { wrong: "it panicked".to_owned(), world }),
    }
}

async fn whole(world: &Arc<World>) -> Result<(), String> {
    if world.workload.has_hot_stream() {
        world.count("hot stream");
    }
    for (what, times) in world.workload.travels() {
        world.count_times(what, times);
    }
    if world.weather.speeds.values().any(|most| *most > 0) {
        world.count("speeds differ");
    }
    if world.weather.gentle {
        world.count("only stops");
    }
    let mut slots = JoinSet::new();
    for number in 0..world.weather.slots {
        slots.spawn(fleet::slot(world.clone(), number));
    }
    let mut redrives = JoinSet::new();
    produce(world, &mut redrives).await?;
    let after = Duration::from_millis(world.chance().within(0..30_000));
    tokio::time::sleep(after).await;
    tokio::time::sleep_until(world.began + world.back_at()).await;
    operator::resume_all(world).await;
    operator::mend(world, &mut redrives).await;
    world.mend_mapping();
    world.calm_down();
    arrive(world).await?;
    world.finish();
    slots.shutdown().await;
    let has_lost = world.workload.kinds.iter().any(|kind| world.has_lost(*kind));
    let is_said = |stop: &StopReport| {
        world.has_lost(Kind::of(stop.projection.name.as_str())) || is_left_by_all(world, stop)
    };
    let mut outcome = close(world).await?;
    // A record that changes no document may have stopped some, one after the other, or parked a stream.
    for _ in 0..CLOSINGS {
        if outcome.stops.iter().all(is_said) && resolving::unsettled(world).await.is_none() {
            break;
        }
        resolving::redrive_all(world).await;
        operator::start_again(world, true).await;
        operator::start_again(world, false).await;
        outcome = close(world).await?;
    }
    // Of each stream the first gap is given up, and then the next can be seen.
    for _ in &world.workload.lost {
        if outcome.gaps.is_empty() {
            break;
        }
        gaps::give_up_lost(world).await;
        outcome = close(world).await?;
    }
    // Requests that are still on their way are carried out.
    tokio::time::sleep(Duration::from_secs(200)).await;
    let has_gaps = !outcome.gaps.is_empty() && !has_lost;
    if !outcome.caught_up || !outcome.stops.iter().all(is_said) || has_gaps {
        return Err(format!("the closing worker says {outcome:?}"));
    }
    redrives.shutdown().await;
    resolving::redrive_all(world).await;
    sound(world)?;
    wrong(world).await.or(resolving::unresolved(world).await).map_or(Ok(()), Err)
}

/// Whether a projection stops at a fork that nobody sets aside any more, as those who would have stopped at a loss.
fn is_left_by_all(world: &World, stop: &StopReport) -> bool {
    let policies = &world.workload.on_failure;
    let mut others = policies.iter().filter(|(_, policy)| **policy != OnFailure::Stop);
    stop.stop.reason.starts_with("fork") && others.all(|(kind, _)| world.has_lost(*kind))
}

/// What a last worker says of the whole.
async fn close(world: &Arc<World>) -> Result<Outcome, String> {
    operator::amend_refused(world).await;
    match tokio::time::timeout(BOUND, fleet::closing(world)).await {
        Ok(outcome) => outcome.map_err(|error| format!("the closing worker failed: {error:?}")),
        Err(_) => Err("the closing worker is not caught up in time".to_owned()),
    }
}

fn sound(world: &World) -> Result<(), String> {
    world.broken().map_or(Ok(()), Err)
}

async fn produce(world: &Arc<World>, redrives: &mut JoinSet<()>) -> Result<(), String> {
    let mut born = BTreeSet::new();
    let mut producer = Producer::default();
    for (at, action) in &world.workload.actions {
        producer.before(world, *at, action);
        tokio::time::sleep_until(world.began + *at).await;
        sound(world)?;
        if world.is_gone() && action.is_operators() {
            continue;
        }
        match action {
            Action::Store(fact) => store(world, fact).await,
            Action::Arrive(fact) => {
                producer.put(world, *at, fact);
            }
            Action::Fork(fact) => {
                let event = Event { id: EventId::new("fork"), ..fact.event() };
                world.count("fork");
                let what = format!("a fork of {}#{}", event.stream_id, event.sequence);
                put(world, fact.stream, records::record(&world.workload, &event), &what);
            }
            Action::NoEvent { stream, data } => {
                world.count("no event");
                put(world, *stream, data.clone(), "a record of no event");
            }
            Action::MendMapping => world.mend_mapping(),
            Action::Split(number) => {
                let open = world.log.open_shards();
                let shard = &open[usize::try_from(number % open.len() as u64).unwrap_or(0)];
                count_reshard(world, "split", std::slice::from_ref(shard), &born);
                let children = world.log.split(shard);
                world.saw(&format!("{shard} splits into {children:?}"));
                born.extend(children);
            }
            Action::Merge(number) => {
                let open = world.log.open_shards();
                if open.len() > 1 {
                    let at = usize::try_from(number % (open.len() as u64 - 1)).unwrap_or(0);
                    count_reshard(world, "merge", &open[at..=at + 1], &born);
                    let child = world.log.merge(&open[at], &open[at + 1]);
                    world.saw(&format!("{} and {} merge into {child}", open[at], open[at + 1]));
                    born.insert(child);
                }
            }
            Action::Pause(number) => operator::set_paused(world, *number, true).await,
            Action::Resume(number) => operator::set_paused(world, *number, false).await,
            Action::Rewind { number, to } => operator::rewind(world, *number, *to).await,
            Action::Mend => operator::mend(world, redrives).await,
            Action::Redrive(number) => {
                redrives.spawn(resolving::redrive(world.clone(), *number));
            }
            Action::Discard(number) => resolving::discard(world, *number).await,
            Action::GiveUp(number) => gaps::give_up(world, *number).await,
            Action::Forget { loses } => forgetting::forget(world, *loses).await,
            Action::Release { number, freezes } => operator::release(world, *number, *freezes).await,
        }
    }
    producer.flush(world);
    Ok(())
}

fn count_reshard(world: &World, what: &'static str, parents: &[ShardId], born: &BTreeSet<ShardId>) {
    world.count(what);
    if parents.iter().any(|shard| !world.has_records(shard)) {
        world.count("empty shard");
    }
    if parents.iter().any(|shard| born.contains(shard)) {
        world.count("reshard of a child");
    }
}

async fn store(world: &World, fact: &Fact) {
    let event = fact.event();
    let new = NewEvent {
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        recorded_at: event.recorded_at,
        effective_at: event.effective_at,
        payload: event.payload.raw,
        metadata: event.metadata.raw,
    };
    let append = Append { stream: event.stream_id, expected: ExpectedSequence::Any, events: vec![new] };
    world.events.append(vec![append]).await.expect("an append");
}

/// Waits until the documents are right.
async fn arrive(world: &Arc<World>) -> Result<(), String> {
    let deadline = Instant::now() + BOUND;
    for look in 0u32.. {
        sound(world)?;
        resolving::redrive_all(world).await;
        let Some(wrong) = wrong(world).await.or(resolving::unsettled(world).await) else {
            return {
                operator::resume_all(world).await;
                Ok(())
            };
        };
        match look % AGAIN {
            0 if (look / AGAIN + 1).is_power_of_two() => operator::start_again(world, true).await,
            4 => operator::start_again(world, false).await,
            6 => operator::amend_refused(world).await,
            8 if world.workload.forgets => forgetting::forget(world, false).await,
            _ => {}
        }
        if Instant::now() > deadline {
            return Err(format!(
                "not arrived {BOUND:?} after the faults stopped: {wrong}\n{}",
                stuck(world).await
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Which documents are not what the oracle says.
async fn wrong(world: &Arc<World>) -> Option<String> {
    let mut facts = world.workload.facts.clone();
    facts.retain(|fact| !world.is_given_up(fact.stream, fact.sequence));
    for kind in &world.workload.kinds {
        let id = ProjectionId::new(kind.name(), 1);
        if forgetting::has_stopped(world, *kind).await {
            continue;
        }
        let of_streams = match parked_streams::left_out(world, *kind).await {
            Ok(left_out) => left_out,
            Err(wrong) => return Some(format!("{id}: {wrong}")),
        };
        let mut of_documents = resolving::left_out(world, *kind).await;
        if *kind == Kind::Feed {
            of_documents.extend(late(world, &id).await);
        }
        let left_out = LeftOut { of_documents, of_streams };
        let expected = oracle::documents(*kind, &facts, &left_out);
        let found = world.known_documents.shown(&id);
        if found != expected {
            let differs = |(key, document): &(&String, &String)| found.get(*key) != Some(*document);
            let first = expected.iter().find(differs);
            let surplus = found.iter().find(|(key, _)| !expected.contains_key(*key));
            return Some(format!(
                "{id}: expected={first:?} found={:?} guard={:?} surplus={surplus:?} left_out={left_out:?}",
                first.and_then(|(key, _)| found.get(key)),
                first
                    .and_then(|(key, _)| world.known_documents.stored(&id, &DocumentKey::new(key.as_str())))
                    .map(|stored| stored.guard)
            ));
        }
    }
    None
}

async fn late(world: &Arc<World>, id: &ProjectionId) -> BTreeSet<(String, u64, u64)> {
    let Some(epoch) = operator::epoch(world, id).await else { return BTreeSet::new() };
    let rows = world.checkpoints.list(Table::Late, &id.row_name(), None, 100_000).await.expect("rows");
    let named = rows.into_iter().filter_map(|row| {
        let parts: Vec<&str> = row.key.sort.split('\u{1f}').collect();
        let stream = workload::stream(parts[3]);
        let is_of_epoch = parts[0].parse() == Ok(epoch.0);
        is_of_epoch.then(|| (parts[1].to_owned(), stream, parts[4].parse().expect("a sequence")))
    });
    named.collect()
}

/// Where everything stands.
async fn stuck(world: &Arc<World>) -> String {
    let mut told = String::new();
    for kind in &world.workload.kinds {
        let partition = ProjectionId::new(kind.name(), 1).row_name();
        for row in world.checkpoints.list(Table::Checkpoints, &partition, None, 1_000).await.expect("rows") {
            told += &format!("{} {}\n", row.key, String::from_utf8_lossy(&row.body));
        }
    }
    for table in [Table::Journals, Table::Sources, Table::Reports] {
        for partition in ["events", "workers"] {
            for row in world.checkpoints.list(table, partition, None, 1_000).await.expect("rows") {
                told += &format!("{} {}\n", row.key, String::from_utf8_lossy(&row.body));
            }
        }
    }
    told
}
