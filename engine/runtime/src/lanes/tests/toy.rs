//! A store in memory that keeps the conditions of writes, events that leave their names in documents, and chance.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{
    Document, DocumentKey, Epoch, Error, Event, EventId, EventType, Fed, Guard, Map, OnFailure, Ordering,
    Payload, Place, Position, SchemaVersion, Sequence, ShardNumber, StreamId, Timestamp, Value,
    ports::{Condition, DocumentWrite, StateCarried, StoredDocument, Touch, Written},
};

use crate::{
    guard::Origin,
    lanes::{Delivery, Lane, LaneMode, LaneOptions, LineId},
    progress::BatchId,
};

/// Random numbers that a seed decides.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) as usize) % bound.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }
}

#[derive(Default)]
pub struct Store {
    pub documents: BTreeMap<DocumentKey, StoredDocument>,
    /// Names that the store refuses to hold.
    pub refused: Vec<String>,
    /// Names that the store refuses as the last of a document.
    pub refused_last: Vec<String>,
    /// Counts the conflicts.
    pub conflicts: usize,
}

impl Store {
    pub fn read(&self, key: &DocumentKey) -> Option<StoredDocument> {
        self.documents.get(key).cloned()
    }

    pub fn write(&mut self, write: &DocumentWrite) -> Written {
        let stored = self.documents.get(&write.key);
        let holds = match &write.condition {
            Condition::Absent => stored.is_none(),
            Condition::GuardIs(guard) => stored.is_some_and(|stored| stored.guard == *guard),
        };
        let names = names_in(write.put.document.as_ref());
        let is_refused = |name: &String| self.refused.contains(name);
        if names.iter().any(is_refused) || names.last().is_some_and(|last| self.refused_last.contains(last)) {
            return Written::Rejected(Error::poison("too large"));
        }
        if !holds {
            self.conflicts += 1;
            return Written::Conflict(stored.cloned().map(Box::new));
        }
        self.documents.insert(write.key.clone(), write.put.clone());
        Written::Done
    }

    /// With no luck it is delayed, with little it is done and nobody hears of it.
    pub fn try_write(
        &mut self,
        write: DocumentWrite,
        luck: usize,
        delayed: &mut Vec<DocumentWrite>,
    ) -> Option<Written> {
        if luck == 0 {
            delayed.push(write);
            return None;
        }
        let written = self.write(&write);
        (luck > 1).then_some(written)
    }

    pub fn names(&self, key: &str) -> Vec<String> {
        names_in(self.documents.get(&DocumentKey::new(key)).and_then(|stored| stored.document.as_ref()))
    }

    /// The sequence that a `per_stream` document stands at.
    pub fn sequence(&self, key: &str) -> Option<u64> {
        let stored = self.documents.get(&DocumentKey::new(key))?;
        let Fed::Stream { sequence, .. } = &stored.guard.fed else { return None };
        Some(sequence.0)
    }
}

/// The names that events left in a document, in their order.
pub fn names_in(document: Option<&Document>) -> Vec<String> {
    let names = document.and_then(|document| document.fields.get("names")).and_then(Value::as_list);
    names.unwrap_or_default().iter().map(|name| name.as_text().unwrap().to_owned()).collect()
}

/// What an event of these tests does to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Leaves its name.
    Name,
    Delete,
    /// Fails, after having spoilt the document it was given.
    Fail,
    /// Changes nothing.
    Nothing,
}

pub fn touch(key: &str, name: String, deed: Deed) -> Touch {
    let change = move |document: &mut Option<Document>| {
        match deed {
            Deed::Nothing => return Ok(()),
            Deed::Delete => {
                *document = None;
                return Ok(());
            }
            Deed::Fail => {
                *document = None;
                return Err(Error::poison(format!("cannot apply {name}")));
            }
            Deed::Name => {}
        }
        let mut names = names_in(document.as_ref());
        names.push(name.clone());
        let names = Value::from(names.into_iter().map(Value::from).collect::<Vec<_>>());
        let fields = Arc::new(Map::from_iter([(Arc::from("names"), names)]));
        *document = Some(Document { fields, ..Document::default() });
        Ok(())
    };
    Touch { key: DocumentKey::new(key), change: Box::new(change) }
}

pub fn place(number: u64) -> Place {
    Place::new(Position::new(number.into()), 0, 0)
}

/// `stream/sequence` at a place of a shard.
pub fn origin(shard: u32, place: Place, stream: &str, sequence: u64) -> Origin {
    Origin {
        shard: ShardNumber(shard),
        place,
        stream: StreamId::new(stream),
        sequence: Sequence(sequence),
        event_type: EventType::new("Made"),
        recorded_at: Timestamp::EPOCH,
    }
}

pub fn name_of(origin: &Origin) -> String {
    format!("{}/{}", origin.stream, origin.sequence)
}

/// A delivery of which the batch is the number of its position.
pub fn delivery(line: u64, origin: Origin, key: &str, deed: Deed) -> Delivery {
    let batch = BatchId(origin.place.position.as_u64().unwrap());
    let touch = touch(key, name_of(&origin), deed);
    Delivery { line: LineId(line), batch, origin, touch, carried: None, bytes: 100 }
}

/// The same with what is needed to set it aside.
pub fn carrying(delivery: Delivery) -> Delivery {
    let origin = &delivery.origin;
    let event = Event {
        stream_id: origin.stream.clone(),
        sequence: origin.sequence,
        id: EventId::new(name_of(origin)),
        event_type: origin.event_type.clone(),
        schema_version: SchemaVersion(1),
        recorded_at: origin.recorded_at,
        effective_at: origin.recorded_at,
        payload: Payload::default(),
        metadata: Payload::default(),
    };
    let carried = StateCarried { event: Arc::new(event), before: Value::Null, state: Value::Null };
    Delivery { carried: Some(Arc::new(carried)), ..delivery }
}

pub fn lane(ordering: Ordering) -> Lane {
    Lane::new(LaneOptions {
        ordering,
        epoch: Epoch(1),
        mode: LaneMode::Live(OnFailure::Stop),
        cache_bytes: 1_000_000,
    })
}

pub fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// Answers all reads and writes until nothing moves, and returns how many documents were written.
pub fn run(lane: &mut Lane, store: &mut Store) -> usize {
    let (mut written, mut at_rest) = (0, 0);
    while at_rest < 2 {
        let reads = lane.to_read(7);
        reads.iter().for_each(|key| lane.loaded(key, store.read(key)));
        let writes = lane.to_write(7);
        for write in &writes {
            lane.written(&write.key, store.write(write));
        }
        written += writes.len();
        at_rest = if reads.is_empty() && writes.is_empty() { at_rest + 1 } else { 0 };
    }
    written
}

/// The one write that the lane has to make by now.
pub fn one_write(lane: &mut Lane, store: &Store) -> DocumentWrite {
    lane.to_read(10).iter().for_each(|key| lane.loaded(key, store.read(key)));
    let mut writes = lane.to_write(10);
    assert_eq!(writes.len(), 1);
    writes.remove(0)
}

pub fn guard_of(store: &Store, key: &str) -> Guard {
    store.documents[&DocumentKey::new(key)].guard.clone()
}

/// A line's place in its shard, and how many touches of each record have not settled.
pub struct Reading {
    pub line: LineId,
    pub next: usize,
    pub open: BTreeMap<BatchId, usize>,
}

/// Moves the checkpoint of each shard that is read over what has settled.
pub fn checkpoint(lane: &mut Lane, readings: &mut [Option<Reading>], checkpoints: &mut [usize]) {
    let poison = lane.take_poison();
    assert!(poison.is_empty(), "nothing stops: {poison:?}");
    for (line, batch, count) in lane.take_settled() {
        let reading = readings.iter_mut().flatten().find(|reading| reading.line == line);
        let open = reading.expect("only lines that were not abandoned settle").open.get_mut(&batch).unwrap();
        *open = open.checked_sub(count).expect("an event settles once");
    }
    for (reading, checkpoint) in readings.iter().zip(checkpoints) {
        let Some(reading) = reading else { continue };
        let waiting = reading.open.iter().find(|(_, open)| **open > 0);
        let settled = waiting.map_or(reading.next, |(batch, _)| batch.0 as usize - 1);
        *checkpoint = (*checkpoint).max(settled);
    }
}
