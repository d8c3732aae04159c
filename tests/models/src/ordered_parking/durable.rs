//! What is stored, and what is asked of it: each request is done as a whole, on its condition, whenever it arrives.

use std::{collections::BTreeSet, sync::LazyLock};

use foldstream_model::{
    DocumentKey, Epoch, EventType, Fed, Guard, Mark, MarkNumber, OrderKey, Ordering, Place, Position, Reach,
    Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp,
};
use foldstream_runtime::{
    guard::{Judge, Origin},
    invariants,
};

use crate::store::SHARDS;

/// An event, by its order key, from 1.
pub type Event = u8;

/// The events of each shard, in the order of their places.
pub type Events = [&'static [Event]; SHARDS];

/// A `global` document: the events that were applied, in the order of application, and its guard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    pub applied: Vec<Event>,
    pub guard: SmallGuard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallGuard {
    pub revision: u8,
    pub applied: SmallReach,
    pub parked: Option<SmallReach>,
    /// Its number, and whether it is set or cleared.
    pub mark: Option<(u8, bool)>,
}

/// Zero is none, of keys and of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallReach {
    pub key: Event,
    pub read: [u8; SHARDS],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    pub stored: Option<Stored>,
    pub lot: BTreeSet<Event>,
    /// Marks up to this one are closed.
    pub closed: u8,
    /// On record as late.
    pub late: BTreeSet<Event>,
    pub checkpoints: [u8; SHARDS],
    /// A write has moved a guard back.
    pub goes_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    Put(Condition, Stored),
    Append(u8, BTreeSet<Event>),
    RecordLate(BTreeSet<Event>),
    Remove(BTreeSet<Event>),
    Close(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    GuardIs(Option<SmallGuard>),
    None,
}

static KEY: LazyLock<DocumentKey> = LazyLock::new(|| DocumentKey::new("d"));

impl Request {
    /// As if the document that it changes were of the first revision.
    pub fn of_first_revision(mut self) -> Self {
        if let Self::Put(Condition::GuardIs(Some(base)), put) = &mut self {
            (base.revision, put.guard.revision) = (1, 2);
        }
        self
    }
}

impl Stored {
    /// The mark that it carries.
    pub fn mark(&self) -> Option<u8> {
        self.guard.mark.and_then(|(number, is_set)| is_set.then_some(number))
    }

    /// As its guard in the engine says, with these events applied.
    pub fn of(base: Option<&Stored>, judge: Judge<'_>, read: &[u8; SHARDS], applied: &[Event]) -> Self {
        let guard = judge.into_guard(&ShardPlaces::default(), &places_of(read));
        let before = base.map(|base| base.applied.as_slice()).unwrap_or_default();
        Self { applied: [before, applied].concat(), guard: in_small(&guard.expect("something was changed")) }
    }
}

impl Durable {
    /// Whether it is done, or refused.
    pub fn take(&mut self, request: &Request) -> bool {
        match request {
            Request::Put(condition, put) => {
                let before = self.stored.as_ref().map(|stored| stored.guard);
                if matches!(condition, Condition::GuardIs(base) if *base != before) {
                    return false;
                }
                let moves_on =
                    |before| invariants::guard_moves_on(&guard_of(before), &guard_of(&put.guard)).is_ok();
                self.goes_back |= !before.as_ref().is_none_or(moves_on);
                self.stored = Some(put.clone());
                true
            }
            Request::Append(mark, events) => {
                let is_open = *mark > self.closed;
                if is_open {
                    self.lot.extend(events);
                }
                is_open
            }
            Request::RecordLate(events) => {
                self.late.extend(events);
                true
            }
            Request::Remove(events) => {
                self.lot.retain(|event| !events.contains(event));
                true
            }
            Request::Close(mark) => {
                if self.lot.is_empty() {
                    self.closed = self.closed.max(*mark);
                }
                *mark <= self.closed
            }
        }
    }
}

impl Durable {
    /// Whether the request does nothing, whenever it arrives: the guard that it asks for never comes back.
    pub fn is_spent(&self, request: &Request) -> bool {
        match request {
            Request::Put(Condition::GuardIs(base), _) => {
                *base != self.stored.as_ref().map(|stored| stored.guard)
            }
            Request::Append(mark, _) | Request::Close(mark) => *mark <= self.closed,
            Request::RecordLate(events) => events.is_subset(&self.late),
            Request::Put(Condition::None, _) | Request::Remove(_) => false,
        }
    }
}

/// The engine's own judge of a document.
pub fn judge(stored: Option<&Stored>) -> Judge<'static> {
    let guard = stored.map(|stored| guard_of(&stored.guard));
    Judge::new(&KEY, Ordering::Global, Epoch(0), guard.as_ref()).expect("no other epoch or ordering")
}

/// The shard of an event, and its place there.
pub fn stands(events: &Events, event: Event) -> (usize, u8) {
    let in_shard = |shard: usize| events[shard].iter().position(|found| *found == event);
    let found = (0..SHARDS).find_map(|shard| Some((shard, in_shard(shard)? as u8 + 1)));
    found.expect("each event is in a shard")
}

pub fn origin(events: &Events, event: Event) -> Origin {
    let (shard, at) = stands(events, event);
    let OrderKey { recorded_at, stream, sequence } = order_key(event);
    let event_type = EventType::new("Happened");
    Origin { shard: ShardNumber(shard as u32), place: place(at), stream, sequence, event_type, recorded_at }
}

/// Each event is of another stream: of one shard they may have any order.
fn order_key(event: Event) -> OrderKey {
    OrderKey {
        recorded_at: Timestamp::from_seconds(event.into()),
        stream: StreamId::new(event.to_string()),
        sequence: Sequence(1),
    }
}

fn place(at: u8) -> Place {
    Place::new(Position::new(at.into()), 0, 0)
}

pub fn places_of(read: &[u8; SHARDS]) -> ShardPlaces {
    let mut all = ShardPlaces::default();
    let read = (0..).map(ShardNumber).zip(read).filter(|(_, at)| **at > 0);
    all.places.extend(read.map(|(shard, at)| (shard, place(*at))));
    all
}

fn guard_of(small: &SmallGuard) -> Guard {
    let key = |reach: &SmallReach| (reach.key > 0).then(|| order_key(reach.key));
    let parked = small.parked.map(|parked| Reach { key: key(&parked), read: places_of(&parked.read) });
    let fed = Fed::Ordered {
        revision: small.revision.into(),
        key: key(&small.applied).map(Box::new),
        read: Box::new(places_of(&small.applied.read)),
        parked: parked.map(Box::new),
    };
    let mark = small.mark.map(|(number, is_set)| match is_set {
        true => Mark::Set(MarkNumber(number.into())),
        false => Mark::Cleared(MarkNumber(number.into())),
    });
    Guard { epoch: Epoch(0), fed, mark, unrecorded: BTreeSet::new() }
}

fn in_small(guard: &Guard) -> SmallGuard {
    let Fed::Ordered { revision, key, read, parked } = &guard.fed else {
        unreachable!("the document is of the global ordering")
    };
    let mark = guard.mark.map(|mark| match mark {
        Mark::Set(number) => (number.0 as u8, true),
        Mark::Cleared(number) => (number.0 as u8, false),
    });
    SmallGuard {
        revision: *revision as u8,
        applied: small_reach(key.as_deref(), read),
        parked: parked.as_ref().map(|parked| small_reach(parked.key.as_ref(), &parked.read)),
        mark,
    }
}

fn small_reach(key: Option<&OrderKey>, read: &ShardPlaces) -> SmallReach {
    let key = key.and_then(|key| key.stream.as_str().parse().ok()).unwrap_or(0);
    let at = |shard| read.places.get(&ShardNumber(shard as u32))?.position.as_u64();
    SmallReach { key, read: std::array::from_fn(|shard| at(shard).unwrap_or(0) as u8) }
}
