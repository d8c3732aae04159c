//! The stores as operators and the oracle have them: nothing fails, and what is stored can be looked at at once.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_aws::dynamodb::DynamoRows;
use foldstream_model::{
    DocumentKey, ReadModel, Result,
    ports::{CheckpointStore, Put, Revision, Row, RowKey, StoredDocument, Table},
};

use super::{Cloud, items};
use crate::stores::{KnownDocuments, KnownRows};

impl KnownDocuments for Cloud {
    fn stored(&self, model: &ReadModel, key: &DocumentKey) -> Option<StoredDocument> {
        let key = (key.as_str().to_owned(), String::new());
        self.tables().item(&items::table_of(model), &key).map(items::document)
    }

    fn shown(&self, model: &ReadModel) -> BTreeMap<String, String> {
        let (tables, name) = (self.tables(), items::table_of(model));
        let items = tables.items(&name).map(|item| (items::document_key(item), items::document(item)));
        items
            .filter_map(|(key, stored)| Some((key.to_string(), stored.document?.to_canonical_json())))
            .collect()
    }
}

/// Read as they are in the table; written by the connector.
pub struct CloudRows {
    pub cloud: Arc<Cloud>,
    pub rows: DynamoRows,
}

impl KnownRows for CloudRows {
    fn body(&self, key: &RowKey) -> Option<Bytes> {
        self.cloud.tables().item(items::STATE, &items::key_of_row(key)).map(items::body)
    }
}

#[async_trait]
impl CheckpointStore for CloudRows {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        let tables = self.cloud.tables();
        let item = tables.item(items::STATE, &items::key_of_row(key));
        Ok(item.map(|item| items::row(key.clone(), item)))
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let tables = self.cloud.tables();
        let (name, _) = items::key_of_row(&RowKey::new(table, partition, ""));
        let behind = tables.partition(items::STATE, &name);
        let behind = behind.filter(|item| after.is_none_or(|after| items::sort(item) > after));
        let row = |item| items::row(RowKey::new(table, partition, items::sort(item)), item);
        Ok(behind.take(limit).map(row).collect())
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        self.rows.put(key, expected, body, beside).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        self.rows.delete(key).await
    }
}
