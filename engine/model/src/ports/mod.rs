//! The ports: what the line needs of the world. Each says who calls it, when, how often, and what an error means.

pub mod source;
pub mod event_store;
pub mod projector;
pub mod document_store;
pub mod checkpoint_store;
pub mod lease_store;
pub mod parking_lot;

pub use checkpoint_store::{CheckpointStore, MAX_ROW_BYTES, Put, Revision, Row, RowKey, Table};
pub use document_store::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written};
pub use event_store::{Append, Appended, EventStore, ExpectedSequence, NewEvent, Offset};
pub use lease_store::{LeaseStore, PutLease};
pub use parking_lot::{Parked, ParkedPage, Parking, ParkingLot};
pub use projector::{Change, Decoder, Projector, Reads, Reducer, StateCarried, Touch, Upcaster};
pub use source::{Batch, From, ReadLimit, ShardReader, Source, SourceDescription};
