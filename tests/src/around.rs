//! A store with something around its calls: what it does is said once, whatever the port.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    DocumentKey, ReadModel, Result,
    ports::{
        CheckpointStore, DocumentStore, DocumentWrite, Put, Revision, Row, RowKey, StoredDocument, Table,
        Written,
    },
};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Anything else.
    Other,
    /// Documents are written, so many.
    Write(usize),
    /// A row of this table is put or deleted.
    Change(Table),
}

pub trait Aspect: Send + Sync + 'static {
    /// Makes the call, or does not.
    fn around<T: Send>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

pub struct Around<S: ?Sized, A> {
    pub inner: Arc<S>,
    pub aspect: A,
}

#[async_trait]
impl<S: DocumentStore + ?Sized, A: Aspect> DocumentStore for Around<S, A> {
    async fn open(&self, model: &ReadModel) -> Result<String> {
        self.aspect.around(Call::Other, self.inner.open(model)).await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        self.aspect.around(Call::Other, self.inner.read(model, keys)).await
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        self.aspect.around(Call::Write(writes.len()), self.inner.write(model, writes)).await
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        self.aspect.around(Call::Other, self.inner.list(model, after, limit)).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.aspect.around(Call::Other, self.inner.remove(model)).await
    }
}

#[async_trait]
impl<S: CheckpointStore + ?Sized, A: Aspect> CheckpointStore for Around<S, A> {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        self.aspect.around(Call::Other, self.inner.get(key)).await
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        self.aspect.around(Call::Other, self.inner.list(table, partition, after, limit)).await
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        self.aspect.around(Call::Change(key.table), self.inner.put(key, expected, body, beside)).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        self.aspect.around(Call::Change(key.table), self.inner.delete(key)).await
    }
}
