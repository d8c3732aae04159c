//! Cuts: the order stage's state at a place, saved beside the checkpoints.

use serde::{Deserialize, Serialize};

use crate::{
    position::Place,
    stream::{Sequence, StreamHash},
    time::Timestamp,
};

/// Names a cut: the chain of the reader that wrote it, and the place it was taken at. Chains are never merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CutId {
    pub chain: String,
    pub place: Place,
}

/// The order stage's state at a place, or what changed in it since the cut before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cut {
    /// The cut that this one only adds to; none for a whole one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<CutId>,
    /// The last sequence known of each stream: of all streams, or of those that changed. Sorted by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<(StreamHash, Head)>,
    /// All early events that wait for a missing one, as envelopes, in the order of stream and sequence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<Early>,
    /// All that was given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<(StreamHash, Sequence)>,
}

/// What order state keeps of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub sequence: Sequence,
    /// The highest recorded-at of the stream so far; kept for `global` projections only, else zero.
    #[serde(default, skip_serializing_if = "is_epoch")]
    pub recorded_at: Timestamp,
}

fn is_epoch(timestamp: &Timestamp) -> bool {
    *timestamp == Timestamp::EPOCH
}

/// An event that came before one that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    /// The place of the record that brought it.
    pub at: Place,
    /// The partition key of that record: early events go to the child whose range holds it.
    pub partition_key: String,
    /// When it was first held, for showing how long a gap has lasted.
    pub since: Timestamp,
    /// Its envelope.
    pub event: String,
}
