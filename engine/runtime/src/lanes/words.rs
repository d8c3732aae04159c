//! What goes into a lane and what comes out of it.

use std::sync::Arc;

use foldstream_model::{
    DocumentKey, Epoch, Error, MarkNumber, OnFailure, OrderKey, Ordering, ShardPlaces, Timestamp,
    ports::{StateCarried, Touch},
};

use crate::{guard::Origin, progress::BatchId};

/// One reading of a shard: a shared read, a private one, or either of them after a restart. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId(pub u64);

/// What a lane is made of.
#[derive(Debug, Clone, Copy)]
pub struct LaneOptions {
    pub ordering: Ordering,
    /// Of the projection's guards.
    pub epoch: Epoch,
    pub mode: LaneMode,
    /// How much memory documents at rest may take; a document that is not kept is read again before its next write.
    pub cache_bytes: usize,
}

/// What a lane is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneMode {
    /// It applies what is released, and does this about what a document cannot take.
    Live(OnFailure),
    /// It applies what waits in the lot, to documents that carry a mark and to no others.
    Redrive,
}

/// One event's effect on one document, on its way.
pub struct Delivery {
    pub line: LineId,
    pub batch: BatchId,
    pub origin: Origin,
    pub touch: Touch,
    /// The event itself, where it may have to be set aside: unless the projection stops at what it cannot take.
    pub carried: Option<Arc<StateCarried>>,
    /// What it weighs in the bounds on memory.
    pub bytes: usize,
}

/// How far the merge of a `global` projection has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// No event recorded at or before this is expected any more.
    pub watermark: Timestamp,
    /// Up to which place each shard was read, all of it handed over.
    pub read: Arc<ShardPlaces>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { watermark: Timestamp::MIN, read: Arc::default() }
    }
}

/// An event that a document cannot take.
#[derive(Debug, Clone)]
pub struct LanePoison {
    pub line: LineId,
    pub key: DocumentKey,
    pub origin: Origin,
    /// `Poison`, or `Fenced` and `Internal` where the document itself says that this writer must stop.
    pub error: Error,
}

/// An event that is to be set aside, and why, if it is the one that could not be taken.
#[derive(Debug, Clone)]
pub struct SetAside {
    pub origin: Origin,
    pub carried: Arc<StateCarried>,
    pub error: Option<Error>,
}

/// Events of a document that are to be parked under its mark. The document rests until
/// [`super::Lane::parked`] names it.
#[derive(Debug, Clone)]
pub struct ParkRequest {
    pub key: DocumentKey,
    pub mark: MarkNumber,
    pub events: Vec<SetAside>,
}

/// How a [`ParkRequest`] ended.
#[derive(Debug, Clone)]
pub enum ParkAnswer {
    /// So many of the events are in the lot: the first ones, and at least one.
    Parked(usize),
    /// The mark is closed: it is to be taken off the document, and the events are to be applied.
    Closed,
    /// The lot takes no more: the projection stops at the first of the events.
    Full(Error),
}

/// An event that its document was moved past, to be recorded as discarded. The document rests until [`super::Lane::discarded`] names it.
#[derive(Debug, Clone)]
pub struct Discard {
    pub key: DocumentKey,
    pub event: SetAside,
}

/// An event of a `global` projection that came too late: its document is beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateEvent {
    pub epoch: Epoch,
    pub key: DocumentKey,
    pub origin: Origin,
    /// The order key that the document stood at.
    pub behind: OrderKey,
}
