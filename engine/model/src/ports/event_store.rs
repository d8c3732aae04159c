//! Where events are appended and read by stream.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::Result,
    event::{Event, EventId, EventType, SchemaVersion},
    stream::{Sequence, StreamId},
    time::Timestamp,
};

/// An event store: streams with contiguous sequences, and one commit order over all of them.
///
/// Commands append and read; the relay reads all in commit order; the order stage fills gaps and the fold stage folds
/// streams again by reading streams. Reads see everything that was acknowledged.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends to one or several streams, all or nothing. Acknowledged means synced to disk.
    ///
    /// A stream's events get the sequences that follow its last one. A stream that is not where it was expected is an
    /// [`Appended::Conflict`], not an error, and nothing is written. `Invalid`: an empty append, an empty stream id, a
    /// stream named twice. `Transient`: unknown whether it was appended; read the streams to find out.
    async fn append(&self, appends: Vec<Append>) -> Result<Appended>;

    /// The events of a stream from a sequence on, at most `limit`; none when the stream ends before it.
    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>>;

    /// The events behind an offset in commit order, at most `limit`.
    async fn read_all(&self, after: Offset, limit: usize) -> Result<Vec<(Offset, Event)>>;

    /// The last sequence of each stream, in the order asked; none of a stream without events.
    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>>;
}

/// A place in the commit order of an event store; zero is before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u64);

/// Events to be appended to one stream.
#[derive(Debug, Clone)]
pub struct Append {
    pub stream: StreamId,
    pub expected: ExpectedSequence,
    pub events: Vec<NewEvent>,
}

/// Where a stream must stand for an append to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedSequence {
    /// Wherever it stands.
    Any,
    /// It has no events; the first one gets this sequence.
    Empty { first: Sequence },
    /// Its last event has this sequence.
    Last(Sequence),
}

/// An event before it has a stream and a sequence.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub id: EventId,
    pub event_type: EventType,
    pub schema_version: SchemaVersion,
    pub recorded_at: Timestamp,
    pub effective_at: Timestamp,
    /// JSON; empty for none.
    pub payload: Bytes,
    /// JSON; empty for none.
    pub metadata: Bytes,
}

/// How an append ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The last event's place in the commit order.
    Done(Offset),
    /// A stream stands elsewhere: its last sequence, if it has events. Nothing was written.
    Conflict { stream: StreamId, last: Option<Sequence> },
}
