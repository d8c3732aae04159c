//! Sources, their shards, and the raw records in them.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{event::name, position::Position, time::Timestamp};

name!(
    /// The name of a source in the configuration.
    SourceName
);
name!(
    /// One ordered part of a source, `shardId-000000000000`; unique within an incarnation of the source.
    ShardId
);
name!(
    /// What tells a stream from another one that was made later under the same name: ARN and creation time, topic id.
    Incarnation
);

/// A dense number that a shard gets when it is discovered; what guards know a shard by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardNumber(pub u32);

impl fmt::Display for ShardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The hash keys, of 128 bits, whose records a shard takes; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKeyRange {
    #[serde(with = "decimal")]
    pub first: u128,
    #[serde(with = "decimal")]
    pub last: u128,
}

impl HashKeyRange {
    pub const ALL: Self = Self { first: 0, last: u128::MAX };

    pub fn contains(&self, hash_key: u128) -> bool {
        (self.first..=self.last).contains(&hash_key)
    }
}

mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A shard as its source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    /// The shards that were split or merged into this one and that the source still knows: none, one or two.
    pub parents: Vec<ShardId>,
    /// Which hash keys it takes, where the source knows.
    pub range: Option<HashKeyRange>,
}

/// A raw record of a shard.
#[derive(Debug, Clone)]
pub struct Record {
    pub position: Position,
    pub partition_key: Arc<str>,
    /// When the source took it.
    pub arrived_at: Timestamp,
    pub data: Bytes,
}
