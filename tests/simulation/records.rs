//! Records that cannot be decoded, and forks: how they come, and what an operator decides about them.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{Error, ErrorKind, Event, PayloadReads, Record, Result, SourceName, ports::Decoder};
use foldstream_runtime::{
    deciding::Decider,
    rows::records::{Decided, RecordAside},
};

use crate::{
    chance::Chance,
    forgetting,
    link::Link,
    operator, parked_streams,
    watcher::SOURCE,
    workload::{self, Workload},
    world::World,
};

/// What a record begins with that only the mended mapping can read.
const NEWER: u8 = b'~';

/// A record that is not meant to be an event, as the mended mapping knows.
const NO_EVENT: &[u8] = b"-";

/// A record that nobody can read.
const JUNK: &[u8] = b"#";

/// The record of an event.
pub fn record(workload: &Workload, event: &Event) -> Bytes {
    let envelope = event.to_envelope().expect("an envelope");
    let named = (workload::stream(event.stream_id.as_str()), event.sequence.0);
    match workload.garbled.contains(&named) {
        true => [&[NEWER][..], &envelope].concat().into(),
        false => envelope.into(),
    }
}

/// A record of no event.
pub fn no_event(chance: &mut Chance) -> Bytes {
    Bytes::from_static(chance.pick(&[NO_EVENT, JUNK]))
}

/// Reads envelopes; those that came in another form once it is mended.
pub struct Mapping(pub Arc<Link>);

impl Decoder for Mapping {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        let data = &record.data;
        let (is_newer, is_no_event) = (data.first() == Some(&NEWER), data == NO_EVENT);
        if data == JUNK || ((is_newer || is_no_event) && !self.0.reads_newer()) {
            self.0.world.count("cannot be decoded");
            return Err(Error::poison("the mapping does not know this form"));
        }
        match is_no_event {
            true => Ok(None),
            false => Event::read_envelope(&data.slice(usize::from(is_newer)..), reads).map(Some),
        }
    }
}

async fn undecided(world: &Arc<World>) -> Vec<RecordAside> {
    let mut asides = operator::rows(world).records_aside(&SourceName::new(SOURCE)).await.expect("rows");
    asides.retain(|aside| !aside.fate.is_decided());
    asides
}

fn decided(world: &Arc<World>) -> Decided {
    let actor = operator::actor(world);
    Decided { who: actor.who, reason: actor.reason, at: actor.at }
}

/// All that was set aside is read anew.
pub async fn read_anew(world: &Arc<World>) {
    for aside in undecided(world).await.into_iter().filter(|aside| aside.fork.is_none()) {
        take(world, &parked_streams::decider(world, "reader").await, &aside).await;
    }
}

/// Reads a record anew; false where it still is no event.
async fn take(world: &Arc<World>, decider: &Decider, aside: &RecordAside) -> bool {
    world.count("record read anew");
    let came = decider.read_anew(aside, decided(world)).await;
    world.saw(&format!("record {} {} read anew: {came:?}", aside.shard, aside.position));
    !came.is_err_and(|error| error.kind() == ErrorKind::Poison)
}

async fn leave_out(world: &Arc<World>, decider: &Decider, aside: &RecordAside) {
    world.count("record discarded");
    let left_out = decider.discard_record(aside, decided(world)).await;
    world.saw(&format!("record {} {} discarded: {left_out:?}", aside.shard, aside.position));
}

/// Leaves out one record that nobody misses.
pub async fn discard(world: &Arc<World>, number: u64) {
    let mut unmissed = Vec::new();
    for aside in undecided(world).await {
        if !is_missed(world, &aside).await {
            unmissed.push(aside);
        }
    }
    let Some(chosen) = number.checked_rem(unmissed.len() as u64) else { return };
    let aside = &unmissed[usize::try_from(chosen).unwrap_or(0)];
    leave_out(world, &parked_streams::decider(world, "discarder").await, aside).await;
}

/// Whether an event would be missing for good: one that the event store has is asked for by the next of its stream.
async fn is_missed(world: &Arc<World>, aside: &RecordAside) -> bool {
    if aside.fork.is_some() {
        return false;
    }
    let Workload { facts, has_store, .. } = &world.workload;
    let source = SourceName::new(SOURCE);
    let record = operator::rows(world).record_as_read(&source, aside).await.expect("a record");
    if record.data.first() != Some(&NEWER) {
        return false;
    }
    let event = Event::from_envelope(&record.data.slice(1..)).expect("an envelope");
    let stream = workload::stream(event.stream_id.as_str());
    !*has_store || !facts.iter().any(|fact| fact.stream == stream && fact.sequence > event.sequence.0)
}

/// Faults have stopped, and the mapping is mended: everything comes back but what is no event.
pub async fn resolve(world: &Arc<World>) {
    for aside in undecided(world).await {
        let decider = parked_streams::decider(world, "resolver").await;
        if aside.fork.is_some() || !take(world, &decider, &aside).await {
            leave_out(world, &decider, &aside).await;
        }
    }
}

/// What nobody has decided about, though it could come back.
pub async fn unresolved(world: &Arc<World>) -> Option<String> {
    for aside in undecided(world).await {
        if !waits_for_another(world, &aside).await {
            return Some(format!("still set aside: {aside:?}"));
        }
    }
    None
}

/// Where all have stopped at a loss, nobody ever begins the shard in which a record would come back: it waits for whoever
/// reads the source next.
async fn waits_for_another(world: &Arc<World>, aside: &RecordAside) -> bool {
    for kind in &world.workload.kinds {
        if !forgetting::has_stopped(world, *kind).await {
            return false;
        }
    }
    let came = parked_streams::decider(world, "resolver").await.read_anew(aside, decided(world)).await;
    came.is_err_and(|error| error.kind() == ErrorKind::Invalid)
}
