//! Projections: a projector at a version, with an ordering, writing documents to a sink.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::name;

name!(
    /// The name of a projection in the configuration.
    ProjectionName
);

/// A projection's version. Another version is another read model, built beside the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectionVersion(pub u32);

/// `orders` v3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectionId {
    pub name: ProjectionName,
    pub version: ProjectionVersion,
}

impl ProjectionId {
    pub fn new(name: &str, version: u32) -> Self {
        Self { name: ProjectionName::new(name), version: ProjectionVersion(version) }
    }

    /// `orders@3`, the form that names rows in stores.
    pub fn row_name(&self) -> String {
        format!("{}@{}", self.name, self.version.0)
    }
}

impl fmt::Display for ProjectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version.0)
    }
}

/// What a document may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// On the events of one stream, in their order.
    PerStream,
    /// On the events of many streams, whatever their mutual order.
    Commutative,
    /// On the events of many streams, in the order of when they were recorded.
    Global,
}

/// What becomes of an event that a document cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The projection stops in that shard, before the event.
    #[default]
    Stop,
    /// It and what follows it on that document are set aside in order, until they are redriven or discarded.
    Park,
    /// It is recorded as discarded, and the document goes on without it.
    Discard,
}

/// A hash of a definition in normal form: all code and configuration that decide a projection's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);
