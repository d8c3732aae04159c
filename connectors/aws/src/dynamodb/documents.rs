//! Documents with their guards, a table for each read model.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure, TableDescription},
};
use foldstream_model::{
    Clock, DocumentKey, Error, ErrorKind, Fed, Guard, Ids, ReadModel, Result,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    ceiling::Ceiling,
    inspection::{self, Trial, Wanted},
    item::{self, DELETED, GUARD, RESERVED},
    keys::{KeyAttribute, KeyAttributes, KeyType, SecondaryIndex},
    pace::{Ended, Gate},
    provision::{self, EXPIRES, Provision},
    state::{self, Item},
    table::{self, Definition, Index, Key},
};
use crate::{
    Connection, errors,
    inspection::{Finding, Inspection},
    planted::{self, Bug},
};

/// A `BatchGetItem` takes no more.
const MOST_KEYS: usize = 100;
/// Of one call, beside what the pace allows.
const MOST_AT_ONCE: usize = 256;
/// For how long a write is tried again before its call fails, and whoever called waits.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the tables of a sink are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentTables {
    /// The name, in which `{projection}` and `{version}` stand for those of a read model.
    pub name: String,
    pub keys: KeyAttributes,
    pub indexes: Vec<SecondaryIndex>,
    /// Whether a table that is not there is made.
    pub create: bool,
    /// Write units a second of each projection, as far as they can be told before a write; none: no bound.
    pub max_write_units: Option<u32>,
    pub provision: Provision,
}

/// The documents of one sink.
pub struct DynamoDocuments {
    client: Client,
    tables: DocumentTables,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    gate: Gate,
    ceiling: Option<Ceiling>,
}

impl DocumentTables {
    /// The table of a read model.
    pub fn table(&self, model: &ReadModel) -> String {
        let version = model.version.0.to_string();
        self.name.replace("{projection}", model.name.as_str()).replace("{version}", &version)
    }
}

impl DynamoDocuments {
    pub fn new(
        connection: &Connection,
        tables: DocumentTables,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        let ceiling = tables.max_write_units.map(Ceiling::new);
        Self { client: connection.dynamodb(), tables, clock, ids, gate: Gate::new(), ceiling }
    }

    /// Asks once for each thing that is done with the table of a read model, and changes nothing.
    pub async fn inspect(&self, model: &ReadModel) -> Vec<Finding> {
        let definition = self.definition(model);
        let trials = &[Trial::BatchGetItem, Trial::PutItem];
        let create = self.tables.create;
        let wanted = Wanted { definition: &definition, create, trials };
        let mut inspection = Inspection::of("dynamodb", &definition.name);
        if let Some(table) = inspection::inspect_table(&self.client, &wanted, &mut inspection).await {
            provision::inspect(&self.client, &definition, &table, create, &mut inspection).await;
        }
        inspection.findings()
    }

    fn definition(&self, model: &ReadModel) -> Definition {
        let keys = &self.tables.keys;
        let name = |attribute: &'_ KeyAttribute| attribute.name.clone();
        let indexes = self.tables.indexes.iter().map(|index| Index {
            name: index.name.clone(),
            key: Key { partition: name(&index.partition), sort: index.sort.as_ref().map(name) },
            whole: true,
        });
        let attributes =
            keys.attributes().chain(self.tables.indexes.iter().flat_map(SecondaryIndex::attributes));
        let numbers = attributes.filter(|attribute| attribute.holds == KeyType::Number).map(name);
        let sort = keys.sort.as_ref().map(|sort| name(&sort.attribute));
        Definition {
            name: self.tables.table(model),
            key: Key { partition: name(&keys.partition), sort },
            indexes: indexes.collect(),
            numbers: Some(numbers.collect()),
            provision: self.tables.provision.clone(),
        }
    }

    /// Puts one document, patiently.
    async fn put(&self, table: &str, write: DocumentWrite) -> Result<Written> {
        let item = match item::encode(&self.tables.keys, &self.tables.indexes, &write.key, &write.put) {
            Ok(item) => self.expiring(item, &write.put),
            Err(error) if error.kind() == ErrorKind::Poison => return Ok(Written::Rejected(error)),
            Err(error) => return Err(error),
        };
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(ceiling) = &self.ceiling {
                ceiling.pass(units(&item)).await;
            }
            let pass = self.gate.enter().await;
            let error = match self.try_put(table, &write, item.clone()).await {
                Ok(written) => {
                    pass.end(Ended::Done);
                    return Ok(written);
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Throttled => pass.end(Ended::Throttled),
                ErrorKind::Transient => drop(pass),
                _ => return Err(error),
            }
            if began.elapsed() > PATIENCE || !self.gate.may_repeat() {
                return Err(error);
            }
            tokio::time::sleep(self.some_of(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// With the time from which on DynamoDB may remove it, if nothing is lost then but by what is delivered still later: of a document
    /// that was deleted and is fed by one stream, and of which nothing is parked or unrecorded. The numbers of marks and what a merge
    /// has read are never forgotten.
    fn expiring(&self, mut item: Item, put: &StoredDocument) -> Item {
        let Guard { fed, mark, unrecorded, .. } = &put.guard;
        let is_over = put.document.is_none() && mark.is_none() && unrecorded.is_empty();
        if let Some(kept) = self.tables.provision.purge_deleted_after
            && is_over
            && matches!(fed, Fed::Stream { .. })
        {
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            let seconds = self.clock.now().plus_micros(kept).micros() / 1_000_000;
            item.insert(EXPIRES.to_owned(), AttributeValue::N(seconds.to_string()));
        }
        item
    }

    /// A pause drawn by chance up to this one, so that writers that were refused together do not come back together.
    fn some_of(&self, longest: Duration) -> Duration {
        let span = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(state::drawn(&*self.ids) % span)
    }

    async fn try_put(&self, table: &str, write: &DocumentWrite, item: Item) -> Result<Written> {
        let request = self.client.put_item().table_name(table).set_item(Some(item));
        let request =
            request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match &write.condition {
            Condition::Absent => request
                .condition_expression("attribute_not_exists(#key)")
                .expression_attribute_names("#key", &self.tables.keys.partition.name),
            Condition::GuardIs(guard) => request
                .condition_expression("#own.#guard = :guard")
                .expression_attribute_names("#own", RESERVED)
                .expression_attribute_names("#guard", GUARD)
                .expression_attribute_values(":guard", AttributeValue::S(guard.to_json()?)),
        };
        let error = match request.send().await {
            Ok(_) => return Ok(Written::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                return self.conflict(error.into_err());
            }
            Err(error) => error,
        };
        // It is the document: tables were checked at the start.
        let is_refused = errors::code(&error) == Some("ValidationException");
        let error = errors::of(&format!("PutItem table={table} key={}", write.key), error);
        match is_refused {
            true => Ok(Written::Rejected(Error::poison(error.message()))),
            false => Err(error),
        }
    }

    fn conflict(&self, error: PutItemError) -> Result<Written> {
        let stored = match error {
            PutItemError::ConditionalCheckFailedException(failed) => failed.item,
            _ => None,
        };
        let stored = stored.filter(|item| !item.is_empty());
        let stored = stored.map(|item| item::decode(&self.tables.keys, item)).transpose()?;
        Ok(Written::Conflict(stored.map(Box::new)))
    }

    fn keys(&self, keys: &[&DocumentKey]) -> Result<Vec<Item>> {
        keys.iter().map(|key| self.tables.keys.of(key)).collect()
    }

    /// The documents of at most [`MOST_KEYS`] keys, no two of them the same.
    async fn get(&self, table: &str, keys: Vec<Item>) -> Result<BTreeMap<DocumentKey, StoredDocument>> {
        let (mut found, mut left) = (BTreeMap::new(), Some(keys));
        while let Some(items) = left.take() {
            let internal =
                |error| Error::internal(format!("keys cannot be asked for: table={table} ({error})"));
            let wanted = KeysAndAttributes::builder().set_keys(Some(items)).consistent_read(true);
            let request = self.client.batch_get_item();
            let request = request.request_items(table, wanted.build().map_err(internal)?);
            let pass = self.gate.enter().await;
            let answer = match request.send().await {
                Ok(answer) => answer,
                // It was removed, or never opened.
                Err(error) if errors::is_missing(&error) => return Ok(found),
                Err(error) => return Err(errors::of(&format!("BatchGetItem table={table}"), error)),
            };
            let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            let rest = rest.filter(|_| !planted::is(Bug::UnprocessedKeysDropped));
            pass.end(if rest.is_some() { Ended::Throttled } else { Ended::Done });
            for item in answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default() {
                let key = self.tables.keys.read(&item)?;
                found.insert(key, item::decode(&self.tables.keys, item)?);
            }
            if let Some(rest) = rest {
                tokio::time::sleep(self.some_of(FIRST_PAUSE)).await;
                left = Some(rest.keys);
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl DocumentStore for DynamoDocuments {
    async fn open(&self, model: &ReadModel) -> Result<String> {
        let definition = self.definition(model);
        let table = match self.tables.create {
            true => table::ensure(&self.client, &definition).await?,
            false => {
                let what_to_do = "make it, or let the sink make it with `create: true`";
                table::existing(&self.client, &definition, what_to_do).await?
            }
        };
        provision::settle(&self.client, &definition, &table, self.tables.create).await?;
        Ok(identity(&table))
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        let table = self.tables.table(model);
        let mut distinct: Vec<&DocumentKey> = keys.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        // Under a key that DynamoDB does not take there is nothing.
        distinct.retain(|key| self.tables.keys.of(key).is_ok());
        let pages: Vec<Vec<Item>> =
            distinct.chunks(MOST_KEYS).map(|page| self.keys(page)).collect::<Result<_>>()?;
        let pages = stream::iter(pages).map(|page| self.get(&table, page));
        let found: Vec<_> = pages.buffer_unordered(MOST_AT_ONCE / MOST_KEYS).try_collect().await?;
        let found: BTreeMap<_, _> = found.into_iter().flatten().collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        let table = self.tables.table(model);
        let writes = stream::iter(writes).map(|write| self.put(&table, write));
        writes.buffered(MOST_AT_ONCE).try_collect().await
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        let table = self.tables.table(model);
        let mut start = after.map(|key| self.tables.keys.of(key)).transpose()?;
        let mut documents = Vec::new();
        while documents.len() < limit {
            let request = self.client.scan().table_name(&table).consistent_read(true);
            let request = request
                .filter_expression("attribute_not_exists(#own.#deleted)")
                .expression_attribute_names("#own", RESERVED)
                .expression_attribute_names("#deleted", DELETED)
                .limit(i32::try_from(limit - documents.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) if errors::is_missing(&error) => break,
                Err(error) => return Err(errors::of(&format!("Scan table={table}"), error)),
            };
            for item in answer.items.unwrap_or_default() {
                let key = self.tables.keys.read(&item)?;
                documents.push((key, item::decode(&self.tables.keys, item)?));
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(documents)
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        let table = self.tables.table(model);
        match self.tables.create {
            true => {
                refuse_protected(&table, table::describe(&self.client, &table).await?)?;
                table::remove(&self.client, &table).await
            }
            false => Err(Error::invalid(format!(
                "the table was not made by foldstream, and is left to you: table={table}; empty it, or delete it"
            ))),
        }
    }
}

fn refuse_protected(name: &str, table: Option<TableDescription>) -> Result<()> {
    match table.and_then(|table| table.deletion_protection_enabled) {
        Some(true) => Err(Error::invalid(format!(
            "the table is protected from being deleted: table={name}; if it may go, switch that off and delete again: aws dynamodb \
             update-table --table-name {name} --no-deletion-protection-enabled"
        ))),
        _ => Ok(()),
    }
}

/// What tells a table from another one that is made later under the same name, or restored.
fn identity(table: &TableDescription) -> String {
    match table.table_id() {
        Some(id) => format!("dynamodb:{id}"),
        None => format!(
            "dynamodb:{}@{}",
            table.table_arn().unwrap_or_default(),
            table.creation_date_time().map(|made| made.secs()).unwrap_or_default()
        ),
    }
}

/// What a put costs, without secondary indexes: one unit for each KB or part of one.
fn units(item: &Item) -> u32 {
    u32::try_from(item::size(item).div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
