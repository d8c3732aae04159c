//! Events that came before one that is missing.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use foldstream_model::{Early, Error, Event, Place, Result, Sequence, StreamHash, StreamId, Timestamp};

/// An early event and what brought it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub at: Place,
    pub partition_key: Arc<str>,
    pub since: Timestamp,
    pub event: Arc<Event>,
}

/// Missing events of a stream, and what waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub stream: StreamId,
    pub first_missing: Sequence,
    pub last_missing: Sequence,
    /// When the first of those that wait came.
    pub since: Timestamp,
    /// How many events of the stream wait.
    pub waiting: usize,
    /// All of them came in a parent of this shard. Where shards have no key ranges, their other child holds them too,
    /// and only a child that had a record of the stream itself may fill the gap.
    pub is_inherited: bool,
}

/// All early events of a shard, by stream and sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct EarlyEvents {
    waiting: BTreeMap<(StreamHash, Sequence), Waiting>,
    bytes: usize,
}

impl Waiting {
    pub fn size_in_bytes(&self) -> usize {
        size_of::<(StreamHash, Sequence, Self)>() + self.partition_key.len() + self.event.size_in_bytes()
    }

    pub fn stream(&self) -> StreamHash {
        self.event.stream_id.hash()
    }

    /// The form that cuts keep.
    pub fn to_early(&self) -> Result<Early> {
        let event = String::from_utf8(self.event.to_envelope()?);
        Ok(Early {
            at: self.at.clone(),
            partition_key: self.partition_key.to_string(),
            since: self.since,
            event: event.map_err(|error| Error::internal(format!("an envelope is no text: {error}")))?,
        })
    }
}

impl EarlyEvents {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, stream: StreamHash, sequence: Sequence) -> Option<&Waiting> {
        self.waiting.get(&(stream, sequence))
    }

    /// Holds an event, unless one of its stream and sequence is held already.
    pub fn insert(&mut self, stream: StreamHash, waiting: Waiting) {
        let bytes = waiting.size_in_bytes();
        if let btree_map::Entry::Vacant(place) = self.waiting.entry((stream, waiting.event.sequence)) {
            place.insert(waiting);
            self.bytes += bytes;
        }
    }

    pub fn remove(&mut self, stream: StreamHash, sequence: Sequence) -> Option<Waiting> {
        let waiting = self.waiting.remove(&(stream, sequence))?;
        self.bytes -= waiting.size_in_bytes();
        Some(waiting)
    }

    /// The lowest sequence of the stream that waits.
    pub fn first_of(&self, stream: StreamHash) -> Option<Sequence> {
        self.of_stream(stream).next().map(|(sequence, _)| sequence)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// The streams in which events wait, sorted.
    pub fn streams(&self) -> Vec<StreamHash> {
        let mut streams: Vec<_> = self.waiting.keys().map(|(stream, _)| *stream).collect();
        streams.dedup();
        streams
    }

    /// The first gap of a stream, which lacks `first_missing` first; none where nothing waits for it.
    pub fn gap(&self, stream: StreamHash, first_missing: Sequence) -> Option<Gap> {
        let mut of_stream = self.of_stream(stream);
        let (sequence, first) = of_stream.next()?;
        let mut gap = Gap {
            stream: first.event.stream_id.clone(),
            first_missing,
            last_missing: Sequence(sequence.0.saturating_sub(1)),
            since: first.since,
            waiting: 1,
            is_inherited: first.at == Place::BEGINNING,
        };
        for (_, waiting) in of_stream {
            gap.waiting += 1;
            gap.since = gap.since.min(waiting.since);
            gap.is_inherited &= waiting.at == Place::BEGINNING;
        }
        // What lacks nothing, as after a merge, goes at the shard's beginning.
        (gap.first_missing <= gap.last_missing).then_some(gap)
    }

    fn of_stream(&self, stream: StreamHash) -> impl Iterator<Item = (Sequence, &Waiting)> {
        let of_stream = self.waiting.range((stream, Sequence(0))..=(stream, Sequence(u64::MAX)));
        of_stream.map(|((_, sequence), waiting)| (*sequence, waiting))
    }
}
