//! Where journals, cuts, checkpoints and what is registered beside them are kept.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// No row's body is larger: DynamoDB allows an item 400 KB with its names, and that is the lowest bound of the stores. What
/// is larger is cut into several rows.
pub const MAX_ROW_BYTES: usize = 384 * 1024;

/// Small rows, each changed only by compare-and-set. What a row means is the caller's: the runtime's journals, cuts and
/// checkpoints are such rows, their bodies JSON or pieces of one.
///
/// The worker writes a journal row for each fetched batch, a cut and a checkpoint about once a second for each
/// projection and shard; commands write controls and audits. Reads are strongly consistent.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>>;

    /// The rows of a table's partition with a sort key behind `after`, sorted by its bytes, at most `limit`.
    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>>;

    /// Puts a row iff the stored revision is `expected`; `None` iff there is no row. Where another row is named `beside`
    /// it, also iff that one has the revision named; both are judged at one moment. Acknowledged means synced to disk.
    /// `Transient`: unknown whether it was put; get the row and compare bodies.
    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put>;

    /// Removes a row, whatever its revision; a row that is not there is no error.
    async fn delete(&self, key: &RowKey) -> Result<()>;
}

/// What kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// A source's incarnation and the numbers of its shards. Partition: source.
    Sources,
    /// A shard's journal. Partition: source; sort: shard. Its entries: partition: source and shard; sort: the position that
    /// they take effect after, name and piece.
    Journals,
    /// Order state. Partition: source and shard; sort: chain and place. Early events that were spilled: partition: source,
    /// shard and `early`; sort: stream, sequence, the position
    /// where it came, and piece.
    Cuts,
    /// How far a projection is. Partition: projection; sort: source and shard. How far a relay is. Partition: `relay/` and its
    /// name; sort: `stream`, or `shard/` and a shard.
    Checkpoints,
    /// What is registered of a projection. Partition: `projections`; sort: projection.
    Controls,
    /// Events that came too late for a `global` projection. Partition: projection; sort: document, then order key.
    Late,
    /// Events that were discarded. Partition: lot; sort: document, then order.
    Discarded,
    /// Streams that a projection has parked. Partition: their lot; sort: stream, then where that began.
    ParkedStreams,
    /// Records that could not be decoded. Partition: source; sort: shard's number and position. Their bytes: partition: source
    /// and `data`; sort: the same, and piece.
    RecordsAside,
    /// Who did what, when, why. Partition: `audit`; sort: time.
    Audit,
    /// What a running worker last said of itself. Partition: `workers`; sort: worker. What it tries: partition: `trials`;
    /// sort: worker.
    Reports,
}

impl Table {
    pub const ALL: [Self; 11] = [
        Self::Sources,
        Self::Journals,
        Self::Cuts,
        Self::Checkpoints,
        Self::Controls,
        Self::Late,
        Self::Discarded,
        Self::ParkedStreams,
        Self::RecordsAside,
        Self::Audit,
        Self::Reports,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Journals => "journals",
            Self::Cuts => "cuts",
            Self::Checkpoints => "checkpoints",
            Self::Controls => "controls",
            Self::Late => "late",
            Self::Discarded => "discarded",
            Self::ParkedStreams => "parked_streams",
            Self::RecordsAside => "records_aside",
            Self::Audit => "audit",
            Self::Reports => "reports",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    pub table: Table,
    pub partition: String,
    pub sort: String,
}

impl RowKey {
    pub fn new(table: Table, partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { table, partition: partition.into(), sort: sort.into() }
    }
}

/// `table/partition/sort`, for messages.
impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.table.as_str(), self.partition, self.sort)
    }
}

/// Changes with every put and never comes back for the same key, not even after a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: RowKey,
    pub revision: Revision,
    pub body: Bytes,
}

/// How a put ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    Done(Revision),
    /// Another revision is stored, or none; or it is as expected, and the row beside it is not.
    Conflict(Option<Row>),
}
