//! A document store that forgets.

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, ReadModel, Result,
    ports::{DocumentStore, DocumentWrite, StoredDocument, Written},
};

/// Takes every write and holds nothing: what is left of the line's time when no store takes any.
#[derive(Debug, Default)]
pub struct NullDocuments;

#[async_trait]
impl DocumentStore for NullDocuments {
    async fn open(&self, _: &ReadModel) -> Result<String> {
        Ok("null".to_owned())
    }

    async fn read(&self, _: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        Ok(vec![None; keys.len()])
    }

    async fn write(&self, _: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        Ok(writes.iter().map(|_| Written::Done).collect())
    }

    async fn list(
        &self,
        _: &ReadModel,
        _: Option<&DocumentKey>,
        _: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &ReadModel) -> Result<()> {
        Ok(())
    }
}
