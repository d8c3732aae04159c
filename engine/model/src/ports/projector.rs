//! The code of users: pure functions without I/O, clock or chance. Called on the line's tasks, any number of times for
//! one event; equal input must give equal output on every machine.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    document::{Document, DocumentKey},
    error::Result,
    event::{Event, EventType, PayloadReads, SchemaVersion},
    shard::Record,
    time::Timestamp,
    value::{FieldMask, Value},
};

/// Turns a source's raw records into events. Called once for each record that is read.
pub trait Decoder: Send + Sync {
    /// The event in a record; none when the record is not meant to be one. Metadata stays raw, and so may the payload; a
    /// decoder that goes through the payload anyway may take out of it what `reads` names, all of that and no more.
    /// `Poison`: the record should be an event and is none.
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>>;

    /// Of a record that is no event: the instant up to which, as whoever fills the source says by it, everything that was stored
    /// is in the source. None: it says nothing of the kind.
    fn heartbeat(&self, _record: &Record) -> Option<Timestamp> {
        None
    }
}

/// Lifts a payload by one schema version. Chained by the upcast stage until no upcaster matches.
pub trait Upcaster: Send + Sync {
    /// Which events it lifts: of this type, at this schema version; the result has the next version.
    fn lifts(&self) -> (&EventType, SchemaVersion);

    /// The payload under the next schema. `Poison`: the payload is not what the old schema says.
    fn upcast(&self, payload: Value) -> Result<Value>;
}

/// Folds a stream. Called for each event of the stream in order of sequence, each once in a fold.
pub trait Reducer: Send + Sync {
    /// The types that change the state; it stays as it is at all others.
    fn event_types(&self) -> &BTreeSet<EventType>;

    /// What the fold reads of an event's payload and metadata.
    fn reads(&self, event_type: &EventType) -> Reads;

    /// The state after the event; null is the state before the first one. `Poison`: the event cannot follow that state.
    fn reduce(&self, event: &Event, before: &Value) -> Result<Value>;
}

/// Which parts of an event's JSON somebody reads; nothing else is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    pub payload: FieldMask,
    pub metadata: FieldMask,
}

impl Reads {
    pub const NOTHING: Self = Self { payload: FieldMask::NONE, metadata: FieldMask::NONE };

    /// What either reads.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self { payload: self.payload.union(&other.payload), metadata: self.metadata.union(&other.metadata) }
    }
}

/// An event with the states of its stream before and after it; null where the projection has no reducer.
#[derive(Debug, Clone)]
pub struct StateCarried {
    pub event: Arc<Event>,
    pub before: Value,
    pub state: Value,
}

/// Says which documents an event touches, and what it does to each.
pub trait Projector: Send + Sync {
    /// The types that it handles; none of the others is handed to it.
    fn event_types(&self) -> &BTreeSet<EventType>;

    /// What it reads of an event's payload and metadata.
    fn reads(&self, event_type: &EventType) -> Reads;

    /// Appends a touch for each document that the event touches, each document once. `Poison`: it cannot be told.
    fn touch(&self, event: &StateCarried, touches: &mut Vec<Touch>) -> Result<()>;
}

/// One event's effect on one document.
pub struct Touch {
    pub key: DocumentKey,
    pub change: Box<dyn Change>,
}

/// What an event does to a document. Kept until the document is written, and applied again when another worker was
/// faster; so it changes nothing but the document it is given.
pub trait Change: Send + Sync {
    /// Changes, makes or deletes (`None`) the document. `Poison`: it cannot be done; the document is then left as it
    /// was, whatever this call has changed.
    fn apply(&self, document: &mut Option<Document>) -> Result<()>;
}

impl<F> Change for F
where
    F: Fn(&mut Option<Document>) -> Result<()> + Send + Sync,
{
    fn apply(&self, document: &mut Option<Document>) -> Result<()> {
        self(document)
    }
}
