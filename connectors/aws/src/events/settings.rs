//! How a table holds events.

use std::time::Duration;

use foldstream_model::{Path, Sequence, Value};

/// A table of events, as its owner has made it: one partition for each stream.
#[derive(Debug, Clone, PartialEq)]
pub struct EventTable {
    pub name: String,
    pub partition: PartitionKey,
    pub sort: SortKey,
    /// The sequence of the first event of a stream that is appended to wherever it stands. All writers of a table begin
    /// its streams at this one: two that begin a stream at the same moment at different ones do not notice each other.
    pub first: Sequence,
    /// None: nothing can be appended.
    pub written: Option<WrittenParts>,
    /// None: events can be read by stream alone.
    pub order: Option<CommitOrder>,
}

/// The attribute whose value is a stream's id behind a prefix, a string or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionKey {
    pub attribute: String,
    /// Empty for none; `ORDER#`.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    pub attribute: String,
    pub holds: SortHolds,
}

/// What of an event its sort key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortHolds {
    /// The sequence: as a number, or as text behind a prefix.
    Sequence {
        /// Empty for none; `EVENT#`.
        prefix: String,
        /// How many digits every sequence has, zeros in front included: keys then sort as sequences, and of a stream only
        /// what is asked for is read. None, of text: a stream is always read as a whole, which is slow for long ones.
        width: Option<u8>,
    },
    /// Something else, a date for instance: a stream is always read as a whole. Nothing can be appended, as no
    /// condition on a key keeps two events from having one sequence.
    SomethingElse,
}

/// Where the parts of an event are put: what the decoder of the table does, the other way round. What it would not read
/// back is not appended. Keys are put over these.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenParts {
    pub stream_id: WrittenPart,
    /// A number; text behind a prefix.
    pub sequence: WrittenPart,
    pub event_type: WrittenPart,
    /// None: what is read as an event's id is made of its stream and sequence.
    pub id: Option<WrittenPart>,
    /// None: only version 1 can be appended.
    pub schema_version: Option<WrittenPart>,
    /// In RFC 3339, of 27 characters.
    pub recorded_at: WrittenPart,
    /// None: only events that were true when they were recorded can be appended.
    pub effective_at: Option<WrittenPart>,
    pub payload: Option<WrittenPayload>,
    pub metadata: Option<WrittenPayload>,
    /// What every event has besides: the mark of an event, where one is looked for in a table of many kinds of items.
    pub constants: Vec<(Path, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPart {
    pub path: Path,
    /// Empty for none.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPayload {
    pub path: Path,
    pub encoding: WrittenEncoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenEncoding {
    /// As a map of DynamoDB: the payload is an object, and of its text only what it means is kept.
    Map,
    /// As a string, as it was written.
    Json,
    /// As bytes, as it was written.
    Binary,
    /// As bytes, gzipped.
    Gzip,
}

/// A global secondary index that holds whole events, in an order over all streams.
///
/// Each event is given a KSUID (<https://github.com/segmentio/ksuid>) when it is appended, and these are the order. Those of
/// a stream only rise, so a writer whose clock is ahead holds the events behind its own back for as long. No two events
/// may have the same one. Events that lack one of the two attributes are not in the index, and are not seen by who reads all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOrder {
    pub index: String,
    /// The index's partition key: a whole number from 0 on and below `shards`, as a number or a string. Here it follows from
    /// the stream's id; another writer may spread its events otherwise, but evenly, as a partition takes 1,000 writes a
    /// second. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
    pub shard: String,
    /// It may be raised at any time, first for those who read; never lowered.
    pub shards: u16,
    /// The index's sort key: a KSUID, a string. Where it is also what is read as the event's id, events get this one in
    /// place of their own.
    pub id: String,
    /// Younger events are not shown yet to who reads all: 10 s are a good value.
    ///
    /// One that comes into the index later than this after its id was made is missed by who has read on. Half of it is
    /// for a write to be answered, as nothing is sent later; the other half for the index, which follows the table within a
    /// second as a rule, and for what the writers' clocks differ from the reader's. The ids of other writers may be of
    /// whole seconds, which takes one more. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html>
    pub safe_window: Duration,
}
