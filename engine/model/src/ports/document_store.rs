//! Where documents are kept.

use async_trait::async_trait;

use crate::{
    document::{Document, DocumentKey, ReadModel},
    error::{Error, Result},
    guard::Guard,
};

/// Documents by read model and key, each beside its guard.
///
/// Lanes read what they have not cached and write what a flush has coalesced; commands get and list. Reads are strongly
/// consistent: they see every write that was acknowledged.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Makes ready for a read model, and says which store its documents are in: another text for one that was restored or
    /// replaced, so that its checkpoints are refused. Asked for at each start, before anything is written. `Invalid`: the
    /// store is not as it was configured.
    async fn open(&self, model: &ReadModel) -> Result<String>;

    /// The documents of these keys, in the order asked, tombstones included; none where nothing was ever written.
    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>>;

    /// Writes each document whose condition holds, independently of the others; one outcome a write, in order.
    /// Acknowledged means synced to disk. An error speaks of the whole call: `Transient` and `Throttled` leave unknown
    /// which of the writes were done.
    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>>;

    /// Live documents behind `after`, at most `limit`, in an order of the store's own that stays. Fewer than asked for, and
    /// none: there are no more.
    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>>;

    /// Removes a whole read model, tombstones included; `projections delete` and a development rebuild call it. It is opened
    /// again before anything more is written.
    async fn remove(&self, model: &ReadModel) -> Result<()>;
}

/// What a store holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    pub guard: Guard,
    /// None is a tombstone: the document was deleted, its guard is remembered.
    pub document: Option<Document>,
}

/// A write of one document. A call names each key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    pub key: DocumentKey,
    pub condition: Condition,
    pub put: StoredDocument,
}

/// What must be stored for a write to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing, not even a tombstone.
    Absent,
    /// Exactly this guard.
    GuardIs(Guard),
}

/// How one write ended.
#[derive(Debug, Clone)]
pub enum Written {
    Done,
    /// The condition does not hold; this is what is stored.
    Conflict(Option<Box<StoredDocument>>),
    /// The store will never take this document: too large, or not of the store's form.
    Rejected(Error),
}
