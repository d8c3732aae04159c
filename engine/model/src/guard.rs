//! Guards: what a document remembers of its sources, so that no event is applied twice, out of order or not at all.
//!
//! The words only; `runtime::guard` decides with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    position::Place,
    shard::ShardNumber,
    stream::{Sequence, StreamId},
    time::Timestamp,
};

/// Raised by a rebuild in place: a writer takes a document of a lower epoch as absent and is fenced by a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// What a document remembers of its sources. A write is taken iff the stored guard equals the one that the writer
/// started from; so every write changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub epoch: Epoch,
    pub fed: Fed,
    /// None as long as nothing of the document was ever parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Events that it was moved past as the document cannot take them, each until that is on record.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unrecorded: BTreeSet<(ShardNumber, Place)>,
}

/// Says that events of the document wait in the lot, and are not to be applied before that mark is closed there. Its
/// number grows with every mark of the document, so that none is taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Set(MarkNumber),
    /// Taken off again; the next one is another.
    Cleared(MarkNumber),
}

/// Tells the marks of one document apart; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MarkNumber(pub u32);

/// By what a document is fed. Places are boxed: guards are moved about with every write, and most have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fed {
    /// By nothing yet: a `per_stream` document that was made to carry a mark.
    Nothing,
    /// By one stream (`per_stream`), up to this sequence.
    Stream { stream: StreamId, sequence: Sequence },
    /// By many streams whatever their mutual order (`commutative`): up to a place in each shard.
    Shards { revision: u64, places: Box<ShardPlaces> },
    /// By many streams in the order of their keys (`global`): up to a key, by a merge that had read up to a place in
    /// each shard at the moment of the write.
    Ordered {
        revision: u64,
        key: Option<Box<OrderKey>>,
        read: Box<ShardPlaces>,
        /// While a mark stands: what is parked, behind the key. None before anything is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parked: Option<Box<Reach>>,
    },
}

/// Of the events that were read, those that are ordered up to the key: each of them is there, or on record as late.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reach {
    /// None: there is none yet.
    pub key: Option<OrderKey>,
    pub read: ShardPlaces,
}

/// Up to which place each shard's events are covered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardPlaces {
    /// Shards below this number are covered to their end, but for `except`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub closed_below: u32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<ShardNumber>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<ShardNumber, Place>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where an event stands in the order of a `global` projection: when it was recorded, raised to that of the stream's
/// previous event, then its stream and sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderKey {
    pub recorded_at: Timestamp,
    pub stream: StreamId,
    pub sequence: Sequence,
}

impl Guard {
    /// Of a document of which nothing is set aside.
    pub fn new(epoch: Epoch, fed: Fed) -> Self {
        Self { epoch, fed, mark: None, unrecorded: BTreeSet::new() }
    }

    /// The form in which stores keep and compare a guard.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("a guard cannot be written: {error}")))
    }

    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::internal(format!("a stored guard cannot be read: guard={text:?} ({error})"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_from_before_there_were_marks_is_read_and_written_as_it_was() {
        let text = r#"{"epoch":1,"fed":{"stream":{"stream":"s","sequence":2}}}"#;
        let guard = Guard::from_json(text).unwrap();
        assert!(guard.mark.is_none() && guard.unrecorded.is_empty());
        assert_eq!(guard.to_json().unwrap(), text);
    }
}
