//! What becomes of events that documents could not take: redriven, some left out. All of it may be cut short.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use foldstream_model::{Epoch, Event, Lot, Ordering, ProjectionId, ports::Table};
use foldstream_runtime::{
    redriving::{Pace, Redriver},
    rows::{Discard, DiscardRow, Rows},
};

use crate::{
    fleet, forgetting, gaps, link::Link, operator, parked_streams, projections::Kind, records, workload,
    world::World,
};

fn chosen(world: &World, number: u64) -> Kind {
    let kinds = &world.workload.kinds;
    kinds[usize::try_from(number % kinds.len() as u64).unwrap_or(0)]
}

async fn redriver(world: &Arc<World>, kind: Kind, epoch: Epoch, name: &str) -> Redriver {
    let link = Link::new(world, name.to_owned());
    let (services, source) = fleet::open(&link).await;
    Redriver::new(&source, fleet::projection(&link, kind), epoch, &services, Pace::default())
}

/// Redrives all that waits of a projection, as far as it comes in its time.
pub async fn redrive(world: Arc<World>, number: u64) {
    let kind = chosen(&world, number);
    let time = Duration::from_millis(world.chance().pick(&[50, 1_000, 60_000]));
    world.count("redrive");
    let all = async {
        redrive_all_of(&world, kind, "redrive").await;
        records::read_anew(&world).await;
        parked_streams::let_back(&world, kind).await;
    };
    let _ = tokio::time::timeout(time, all).await;
}

/// Faults have stopped: all that waits is redriven.
pub async fn redrive_all(world: &Arc<World>) {
    for kind in world.workload.on_failure.keys() {
        redrive_all_of(world, *kind, "last redrive").await;
        parked_streams::let_back_once(world, *kind).await;
    }
    records::resolve(world).await;
    gaps::give_up_lost(world).await;
}

async fn redrive_all_of(world: &Arc<World>, kind: Kind, name: &str) {
    let id = ProjectionId::new(kind.name(), 1);
    let Some(epoch) = operator::epoch(world, &id).await else { return };
    let lot = Lot::of_documents(&id, epoch);
    let page = world.parking.list(&lot, None, None, 1_000).await.expect("a list");
    let documents: BTreeSet<_> = page.events.into_iter().map(|parked| parked.document).collect();
    let redriver = redriver(world, kind, epoch, name).await;
    for document in documents {
        match redriver.redrive(&document).await {
            Ok(ended) => world.saw(&format!("{id} {document} redriven: {ended:?}")),
            // A rebuild has begun meanwhile.
            Err(error) => world.saw(&format!("{id} {document} is not redriven: {error}")),
        }
    }
}

/// Leaves out one event that could not be taken.
pub async fn discard(world: &Arc<World>, number: u64) {
    let kind = chosen(world, number);
    let id = ProjectionId::new(kind.name(), 1);
    let Some(epoch) = operator::epoch(world, &id).await else { return };
    let lot = Lot::of_documents(&id, epoch);
    let page = world.parking.list(&lot, None, None, 1_000).await.expect("a list");
    let failing: Vec<_> = page
        .events
        .into_iter()
        .filter(|parked| {
            let event = event(&parked.event);
            world.workload.may_fail(kind, event.stream_id.as_str(), event.sequence.0)
        })
        .collect();
    if failing.is_empty() {
        parked_streams::discard(world, kind, number).await;
        return records::discard(world, number).await;
    }
    let parked = &failing[usize::try_from(number % failing.len() as u64).unwrap_or(0)];
    let redriver = redriver(world, kind, epoch, "discard").await;
    world.count("discard");
    match redriver.discard(&parked.document, std::slice::from_ref(parked), &operator::actor(world)).await {
        Ok(ended) => world.saw(&format!("{id} {} discarded: {ended:?}", parked.document)),
        Err(error) => world.saw(&format!("{id} {} is not discarded: {error}", parked.document)),
    }
}

pub fn event(envelope: &str) -> Event {
    Event::from_envelope(&Bytes::copy_from_slice(envelope.as_bytes())).expect("an envelope")
}

/// What is on record as discarded of a projection.
pub async fn left_out(world: &Arc<World>, kind: Kind) -> BTreeSet<(String, u64, u64)> {
    let id = ProjectionId::new(kind.name(), 1);
    let Some(epoch) = operator::epoch(world, &id).await else { return BTreeSet::new() };
    let lot = Lot::of_documents(&id, epoch);
    let rows = Rows::new(world.checkpoints.clone());
    let rows = rows.all::<DiscardRow>(Table::Discarded, &lot.row_name()).await.expect("rows");
    let discarded = rows.into_iter().filter(|(_, row)| row.body.discard == Discard::Done);
    let parked = discarded.map(|(_, row)| row.body.event);
    let named = parked.map(|parked| {
        let event = event(&parked.event);
        (parked.document.to_string(), workload::stream(event.stream_id.as_str()), event.sequence.0)
    });
    named.collect()
}

/// What is still parked. What was on its way into the lot of a merge that has stopped at a loss stays so.
pub async fn unresolved(world: &Arc<World>) -> Option<String> {
    for kind in world.workload.on_failure.keys() {
        if kind.ordering() == Ordering::Global && forgetting::has_stopped(world, *kind).await {
            continue;
        }
        let id = ProjectionId::new(kind.name(), 1);
        let Some(epoch) = operator::epoch(world, &id).await else { continue };
        let page = world.parking.list(&Lot::of_documents(&id, epoch), None, None, 1).await.expect("a list");
        if let Some(parked) = page.events.first() {
            return Some(format!("still parked: {parked:?}"));
        }
    }
    unsettled(world).await
}

/// What is still parked of streams, or set aside of records: only workers bring it back.
pub async fn unsettled(world: &Arc<World>) -> Option<String> {
    parked_streams::unresolved(world).await.or(records::unresolved(world).await)
}
