//! The embedded database: one SQLite file that holds an event store, sharded logs, documents, checkpoints
//! and leases.
//!
//! [`LocalStore`] opens the file; its parts stand behind the ports of `foldstream-model`, where an event table, a
//! stream service and a document database stand in production. Events flow in this order: appended to the
//! [`LocalEventStore`], moved by a [`Relay`] into a [`LocalLog`], read through its [`LocalSource`], folded into
//! [`LocalDocuments`] beside [`LocalCheckpoints`]; several processes share the work by [`LocalLeases`].
//!
//! Acknowledged means synced to disk. Several processes may open the file at once; anything that speaks SQLite can read
//! it: the views `events`, `records` and one `<projection>_v<version>` for each read model are made for people.

mod errors;
mod database;
mod store;
mod lock;
mod events;
mod relay;
mod log;
mod documents;
mod null;
mod checkpoints;
mod leases;
mod parking;
#[cfg(test)]
mod testing;

pub use checkpoints::LocalCheckpoints;
pub use documents::{LocalDocuments, MAX_DOCUMENT_BYTES};
pub use events::{LocalEventStore, QueuedAppend, StreamSummary};
pub use leases::LocalLeases;
pub use lock::{FleetLock, WorkerLock};
pub use log::{LocalLog, LocalSource, LogDescription, LogOptions, NewRecord, ShardDescription};
pub use null::NullDocuments;
pub use parking::LocalParking;
pub use relay::Relay;
pub use store::{FILE_NAME, LocalStore, OpenOptions};
