//! What becomes of streams that projections have parked: let back, some without an event. All of it may be cut short.

use std::{collections::BTreeSet, sync::Arc};

use foldstream_model::{DocumentKey, Ids, LeftOut, Lot, OnFailure, ParkedStream, ProjectionId, Sequence};
use foldstream_runtime::deciding::Decider;

use crate::{
    fleet,
    link::{Code, Link},
    operator,
    projections::Kind,
    resolving,
    workload::{self, Fails},
    world::World,
};

/// Stream and sequence of events.
type Events = BTreeSet<(u64, u64)>;

async fn lot(world: &Arc<World>, kind: Kind) -> Option<Lot> {
    let id = ProjectionId::new(kind.name(), 1);
    Some(Lot::of_streams(&id, operator::epoch(world, &id).await?))
}

/// The streams that are parked now.
async fn parked(world: &Arc<World>, lot: &Lot) -> Vec<ParkedStream> {
    let mut parked = operator::rows(world).parked_streams(lot).await.expect("rows");
    parked.retain(|parked| parked.until.is_none());
    parked
}

pub async fn decider(world: &Arc<World>, name: &str) -> Decider {
    // By its ids entries of a journal are told apart.
    let link = Link::with(world, name.to_owned(), world.ids.unique(), Code::of_now(world), false);
    let (services, source) = fleet::open(&link).await;
    Decider::new(source, services)
}

/// Every stream may come back.
pub async fn let_back(world: &Arc<World>, kind: Kind) {
    let Some(lot) = lot(world, kind).await else { return };
    for parked in parked(world, &lot).await {
        come_back(world, &lot, &parked, None).await;
    }
}

/// Faults have stopped, and all can be taken: one entry is enough for a stream.
pub async fn let_back_once(world: &Arc<World>, kind: Kind) {
    let Some(lot) = lot(world, kind).await else { return };
    for parked in parked(world, &lot).await {
        let name = format!("{} {} {:?}", lot.row_name(), parked.stream, parked.since);
        if !world.has_come_back(&name) && come_back(world, &lot, &parked, None).await {
            world.comes_back(name);
        }
    }
}

async fn come_back(world: &Arc<World>, lot: &Lot, parked: &ParkedStream, without: Option<LeftOut>) -> bool {
    let what = format!("{} {}", lot.row_name(), parked.stream);
    world.count("let back");
    match decider(world, "decider").await.let_back(lot, parked, without).await {
        Ok(shard) => world.saw(&format!("{what} may come back in {shard}")),
        Err(error) => {
            world.saw(&format!("{what} may not come back: {error}"));
            return false;
        }
    }
    true
}

/// Leaves out one event of a stream, whether it could be taken or waits behind it.
pub async fn discard(world: &Arc<World>, kind: Kind, number: u64) {
    let Some(lot) = lot(world, kind).await else { return };
    let parked = parked(world, &lot).await;
    let Some(chosen) = number.checked_rem(parked.len() as u64) else { return };
    let parked = &parked[usize::try_from(chosen).unwrap_or(0)];
    let document = DocumentKey::new(parked.stream.as_str());
    let page = world.parking.list(&lot, Some(&document), None, 1_000).await.expect("a list");
    let waiting = page.events.iter().filter(|event| event.order >= parked.since);
    let sequences: Vec<Sequence> = waiting.map(|waiting| resolving::event(&waiting.event).sequence).collect();
    let Some(chosen) = (number / 7).checked_rem(sequences.len() as u64) else { return };
    let sequence = sequences[usize::try_from(chosen).unwrap_or(0)];
    world.leave_out(kind, workload::stream(parked.stream.as_str()), sequence.0);
    world.count("discard of a stream");
    let actor = operator::actor(world);
    let (who, reason, at) = (actor.who, actor.reason, actor.at);
    let without = LeftOut { sequences: BTreeSet::from([sequence]), who, reason, at };
    come_back(world, &lot, parked, Some(without)).await;
}

/// What is on record as left out of a projection's streams, if it is what it must be.
pub async fn left_out(world: &Arc<World>, kind: Kind) -> Result<Events, String> {
    let Some(lot) = lot(world, kind).await else { return Ok(Events::new()) };
    let found = operator::rows(world).left_out(&lot).await.expect("rows");
    let found: Events =
        found.values().map(|event| (workload::stream(event.stream.as_str()), event.sequence.0)).collect();
    let is_right = match world.workload.on_failure.get(&kind) {
        Some(OnFailure::Discard) => found == never_taken(world),
        _ => found.iter().all(|(stream, sequence)| world.is_unwanted(kind, *stream, *sequence)),
    };
    if is_right { Ok(found) } else { Err(format!("these are left out: {found:?}")) }
}

/// What is discarded by those who discard what they cannot take.
fn never_taken(world: &World) -> Events {
    let named = world.workload.facts.iter().map(|fact| (fact.stream, fact.sequence));
    let fails = |event: &(u64, u64)| world.workload.failing.get(event) == Some(&Fails::Stream);
    named.filter(|event| fails(event) && !world.is_given_up(event.0, event.1)).collect()
}

/// What is still parked, though not by those who stop before it comes back.
pub async fn unresolved(world: &Arc<World>) -> Option<String> {
    for kind in world.workload.on_failure.keys().filter(|kind| !world.has_lost(**kind)) {
        let Some(lot) = lot(world, *kind).await else { continue };
        if let Some(parked) = parked(world, &lot).await.first() {
            return Some(format!("still parked: {parked:?}"));
        }
    }
    None
}
