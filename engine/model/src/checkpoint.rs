//! Checkpoints, and what is registered about a projection beside them: the bodies of the checkpoint store's rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    cut::CutId,
    document::DocumentKey,
    event::EventType,
    guard::Epoch,
    position::{Place, Position},
    projection::{Fingerprint, Ordering},
    shard::{ShardId, SourceName},
    stream::{Sequence, StreamId},
    time::Timestamp,
};

/// Raised by a rewind; a checkpoint of a lower generation than its projection's counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// Of one projection in one shard: everything up to the cut's place is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub generation: Generation,
    /// The order stage's state that this checkpoint stands on; its place is the checkpoint. None: the shard's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutId>,
    /// The first record of this shard that brought an event which waits for a missing one at that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_from: Option<Position>,
    /// The shard is sealed and all of it is settled.
    #[serde(default)]
    pub ended: bool,
    /// Recorded-at of the last event settled; lag is counted from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_until: Option<Timestamp>,
    /// Why this projection has stopped in this shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    pub written_at: Timestamp,
}

impl Checkpoint {
    /// The place up to which everything is settled.
    pub fn place(&self) -> Place {
        self.cut.as_ref().map_or(Place::BEGINNING, |cut| cut.place.clone())
    }
}

/// Poison that stopped a projection in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub place: Place,
    /// The event that could not be taken; none where the shard itself cannot be read on, as the reason says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<RefusedEvent>,
    pub reason: String,
    pub at: Timestamp,
}

/// An event that a projection could not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    pub stream: StreamId,
    pub sequence: Sequence,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// None where it was refused before it was known which documents it touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentKey>,
}

/// `stream=o-4 sequence=1 type=Sold document=tea`, the document as far as it is known.
impl fmt::Display for RefusedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream={} sequence={} type={}", self.stream, self.sequence, self.event_type)?;
        if let Some(document) = &self.document {
            write!(f, " document={document}")?;
        }
        Ok(())
    }
}

/// One line: the event and the reason.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(event) = &self.event {
            write!(f, "{event}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// What is registered of a projection, and what its operators have decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// What it reads.
    pub source: SourceName,
    pub ordering: Ordering,
    /// The definition that its documents are made by, in normal form, and its hash.
    pub definition: String,
    pub fingerprint: Fingerprint,
    /// The identity of the document store that its checkpoints speak of.
    pub store: String,
    pub generation: Generation,
    pub epoch: Epoch,
    #[serde(default)]
    pub paused: bool,
    /// Where this generation starts, by shard: a cut; a shard that is not named starts at its beginning.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<ShardId, CutId>,
    /// Of these it reads nothing again: it goes on behind their ends, which are the cuts that `starts` names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ended: BTreeSet<ShardId>,
    /// These were gone when it was registered: there was never anything to read in them for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<ShardId>,
    pub registered_at: Timestamp,
}
