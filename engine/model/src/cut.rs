//! Cuts: the order stage's state at a place, saved beside the checkpoints.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    event::Event,
    position::Place,
    shard::ShardId,
    stream::{Sequence, StreamHash, StreamId},
    time::Timestamp,
};

/// Names a cut: the chain of the reader that wrote it, and the place it was taken at. Chains are never merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CutId {
    pub chain: String,
    pub place: Place,
}

/// The order stage's state at a place, or what it has gained since an earlier cut of the same chain. It only ever
/// gains: an early event that was released or given up is one at or below its stream's head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// The cut that this one only adds to; none for a whole one.
    pub since: Option<CutId>,
    /// The heads of all streams, or of those that moved. Sorted by hash.
    pub heads: Vec<(StreamHash, Head)>,
    /// The early events that wait for a missing one: all, or those that came since. Sorted by stream and sequence.
    pub early: Vec<Early>,
    /// What was given up, in all or since. Sorted by stream and sequence.
    pub given_up: Vec<GivenUp>,
}

/// What order state keeps of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last sequence known.
    pub sequence: Sequence,
    /// The highest recorded-at so far.
    pub recorded_at: Timestamp,
}

/// An event that came before one that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    /// The place of the record that brought it; the beginning where it came in a parent of the shard.
    pub at: Place,
    /// The partition key of that record: early events go to the child whose range holds it.
    pub partition_key: String,
    /// When it was first held, for showing how long a gap has lasted.
    pub since: Timestamp,
    pub event: EarlyEvent,
}

/// An early event as a cut holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EarlyEvent {
    Envelope(String),
    /// It was spilled: the envelope is a row of its own.
    Spilled(SpilledEvent),
}

impl EarlyEvent {
    /// Its stream and sequence. Poison when an envelope is none.
    pub fn names(&self) -> Result<(StreamId, Sequence)> {
        match self {
            Self::Spilled(spilled) => Ok((spilled.stream.clone(), spilled.sequence)),
            Self::Envelope(envelope) => {
                let event = Event::from_envelope(&Bytes::copy_from_slice(envelope.as_bytes()))?;
                Ok((event.stream_id, event.sequence))
            }
        }
    }
}

/// Names the row of an early event that is not kept in memory. What came early for one stream and sequence of a shard is
/// one event for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpilledEvent {
    /// The shard whose reader spilled it; a child inherits the name.
    pub shard: ShardId,
    pub stream: StreamId,
    pub sequence: Sequence,
}

/// Missing events of a stream that an operator decided not to wait for, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GivenUp {
    pub stream: StreamHash,
    pub first: Sequence,
    pub last: Sequence,
}
