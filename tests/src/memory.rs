//! Stores and sources that live in memory, for benches and for the simulation. They are full peers of those on disk.

pub mod documents;
pub mod events;
pub mod leases;
pub mod log;
pub mod parking;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    Incarnation, Position, Record, Result, Shard, ShardId,
    ports::{
        Batch, CheckpointStore, From, MAX_ROW_BYTES, Put, ReadLimit, Revision, Row, RowKey, ShardReader,
        Source, SourceDescription, Table,
    },
};
use tokio::sync::Notify;

/// Rows in a map.
#[derive(Default)]
pub struct MemoryCheckpoints {
    rows: Mutex<BTreeMap<RowKey, (Revision, Bytes)>>,
    next: AtomicU64,
    drops_cuts: bool,
}

impl MemoryCheckpoints {
    /// Of cuts only the keys are kept: for benches that never read them back, and run for long.
    pub fn without_cuts() -> Self {
        Self { drops_cuts: true, ..Self::default() }
    }

    /// The body of a row, at once.
    pub fn body(&self, key: &RowKey) -> Option<Bytes> {
        self.rows().get(key).map(|(_, body)| body.clone())
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<RowKey, (Revision, Bytes)>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckpointStore for MemoryCheckpoints {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        let rows = self.rows();
        let found = rows.get(key);
        Ok(found.map(|(revision, body)| Row { key: key.clone(), revision: *revision, body: body.clone() }))
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let rows = self.rows();
        let of_partition = rows.iter().filter(|(key, _)| key.table == table && key.partition == partition);
        let behind = of_partition.filter(|(key, _)| after.is_none_or(|after| key.sort.as_str() > after));
        let row = |(key, (revision, body)): (&RowKey, &(Revision, Bytes))| Row {
            key: key.clone(),
            revision: *revision,
            body: body.clone(),
        };
        Ok(behind.take(limit).map(row).collect())
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        assert!(body.len() <= MAX_ROW_BYTES, "a row is too large: key={key} bytes={}", body.len());
        let mut rows = self.rows();
        let revision_of = |key| rows.get(key).map(|(revision, _)| *revision);
        if revision_of(key) != expected || beside.is_some_and(|(key, of)| revision_of(key) != Some(*of)) {
            let found = rows.get(key);
            let row = found.map(|(revision, body)| Row {
                key: key.clone(),
                revision: *revision,
                body: body.clone(),
            });
            return Ok(Put::Conflict(row));
        }
        let drops = self.drops_cuts && key.table == Table::Cuts;
        let body = if drops { Bytes::new() } else { body };
        let revision = Revision(self.next.fetch_add(1, Ordering::Relaxed));
        rows.insert(key.clone(), (revision, body));
        Ok(Put::Done(revision))
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        self.rows().remove(key);
        Ok(())
    }
}

/// A source of one shard whose records are in memory; more can be added while it is read.
#[derive(Default)]
pub struct MemorySource {
    records: Mutex<Kept>,
    added: Notify,
}

#[derive(Default)]
struct Kept {
    /// How many records were forgotten.
    forgotten: usize,
    records: Vec<Record>,
    /// How many of the last ones are not there yet for readers.
    hidden: usize,
}

impl MemorySource {
    pub fn new(records: Vec<Record>) -> Arc<Self> {
        let kept = Kept { forgotten: 0, records, hidden: 0 };
        Arc::new(Self { records: Mutex::new(kept), added: Notify::new() })
    }

    /// These records are made already, and each is there for readers once it is shown: showing costs nothing.
    pub fn hidden(records: Vec<Record>) -> Arc<Self> {
        let kept = Kept { forgotten: 0, hidden: records.len(), records };
        Arc::new(Self { records: Mutex::new(kept), added: Notify::new() })
    }

    /// Shows the first hidden record.
    pub fn show(&self) {
        self.kept().hidden -= 1;
        self.added.notify_waiters();
    }

    /// Adds a record at the next position.
    pub fn add(&self, mut record: Record) {
        let mut kept = self.kept();
        record.position = Position::new((kept.forgotten + kept.records.len()) as u128 + 1);
        kept.records.push(record);
        drop(kept);
        self.added.notify_waiters();
    }

    /// Forgets all records that were added so far; they must have been read.
    pub fn forget_read(&self) {
        let mut kept = self.kept();
        kept.forgotten += kept.records.len();
        kept.records.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryReader {
    source: Arc<MemorySource>,
    next: usize,
}

/// Sources are opened through a handle that readers can share.
pub struct MemoryHandle(pub Arc<MemorySource>);

#[async_trait]
impl Source for MemoryHandle {
    async fn describe(&self) -> Result<SourceDescription> {
        Ok(SourceDescription { incarnation: Incarnation::new("memory"), retention: None })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        Ok(vec![Shard { id: ShardId::new("only"), parents: Vec::new(), range: None }])
    }

    async fn open(&self, _: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let next = match from {
            From::TrimHorizon | From::AtTimestamp(_) => 0,
            From::After(position) => position.as_u64().map_or(0, |position| position as usize),
            From::Latest => self.0.kept().forgotten + self.0.kept().records.len(),
        };
        Ok(Box::new(MemoryReader { source: self.0.clone(), next }))
    }

    fn hash_key(&self, _: &str) -> u128 {
        0
    }
}

#[async_trait]
impl ShardReader for MemoryReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let deadline = tokio::time::Instant::now() + limit.wait;
        let source = self.source.clone();
        loop {
            let added = source.added.notified();
            tokio::pin!(added);
            added.as_mut().enable();
            let batch = self.batch(limit);
            if !batch.records.is_empty() || tokio::time::timeout_at(deadline, added).await.is_err() {
                return Ok(batch);
            }
        }
    }

    fn position(&self) -> Position {
        Position::new(self.next as u128)
    }
}

impl MemoryReader {
    fn batch(&mut self, limit: ReadLimit) -> Batch {
        let kept = self.source.kept();
        let all = kept.forgotten + kept.records.len() - kept.hidden;
        let end = all.min(self.next + limit.records);
        let records = kept.records[self.next - kept.forgotten..end - kept.forgotten].to_vec();
        self.next = end;
        Batch { tip: end == all, behind: Some((all - end) as u64), records, ..Batch::default() }
    }
}
