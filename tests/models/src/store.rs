//! A document in a store, small enough that millions of them are compared, and what the engine's code takes it for.

use foldstream_model::{
    DocumentKey, Epoch, EventType, Fed, Guard, Mark, MarkNumber, Ordering, Place, Position, Sequence,
    ShardNumber, ShardPlaces, StreamId, Timestamp,
};
use foldstream_runtime::guard::{self, Judge, Judgement, Origin};

/// How many shards a model can have.
pub const SHARDS: usize = 2;

/// The nth event of a shard, from 1. Each shard carries one stream, so it is the nth of its stream too.
pub type Event = (usize, u8);

/// A document: the events that were applied, by shard in the order of application, and its guard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    pub applied: [Vec<u8>; SHARDS],
    pub guard: SmallGuard,
}

/// A guard in small: `per_stream` uses the sequence, `commutative` the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallGuard {
    pub sequence: u8,
    pub revision: u8,
    pub places: [u8; SHARDS],
    pub closed: [bool; SHARDS],
    /// Its number, and whether it is set or cleared.
    pub mark: Option<(u8, bool)>,
    /// Of each shard the event that it was moved past and that is not on record.
    pub unrecorded: [u8; SHARDS],
}

impl Stored {
    /// Whether each shard's events are in it from the first on, in order, each once.
    pub fn is_fold(&self) -> bool {
        self.applied.iter().all(|applied| applied.iter().copied().eq(1..=applied.len() as u8))
    }

    /// The mark that it carries.
    pub fn mark(&self) -> Option<u8> {
        self.guard.mark.and_then(|(number, is_set)| is_set.then_some(number))
    }
}

/// What a fold of pending events on a base says.
pub struct Folded {
    /// None when the base covers all of them.
    pub put: Option<Stored>,
    /// How many of them, from the front, are covered: those in front of the first that is to be applied.
    pub covered: usize,
}

/// Folds by the engine's own judgement. `closed` are the shards that the writer knows to be closed.
pub fn fold(ordering: Ordering, base: Option<&Stored>, pending: &[Event], closed: [bool; SHARDS]) -> Folded {
    let key = DocumentKey::new("d");
    let stored = base.map(|base| guard_of(ordering, &base.guard));
    let mut judge =
        Judge::new(&key, ordering, Epoch(0), stored.as_ref()).expect("no other epoch or ordering");
    let mut put = base.cloned().unwrap_or_default();
    let (mut covered, mut is_applying) = (0, false);
    for event in pending {
        let origin = origin(*event);
        match judge.judge(&origin).expect("one stream for each document") {
            Judgement::Apply => {
                put.applied[event.0].push(event.1);
                judge.advance(&origin);
                is_applying = true;
            }
            _ if !is_applying => covered += 1,
            _ => {}
        }
    }
    let guard = judge.into_guard(&places_of(&[0; SHARDS], &closed), &ShardPlaces::default());
    let Some(guard) = guard else { return Folded { put: None, covered } };
    put.guard = in_small(&guard);
    Folded { put: Some(put), covered }
}

/// Whether a `commutative` document has this event.
pub fn covered(stored: Option<&Stored>, event: Event) -> bool {
    judged(stored, event) == Judgement::Duplicate
}

/// What the guard of a `commutative` document says of this event.
pub fn judged(stored: Option<&Stored>, event: Event) -> Judgement {
    let key = DocumentKey::new("d");
    let stored = stored.map(|stored| guard_of(Ordering::Commutative, &stored.guard));
    let judge = Judge::new(&key, Ordering::Commutative, Epoch(0), stored.as_ref());
    let judge = judge.expect("no other epoch or ordering");
    judge.judge(&origin(event)).expect("no stream is refused")
}

/// A `commutative` document under a guard that was changed by the engine's own code.
pub fn reguarded(
    base: Option<&Stored>,
    closed: [bool; SHARDS],
    change: impl FnOnce(&mut Judge<'_>, fn(Event) -> Origin),
) -> Stored {
    let key = DocumentKey::new("d");
    let stored = base.map(|base| guard_of(Ordering::Commutative, &base.guard));
    let judge = Judge::new(&key, Ordering::Commutative, Epoch(0), stored.as_ref());
    let mut judge = judge.expect("no other epoch or ordering");
    change(&mut judge, origin);
    let guard = judge.into_guard(&places_of(&[0; SHARDS], &closed), &ShardPlaces::default());
    Stored { guard: in_small(&guard.expect("something was changed")), ..base.cloned().unwrap_or_default() }
}

fn origin((shard, number): Event) -> Origin {
    Origin {
        shard: shard_number(shard),
        place: place(number),
        stream: StreamId::new(if shard == 0 { "s" } else { "t" }),
        sequence: Sequence(number.into()),
        event_type: EventType::new("Happened"),
        recorded_at: Timestamp::MIN,
    }
}

fn shard_number(shard: usize) -> ShardNumber {
    ShardNumber(shard as u32)
}

fn place(number: u8) -> Place {
    Place::new(Position::new(number.into()), 0, 0)
}

fn guard_of(ordering: Ordering, small: &SmallGuard) -> Guard {
    let fed = match ordering {
        Ordering::PerStream => {
            Fed::Stream { stream: StreamId::new("s"), sequence: Sequence(small.sequence.into()) }
        }
        _ => Fed::Shards {
            revision: small.revision.into(),
            places: Box::new(places_of(&small.places, &small.closed)),
        },
    };
    let mark = small.mark.map(|(number, is_set)| match is_set {
        true => Mark::Set(MarkNumber(number.into())),
        false => Mark::Cleared(MarkNumber(number.into())),
    });
    let unrecorded = (0..SHARDS).filter(|shard| small.unrecorded[*shard] > 0);
    let unrecorded = unrecorded.map(|shard| (shard_number(shard), place(small.unrecorded[shard]))).collect();
    Guard { epoch: Epoch(0), fed, mark, unrecorded }
}

fn in_small(guard: &Guard) -> SmallGuard {
    let mark = guard.mark.map(|mark| match mark {
        Mark::Set(number) => (number.0 as u8, true),
        Mark::Cleared(number) => (number.0 as u8, false),
    });
    let small = match &guard.fed {
        Fed::Stream { sequence, .. } => SmallGuard { sequence: sequence.0 as u8, ..SmallGuard::default() },
        Fed::Shards { revision, places } => {
            let mut small = SmallGuard { revision: *revision as u8, ..SmallGuard::default() };
            for shard in 0..SHARDS {
                let place = places.places.get(&shard_number(shard));
                small.places[shard] = place.and_then(|place| place.position.as_u64()).unwrap_or(0) as u8;
                small.closed[shard] = guard::is_closed(places, shard_number(shard));
            }
            small
        }
        Fed::Nothing | Fed::Ordered { .. } => {
            unreachable!("no model here parks, or is of the global ordering")
        }
    };
    let mut unrecorded = [0; SHARDS];
    for (shard, place) in &guard.unrecorded {
        unrecorded[shard.0 as usize] = place.position.as_u64().unwrap_or(0) as u8;
    }
    SmallGuard { mark, unrecorded, ..small }
}

fn places_of(places: &[u8; SHARDS], closed: &[bool; SHARDS]) -> ShardPlaces {
    let mut all = ShardPlaces::default();
    for shard in 0..SHARDS {
        if closed[shard] {
            guard::close(&mut all, shard_number(shard));
        } else if places[shard] > 0 {
            all.places.insert(shard_number(shard), place(places[shard]));
        }
    }
    all
}
