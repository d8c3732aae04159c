//! What is durable of a stream that is parked, small enough that many of them are compared: where it is parked, what waits in
//! the lot, what is left out, and one document.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    DocumentKey, Epoch, EventType, Fed, Guard, Ordering, ParkedOrder, ParkedStream, Place, Position,
    Sequence, ShardNumber, ShardPlaces, StreamHash, StreamId, Timestamp,
};
use foldstream_runtime::guard::{Judge, Judgement, Origin};

use crate::shards::{Nth, SmallJournal};

/// The stream of which events cannot be taken.
pub const STREAM: &str = "s";

/// A record, or an entry directly after it by its number. A reader that is there has taken it.
pub type At = (u8, u8);

/// Where an event of a shard stands among all that is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallOrder {
    pub shard: u8,
    pub at: At,
    pub ordinal: u8,
}

/// Where the stream was parked, at which event, and where it came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallParked {
    pub since: SmallOrder,
    pub sequence: u64,
    pub until: Option<SmallOrder>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Document {
    pub applied: Vec<Nth>,
    /// Its guard: of each shard, up to where its events are in.
    places: BTreeMap<u8, SmallOrder>,
}

/// Up to where a shard is settled, and whether that is its end.
pub type Checkpoint = (At, bool);

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    pub journals: Vec<SmallJournal>,
    pub checkpoints: Vec<Checkpoint>,
    /// By shard, record or entry, and sequence.
    pub parked: BTreeMap<(u8, At, u64), SmallParked>,
    pub left_out: BTreeSet<u64>,
    pub lot: BTreeMap<SmallOrder, u64>,
    pub document: Document,
}

pub fn hash_of(stream: &str) -> StreamHash {
    StreamId::new(stream).hash()
}

/// Behind all that the record or entry released.
pub fn end_of(at: At) -> Place {
    Place::end(Position::new(at.0.into()), at.1.into())
}

impl SmallOrder {
    pub fn place(&self) -> Place {
        Place::new(Position::new(self.at.0.into()), self.at.1.into(), self.ordinal.into())
    }

    fn order(&self) -> ParkedOrder {
        ParkedOrder { key: None, shard: ShardNumber(self.shard.into()), place: self.place() }
    }

    fn of(order: &ParkedOrder) -> Self {
        let Place { position, entry, ordinal } = &order.place;
        let position = position.as_u64().expect("positions are small");
        Self { shard: order.shard.0 as u8, at: (position as u8, *entry as u8), ordinal: *ordinal as u8 }
    }
}

impl SmallParked {
    pub fn of(parked: &ParkedStream) -> Self {
        Self {
            since: SmallOrder::of(&parked.since),
            sequence: parked.sequence.0,
            until: parked.until.as_ref().map(SmallOrder::of),
        }
    }

    /// As the engine sees it.
    pub fn row(&self) -> ParkedStream {
        ParkedStream {
            stream: StreamId::new(STREAM),
            partition_key: STREAM.to_owned(),
            since: self.since.order(),
            sequence: Sequence(self.sequence),
            event_type: EventType::new("Happened"),
            error: String::new(),
            parked_at: Timestamp::MIN,
            is_fork: false,
            until: self.until.map(|until| until.order()),
        }
    }

    /// Whether what stands there waits until the stream comes back.
    pub fn covers(&self, order: &SmallOrder) -> bool {
        *order >= self.since && self.until.is_none_or(|until| *order < until)
    }
}

impl Document {
    /// Applies the event, if the guard says so. In one step: of late writes `writing` knows.
    pub fn take(&mut self, order: &SmallOrder, nth: Nth) {
        let mut places = ShardPlaces::default();
        places.places.extend(self.places.values().map(|order| (order.order().shard, order.place())));
        let revision = self.applied.len() as u64;
        let fed = Fed::Shards { revision, places: Box::new(places) };
        let guard = Guard { epoch: Epoch(0), fed, mark: None, unrecorded: BTreeSet::new() };
        let key = DocumentKey::new("d");
        let stored = (revision > 0).then_some(&guard);
        let judge = Judge::new(&key, Ordering::Commutative, Epoch(0), stored).expect("no other epoch");
        let origin = Origin {
            shard: ShardNumber(order.shard.into()),
            place: order.place(),
            stream: StreamId::new(nth.0),
            sequence: Sequence(nth.1),
            event_type: EventType::new("Happened"),
            recorded_at: Timestamp::MIN,
        };
        if judge.judge(&origin).expect("no stream is refused") == Judgement::Apply {
            self.applied.push(nth);
            self.places.insert(order.shard, *order);
        }
    }
}

impl Durable {
    pub fn park(&mut self, parked: SmallParked) {
        let SmallOrder { shard, at, .. } = parked.since;
        self.parked.entry((shard, at, parked.sequence)).or_insert(parked);
    }

    /// The stream came back; the first place counts.
    pub fn end(&mut self, ended: SmallParked) {
        let SmallOrder { shard, at, .. } = ended.since;
        let parked = self.parked.entry((shard, at, ended.sequence)).or_insert(ended);
        parked.until = parked.until.or(ended.until);
    }

    pub fn append(&mut self, order: SmallOrder, sequence: u64) {
        self.lot.entry(order).or_insert(sequence);
    }

    pub fn rows(&self) -> impl Iterator<Item = ParkedStream> {
        self.parked.values().map(SmallParked::row)
    }

    pub fn events_left_out(&self) -> BTreeSet<(StreamHash, Sequence)> {
        self.left_out.iter().map(|sequence| (hash_of(STREAM), Sequence(*sequence))).collect()
    }
}
