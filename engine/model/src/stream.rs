//! Streams: the events of one aggregate, and the only order that is ever trusted inside one.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::value::Text;

/// The id of a stream, which is the id of its aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(Text);

impl StreamId {
    pub fn new(id: impl Into<Text>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, shared.
    pub fn text(&self) -> &Text {
        &self.0
    }

    pub fn hash(&self) -> StreamHash {
        StreamHash::of(&self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 bits of a stream id: what order state remembers of a stream. Two words, so that a map of millions stays dense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamHash([u64; 2]);

impl StreamHash {
    pub fn of(id: &str) -> Self {
        let hash = xxh3_128(id.as_bytes());
        Self([(hash >> 64) as u64, hash as u64])
    }

    pub fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    pub fn words(self) -> [u64; 2] {
        self.0
    }
}

impl fmt::Debug for StreamHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

/// The place of an event in its stream, without gaps. Never a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
