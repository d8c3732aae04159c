use std::time::Duration;

use foldstream_model::{Path, Timestamp};

use super::{Change, EventMapping, Expression, Spanned};
use crate::diagnostic::Place;

/// Where events come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub place: Place,
    pub kind: Spanned<SourceKind>,
    /// Where a source begins that was never read.
    pub start: Spanned<Start>,
    /// Which items are events; none: all of them.
    pub include: Option<Expression>,
    pub event: EventMapping,
    /// In the order of the file.
    pub upcasters: Vec<Upcaster>,
    pub on_modify: Spanned<OnModify>,
    pub on_remove: Spanned<OnRemove>,
    pub on_newer_schema: Spanned<OnNewerSchema>,
    /// The event types that the source is known to carry; none: not stated, any type is known.
    pub types: Option<Vec<Spanned<String>>>,
    pub on_unknown_type: Spanned<OnUnknownType>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The embedded stream.
    Local {
        /// The stream's name inside the data folder.
        stream: String,
        /// How many shards it is created with.
        shards: u32,
        /// How long it keeps records; none: for ever.
        retention: Option<Duration>,
    },
    /// A Kinesis stream.
    Kinesis {
        /// The stream's name.
        stream: String,
        reading: Reading,
        /// The table of the shards' leases, in the form of the Kinesis Client Library: the name of an application of
        /// that library, where its work is taken over. Only where the store is in DynamoDB.
        lease_table: Option<String>,
        /// The table of the events themselves: where missing ones are looked for, and streams are folded again from.
        event_table: Option<EventTable>,
    },
    /// The changes of a DynamoDB table of events, which its stream keeps for 24 hours.
    DynamodbStreams { table: EventTable },
}

impl SourceKind {
    /// The table of the events themselves, if it is known.
    pub fn event_table(&self) -> Option<&EventTable> {
        match self {
            Self::Local { .. } => None,
            Self::Kinesis { event_table, .. } => event_table.as_ref(),
            Self::DynamodbStreams { table } => Some(table),
        }
    }
}

/// A DynamoDB table of events, as its owner has made it. Where the parts of an event are in an item says the source's mapping:
/// the stream's id is the partition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTable {
    pub table: Spanned<String>,
    /// The sort key's attribute; none: that of the sequence.
    pub sort_key: Option<String>,
    /// How many digits a sequence has in a sort key that is a text, zeros in front included; none: they are not padded.
    pub width: Option<u8>,
    pub order: Option<CommitOrder>,
}

/// A global secondary index that holds all events in one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOrder {
    pub index: String,
    /// The index's partition key: a number from 0 on, below `shards`.
    pub shard: String,
    pub shards: u32,
    /// The index's sort key: a KSUID.
    pub id: String,
    /// Younger events are not shown yet.
    pub safe_window: Duration,
}

/// How a Kinesis stream is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Asks each shard again and again; shares five calls and 2 MB a second of a shard with whoever else does.
    Polling,
    /// Is sent the records, with 2 MB a second of each shard to itself, as the consumer of this name.
    FanOut { consumer: String },
}

/// The words are those of Kinesis' iterators, and one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    TrimHorizon,
    Latest,
    AtTimestamp(Timestamp),
    /// Behind the checkpoints of the application that the source's lease table is named after.
    LeaseTable,
}

/// What to do when an item that was an event was changed in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnModify {
    Ignore,
    Redact,
    Park,
}

/// What to do when an item that was an event was deleted from its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemove {
    Ignore,
    Park,
}

/// What to do with an event of a newer schema version than the upcasters of its type lead to. It goes before `on_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNewerSchema {
    /// The projection stops before it in its shard.
    Wait,
    /// Its stream is parked for the projection.
    Park,
    /// It has no effect.
    Ignore,
}

/// What to do with an event whose type is not in the source's `types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknownType {
    Ignore,
    Park,
}

/// Lifts events of one type from schema version `from` to `from` + 1; the paths of its changes are those of
/// the payload. Upcasters of a type chain, and no two of them start from the same version.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcaster {
    pub place: Place,
    pub event: Spanned<String>,
    pub from: Spanned<u32>,
    /// In the order of the file.
    pub changes: Vec<UpcasterChange>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum UpcasterChange {
    /// Any operation that a reducer may use too, but for `delete_state`.
    Change(Change),
    /// `rename: { client: customerId }`: the field at `from`, if there is one, moves to `to`.
    Rename { from: Spanned<Path>, to: Spanned<Path> },
}
