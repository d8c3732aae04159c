//! Stores and sources that live in memory, for benches.

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
        Batch, CheckpointStore, From, Put, ReadLimit, Revision, Row, RowKey, ShardReader, Source,
        SourceDescription, Table,
    },
};
use tokio::sync::Notify;

/// Rows in a map.
#[derive(Default)]
pub struct MemoryCheckpoints {
    rows: Mutex<BTreeMap<RowKey, (Revision, Bytes)>>,
    next: AtomicU64,
}

impl MemoryCheckpoints {
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

    async fn put(&self, key: &RowKey, expected: Option<Revision>, body: Bytes) -> Result<Put> {
        let mut rows = self.rows();
        let stored = rows.get(key).map(|(revision, _)| *revision);
        if stored != expected {
            let found = rows.get(key);
            let row = found.map(|(revision, body)| Row {
                key: key.clone(),
                revision: *revision,
                body: body.clone(),
            });
            return Ok(Put::Conflict(row));
        }
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
    records: Mutex<Vec<Record>>,
    added: Notify,
}

impl MemorySource {
    pub fn new(records: Vec<Record>) -> Arc<Self> {
        Arc::new(Self { records: Mutex::new(records), added: Notify::new() })
    }

    /// Adds a record at the next position.
    pub fn add(&self, mut record: Record) {
        let mut records = self.records();
        record.position = Position::new(records.len() as u128 + 1);
        records.push(record);
        drop(records);
        self.added.notify_waiters();
    }

    /// Frees the data of all records; their places stay.
    pub fn forget_read(&self) {
        for record in self.records().iter_mut() {
            record.data = Bytes::new();
            record.partition_key = "".into();
        }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
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
        Ok(SourceDescription { incarnation: Incarnation::new("memory") })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        Ok(vec![Shard { id: ShardId::new("only"), parents: Vec::new(), range: None }])
    }

    async fn open(&self, _: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let next = match from {
            From::TrimHorizon | From::AtTimestamp(_) => 0,
            From::After(position) => position.as_u64().map_or(0, |position| position as usize),
            From::Latest => self.0.records().len(),
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
        let records = self.source.records();
        let end = records.len().min(self.next + limit.records);
        let taken = records[self.next..end].to_vec();
        self.next = end;
        Batch {
            tip: end == records.len(),
            behind: Some((records.len() - end) as u64),
            records: taken,
            ..Batch::default()
        }
    }
}
