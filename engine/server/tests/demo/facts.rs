//! What a running demo has stored, read beside it.

use std::{
    cell::OnceCell,
    path::PathBuf,
    process::Child,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use foldstream::clock::{SystemClock, UniqueIds};
use foldstream_local::{LocalStore, OpenOptions};
use foldstream_model::{
    ProjectionId, StreamId, Value,
    ports::{CheckpointStore, DocumentStore, EventStore, Table},
};
use tokio::runtime::Runtime;

use super::{Bed, MODELS};

const PATIENCE: Duration = Duration::from_secs(120);
const SHARDS: usize = 4;
/// More than there are rows or documents.
const ALL: usize = 100_000;

pub struct Facts {
    data: PathBuf,
    store: OnceCell<LocalStore>,
    runtime: Runtime,
}

impl Facts {
    pub fn of(bed: &Bed, data: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { data: bed.data(data), store: OnceCell::new(), runtime }
    }

    /// None as long as there is none.
    pub fn store(&self) -> Option<&LocalStore> {
        if self.store.get().is_none() {
            let options = OpenOptions { create: false, read_only: true };
            let opened = LocalStore::open(&self.data, Arc::new(SystemClock), Arc::new(UniqueIds), options);
            let _ = self.store.set(opened.ok()?);
        }
        self.store.get()
    }

    /// How many commits are in the event store.
    pub fn taken(&self) -> u64 {
        let Some(store) = self.store() else { return 0 };
        let history = [StreamId::new("history")];
        let last = self.runtime.block_on(store.events().last_sequences(&history)).unwrap();
        last[0].map_or(0, |last| last.0)
    }

    /// How many events were relayed into the stream.
    pub fn relayed(&self) -> u64 {
        let Some(store) = self.store() else { return 0 };
        self.runtime.block_on(async {
            match store.existing_log("git").await.unwrap() {
                Some(log) => log.describe().await.unwrap().relayed,
                None => 0,
            }
        })
    }

    /// How many commits are in the read model `activity`.
    pub fn projected(&self) -> u64 {
        let Some(store) = self.store() else { return 0 };
        let days = store.documents();
        let days = self.runtime.block_on(days.list(&ProjectionId::new("activity", 1), None, ALL)).unwrap();
        let commits =
            |fields: &foldstream_model::Map| fields.get("commits").and_then(Value::as_number)?.to_u64();
        days.iter().filter_map(|(_, day)| commits(&day.document.as_ref()?.fields)).sum()
    }

    /// Grows with every cut that is written.
    pub fn cuts(&self) -> u64 {
        self.newest(Table::Cuts, (0..SHARDS).map(|shard| format!("history/shardId-{shard:012}")))
    }

    /// Grows with every checkpoint that is written.
    pub fn checkpoints(&self) -> u64 {
        self.newest(Table::Checkpoints, MODELS.into_iter().map(|model| format!("{model}@1")))
    }

    fn newest(&self, table: Table, partitions: impl Iterator<Item = String>) -> u64 {
        let Some(store) = self.store() else { return 0 };
        let rows = store.checkpoints();
        let rows = partitions
            .flat_map(|partition| self.runtime.block_on(rows.list(table, &partition, None, ALL)).unwrap());
        rows.map(|row| row.revision.0).max().unwrap_or(0)
    }

    /// Waits for a fact, or for the end of the process.
    pub fn wait_until(&self, child: &mut Child, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "nothing happens any more");
            sleep(Duration::from_millis(1));
        }
    }
}
