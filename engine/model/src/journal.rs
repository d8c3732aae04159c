//! A shard's journal: the row on which the workers of a shard agree.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    guard::Epoch,
    position::Position,
    projection::ProjectionId,
    stream::{Sequence, StreamId},
    time::Timestamp,
};

/// How far records may be released, and what takes effect that is no record. Changed only by compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// What the first event of an unknown stream means; fixed when the journal is made.
    pub base: BasePolicy,
    /// The position after which this shard's records count; what the start policy meant when the journal was made.
    pub start: Position,
    /// No record beyond it is released.
    pub horizon: Position,
    /// Each takes effect directly after the horizon that it was appended at. They are no part of the row: each is kept in
    /// rows of its own, and names the one before it.
    #[serde(skip)]
    pub entries: Vec<JournalEntry>,
    /// The name of the last entry's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Entries that were appended at horizons before this one were removed: nobody begins there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<Position>,
    /// The horizon is the shard's end, and no entry comes any more.
    #[serde(default)]
    pub sealed: bool,
}

/// What the first event of a stream that order state does not know means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BasePolicy {
    /// Streams begin at the source's `first` sequence: anything higher waits for what is missing.
    First,
    /// The stream may have begun before the start: its first event seen is its base.
    Seen,
}

/// A fact in a shard's journal that is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The horizon that it was appended at.
    pub after: Position,
    pub entry: Entry,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A gap filled from the event store: the events from the first missing one on, as envelopes.
    Fill { stream: StreamId, events: Vec<String> },
    /// Missing events of a stream, up to and with this sequence, are given up.
    GiveUp { stream: StreamId, up_to: Sequence },
    /// A stream that a projection has parked comes back to it: what waited is applied here, by the definition that the
    /// projection has by now. To all others it is nothing.
    ReEnter(Box<ReEntry>),
    /// The record at the horizon that this was appended at could not be decoded: nobody takes it for an event there, by
    /// whatever mapping it is read later.
    SetAside,
    /// A record that was set aside, as the event that it turned out to be. It comes here, as if it stood here.
    ReadAnew(Box<ReadAnew>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAnew {
    /// Of the record.
    pub partition_key: String,
    /// As [`crate::Event::to_envelope`] writes it.
    pub event: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReEntry {
    pub projection: ProjectionId,
    pub epoch: Epoch,
    pub stream: StreamId,
    /// Tells one way back from the next.
    pub id: String,
    /// The events that are left out for good, if any, by whom and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<LeftOut>,
}

/// Events of a parked stream that have no effect on any document of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub sequences: BTreeSet<Sequence>,
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}
