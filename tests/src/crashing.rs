//! Stores that crash the worker: at one of their calls they never answer, before or after having done it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    DocumentKey, Error, ReadModel, Result,
    ports::{
        CheckpointStore, DocumentStore, DocumentWrite, Put, Revision, Row, RowKey, StoredDocument, Table,
        Written,
    },
};
use foldstream_runtime::assembly::ProjectionSpec;
use tokio::sync::Notify;

/// Counts calls that change something, over all stores that share it, and crashes at one of them.
pub struct Crash {
    left: AtomicUsize,
    after: bool,
    /// Instead of crashing, calls fail now and then, before they are done or after.
    flaky: bool,
    crashed: AtomicBool,
    happened: Notify,
}

impl Crash {
    /// Crashes at the call after `calls` others, before doing it or after.
    pub fn new(calls: usize, after: bool) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(calls),
            after,
            flaky: false,
            crashed: AtomicBool::new(false),
            happened: Notify::new(),
        })
    }

    /// Never crashes: every fifth call is lost, and of every seventh the answer.
    pub fn flaky() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(0),
            after: false,
            flaky: true,
            crashed: AtomicBool::new(false),
            happened: Notify::new(),
        })
    }

    /// Returns when the crash has come.
    pub async fn happened(&self) {
        self.happened.notified().await;
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if self.flaky {
            let number = self.left.fetch_add(1, Ordering::SeqCst);
            if number % 5 == 1 {
                return Err(Error::transient("the request was lost"));
            }
            let answer = call.await?;
            return if number % 7 == 3 { Err(Error::transient("the answer was lost")) } else { Ok(answer) };
        }
        if self.crashed.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let crashes =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if !crashes || self.crashed.swap(true, Ordering::SeqCst) {
            return call.await;
        }
        if self.after {
            call.await?;
        }
        self.happened.notify_one();
        std::future::pending().await
    }
}

pub struct CrashingDocuments {
    pub inner: Arc<dyn DocumentStore>,
    pub crash: Arc<Crash>,
}

#[async_trait]
impl DocumentStore for CrashingDocuments {
    async fn identity(&self) -> Result<String> {
        self.inner.identity().await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        self.inner.read(model, keys).await
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        self.crash.call(self.inner.write(model, writes)).await
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        self.inner.list(model, after, limit).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.inner.remove(model).await
    }
}

/// Documents whose writes wait until a gate is opened.
struct GatedDocuments {
    inner: Arc<dyn DocumentStore>,
    gate: tokio::sync::watch::Receiver<bool>,
}

/// The projection with documents whose writes wait until true is sent.
pub fn gated(mut spec: ProjectionSpec) -> (tokio::sync::watch::Sender<bool>, ProjectionSpec) {
    let (sender, gate) = tokio::sync::watch::channel(false);
    spec.documents = Arc::new(GatedDocuments { inner: spec.documents, gate });
    (sender, spec)
}

#[async_trait]
impl DocumentStore for GatedDocuments {
    async fn identity(&self) -> Result<String> {
        self.inner.identity().await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        self.inner.read(model, keys).await
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        // A gate that is gone stays open.
        let _ = self.gate.clone().wait_for(|open| *open).await;
        self.inner.write(model, writes).await
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        self.inner.list(model, after, limit).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.inner.remove(model).await
    }
}

pub struct CrashingCheckpoints {
    pub inner: Arc<dyn CheckpointStore>,
    pub crash: Arc<Crash>,
}

#[async_trait]
impl CheckpointStore for CrashingCheckpoints {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        self.inner.get(key).await
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        self.inner.list(table, partition, after, limit).await
    }

    async fn put(&self, key: &RowKey, expected: Option<Revision>, body: Bytes) -> Result<Put> {
        if key.table == Table::Reports {
            return self.inner.put(key, expected, body).await;
        }
        self.crash.call(self.inner.put(key, expected, body)).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        if key.table == Table::Reports {
            return self.inner.delete(key).await;
        }
        self.crash.call(self.inner.delete(key)).await
    }
}
