//! Where events are appended and read by stream.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::{Error, Result},
    event::{Event, EventId, EventType, SchemaVersion},
    stream::{Sequence, StreamId},
    time::Timestamp,
    value::Text,
};

/// An event store: streams with contiguous sequences, and one commit order over all of them.
///
/// Commands append and read; the relay reads all in commit order; the order stage fills gaps and the fold stage folds
/// streams again by reading streams. What was acknowledged is seen at once by everyone who reads its stream.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends to one or several streams, all or nothing. Acknowledged means synced to disk.
    ///
    /// A stream's events get the sequences that follow its last one. A stream that is not where it was expected is an
    /// [`Appended::Conflict`], not an error, and nothing is written. `Invalid`: an empty append, an empty stream id, a
    /// stream named twice, or what this store cannot hold: the message says which of its limits it exceeds. `Transient`:
    /// unknown whether it was appended; read the streams to find out. `Throttled`: it was not.
    async fn append(&self, appends: Vec<Append>) -> Result<Appended>;

    /// The events of a stream from a sequence on, at most `limit`; none when the stream ends before it. `Poison`: what is
    /// stored there is no event, though it should be one.
    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>>;

    /// The events behind an offset in commit order, at most `limit`. None: there are no more as yet; a store of many
    /// writers may show an event some time after it was acknowledged, but never one before another that it has shown.
    /// `Invalid`: this store keeps no such order, and what it would need; or the offset is none of its own. `Poison`: as
    /// of a stream.
    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>>;

    /// The last sequence of each stream, in the order asked; none of a stream without events.
    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>>;
}

/// A place in the commit order of an event store: a text that only this store understands, and that sorts by its bytes.
/// The empty one is before the first event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(Text);

/// As many digits as the largest number has.
const DIGITS: usize = 20;

impl Offset {
    pub fn new(text: impl Into<Text>) -> Self {
        Self(text.into())
    }

    /// Of a store that numbers its events from 1 on; zero is before the first one.
    pub fn numbered(number: u64) -> Self {
        match number {
            0 => Self::default(),
            number => Self::new(format!("{number:0DIGITS$}")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number that [`Offset::numbered`] was given. `Invalid`: it was not made so.
    pub fn number(&self) -> Result<u64> {
        let digits = self.0.len() == DIGITS && self.0.bytes().all(|byte| byte.is_ascii_digit());
        match self.0.as_str() {
            "" => Ok(0),
            text if digits => text.parse().map_err(|_| self.foreign()),
            _ => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> Error {
        Error::invalid(format!("an offset of another event store: offset={}", self.0))
    }
}

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
    /// Of the years 0 to 9999, as all that is written in RFC 3339.
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
    /// The last event's place in the commit order; empty of a store that keeps no such order.
    Done(Offset),
    /// A stream stands elsewhere: its last sequence, if it has events. Nothing was written.
    Conflict { stream: StreamId, last: Option<Sequence> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_numbers_sort_as_these() {
        let offsets = [0, 1, 9, 10, u64::MAX].map(Offset::numbered);
        assert!(offsets.is_sorted_by(|one, other| one.as_str() < other.as_str()));
        assert_eq!(offsets.map(|offset| offset.number().unwrap()), [0, 1, 9, 10, u64::MAX]);
        for foreign in ["7", "0ujtsYcgvSTl8PAuAdqWYSMnLOv", "99999999999999999999", "+0000000000000000001"] {
            assert_eq!(Offset::new(foreign).number().unwrap_err().kind(), crate::ErrorKind::Invalid);
        }
    }
}
