//! Where the workers of a fleet claim their work.

use async_trait::async_trait;

use crate::{
    error::Result,
    lease::{ForeignLease, Lease, LeaseKey},
    shard::{Shard, SourceName},
};

/// Leases by source and key, each changed only by compare-and-set.
///
/// Every worker lists those of a source a few times a second and writes each that it holds a few times in the time that
/// a lease lasts. Reads are strongly consistent. `Transient` and `Throttled`: tried again; of a write it is unknown
/// whether it was done: get the lease and compare.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// All leases of a source, in any order. A list may take in changes that are made while it is read.
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>>;

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>>;

    /// Puts a lease iff what is stored under its key has the holder, owner and counter of `expected`; `None` iff nothing
    /// is stored. One without a checkpoint may leave the stored one as it is.
    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease>;

    /// Removes a lease iff what is stored has the holder, owner and counter of `expected`.
    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease>;

    /// What another application has left, or is doing, in a table that others use as well; asked before a source is read
    /// for the first time. `Invalid`: it cannot be told.
    async fn foreign(&self, _source: &SourceName) -> Result<Vec<ForeignLease>> {
        Ok(Vec::new())
    }

    /// Removes a lease that nobody here needs any more, on the same condition. Where others use the table as well it is left
    /// to them instead: at its checkpoint, or, if everything in its shard is settled to the end, so that they go on with its
    /// `children`; if not, none are named.
    async fn hand_back(
        &self,
        source: &SourceName,
        expected: &Lease,
        _children: &[Shard],
    ) -> Result<PutLease> {
        self.delete(source, expected).await
    }
}

/// How a change of a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutLease {
    Done,
    /// Another lease is stored, or none.
    Conflict(Option<Lease>),
}
