//! Documents in a map.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, ReadModel, Result,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};

type Documents = BTreeMap<DocumentKey, StoredDocument>;

/// Documents by read model and key.
#[derive(Default)]
pub struct MemoryDocuments {
    models: Mutex<BTreeMap<ReadModel, Documents>>,
}

impl MemoryDocuments {
    fn models(&self) -> MutexGuard<'_, BTreeMap<ReadModel, Documents>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored under a key, at once.
    pub fn stored(&self, model: &ReadModel, key: &DocumentKey) -> Option<StoredDocument> {
        self.models().get(model)?.get(key).cloned()
    }

    /// The live documents of a read model as canonical JSON, at once.
    pub fn shown(&self, model: &ReadModel) -> BTreeMap<String, String> {
        let models = self.models();
        let all = models.get(model).into_iter().flatten();
        all.filter_map(|(key, stored)| Some((key.to_string(), stored.document.as_ref()?.to_canonical_json())))
            .collect()
    }
}

fn write(documents: &mut Documents, write: DocumentWrite) -> Written {
    let stored = documents.get(&write.key);
    let holds = match &write.condition {
        Condition::Absent => stored.is_none(),
        Condition::GuardIs(guard) => stored.is_some_and(|stored| stored.guard == *guard),
    };
    if !holds {
        return Written::Conflict(stored.cloned().map(Box::new));
    }
    documents.insert(write.key, write.put);
    Written::Done
}

#[async_trait]
impl DocumentStore for MemoryDocuments {
    async fn open(&self, _: &ReadModel) -> Result<String> {
        Ok("memory".to_owned())
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        Ok(keys.iter().map(|key| self.stored(model, key)).collect())
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        let mut models = self.models();
        let documents = models.entry(model.clone()).or_default();
        Ok(writes.into_iter().map(|one| write(documents, one)).collect())
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        let models = self.models();
        let Some(documents) = models.get(model) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = documents.range::<DocumentKey, _>((from, Bound::Unbounded));
        let live = behind.filter(|(_, stored)| stored.document.is_some());
        Ok(live.take(limit).map(|(key, stored)| (key.clone(), stored.clone())).collect())
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.models().remove(model);
        Ok(())
    }
}
