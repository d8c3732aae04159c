//! The words of Foldstream as types, and the ports behind which stores, sources and projectors stand.
//!
//! Nothing here does I/O, knows a vendor or runs a task. The runtime moves data between these ports; connectors and
//! projectors implement them; [`conformance`] holds the suite that every implementation of a port passes.

pub mod error;
pub mod time;
pub mod value;
pub mod stream;
pub mod event;
pub mod position;
pub mod shard;
pub mod journal;
pub mod cut;
pub mod document;
pub mod guard;
pub mod projection;
pub mod parking;
pub mod checkpoint;
pub mod lease;
pub mod ports;
mod planted;
#[cfg(feature = "conformance")]
pub mod conformance;

pub use checkpoint::{Checkpoint, Control, Generation, RefusedEvent, Stop};
pub use cut::{Cut, CutId, Early, EarlyEvent, GivenUp, Head, SpilledEvent};
pub use document::{Document, DocumentKey, ReadModel};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventId, EventType, Payload, PayloadReads, SchemaVersion};
pub use guard::{Epoch, Fed, Guard, Mark, MarkNumber, OrderKey, Reach, ShardPlaces};
pub use journal::{BasePolicy, Entry, Journal, JournalEntry, LeftOut, ReEntry, ReadAnew};
pub use lease::{ForeignLease, Lease, LeaseKey, LeftAt, WorkerId};
pub use parking::{Lot, LotOf, ParkedEvent, ParkedOrder, ParkedStream};
pub use position::{Place, Position};
pub use projection::{Fingerprint, OnFailure, Ordering, ProjectionId, ProjectionName, ProjectionVersion};
pub use shard::{HashKeyRange, Incarnation, Record, Shard, ShardId, ShardNumber, SourceName};
pub use stream::{Sequence, StreamHash, StreamId};
pub use time::{Clock, Ids, Timestamp};
pub use value::{Decimal, FieldMask, Map, Path, Text, Value};
