//! What a worker is put together from.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use foldstream_model::{
    Clock, EventType, Fingerprint, Ids, OnFailure, Ordering, ProjectionId, Sequence, SourceName, Timestamp,
    ports::{
        CheckpointStore, Decoder, DocumentStore, EventStore, LeaseStore, ParkingLot, Projector, Reducer,
        Source, Upcaster,
    },
};

use crate::{order::Gaps, upcast::OnNewerSchema};

/// What all of a worker's parts share.
#[derive(Clone)]
pub struct Services {
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Where the workers of a fleet claim their work.
    pub leases: Arc<dyn LeaseStore>,
    pub parking: Arc<dyn ParkingLot>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
}

/// A source, and how its records become events in order.
#[derive(Clone)]
pub struct SourceSpec {
    pub name: SourceName,
    pub source: Arc<dyn Source>,
    pub decoder: Arc<dyn Decoder>,
    pub upcasters: Vec<Arc<dyn Upcaster>>,
    /// Where its streams can be read again: gaps are filled and folds refolded from it.
    pub events: Option<Arc<dyn EventStore>>,
    /// Events may be redacted there: one that differs from its record is no fork.
    pub redacts: bool,
    /// The sequence of a stream's first event.
    pub first: Sequence,
    pub gaps: Gaps,
    /// Where shards that exist at the first start are read from.
    pub start: Start,
    /// What becomes of events of a newer schema version than the upcasters of their type lead to.
    pub on_newer_schema: OnNewerSchema,
    /// The types that the source knows; none knows all. What is not known is counted, and said once.
    pub types: Option<BTreeSet<EventType>>,
}

/// Where a source that was never read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record; streams begin at their first sequence.
    TrimHorizon,
    /// Behind the newest record; a stream's first event seen is its base.
    Latest,
    /// At the first record that arrived at or after this instant; a stream's first event seen is its base.
    AtTimestamp(Timestamp),
    /// Behind what the application has settled that had the source's leases before; a stream's first event seen is its base.
    LeaseTable,
}

/// A projection, and where its documents go.
#[derive(Clone)]
pub struct ProjectionSpec {
    pub id: ProjectionId,
    pub source: SourceName,
    pub ordering: Ordering,
    pub projector: Arc<dyn Projector>,
    pub reducer: Option<NamedReducer>,
    /// The types that it knows besides those that it or its reducer handles: of any other the stream waits. None knows all.
    pub known_types: Option<BTreeSet<EventType>>,
    /// What becomes of an event that a document cannot take.
    pub on_failure: OnFailure,
    pub documents: Arc<dyn DocumentStore>,
    /// All that decides its bytes, in normal form, and its hash.
    pub definition: String,
    pub fingerprint: Fingerprint,
    /// `global` only: how late an event may come and still be put in its order.
    pub allowed_lateness: Duration,
}

/// A reducer by the name under which projections share it: one name, one fold.
#[derive(Clone)]
pub struct NamedReducer {
    pub name: Arc<str>,
    pub reducer: Arc<dyn Reducer>,
}
