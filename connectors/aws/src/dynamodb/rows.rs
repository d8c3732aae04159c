//! The small rows: journals, cuts, checkpoints and what is registered beside them.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        CancellationReason, ConditionCheck, Put as PutAction, ReturnValuesOnConditionCheckFailure, Select,
        TransactWriteItem,
    },
};
use bytes::Bytes;
use foldstream_model::{
    Error, Result,
    ports::{CheckpointStore, Put, Revision, Row, RowKey, Table},
};

use super::state::{self, Item, SORT, StateTable};
use crate::{
    errors,
    planted::{self, Bug},
};

const REVISION: &str = "revision";
const BODY: &str = "body";

/// Rows by table, partition and sort key, as items of the state table.
pub struct DynamoRows {
    table: Arc<StateTable>,
}

impl DynamoRows {
    pub fn new(table: Arc<StateTable>) -> Self {
        Self { table }
    }

    /// Drawn by chance, so that none comes back after a delete, of which nothing is remembered.
    fn next_revision(&self) -> Revision {
        Revision(state::drawn(&*self.table.ids))
    }

    async fn put_alone(&self, key: &RowKey, condition: &Is, item: Item) -> Result<Option<Item>> {
        let request = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
        let request = request
            .condition_expression(condition.expression())
            .set_expression_attribute_values(condition.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                Ok(Some(failed.item.unwrap_or_default()))
            }
            Err(error) => Err(errors::of(&self.table.doing("PutItem", key), error)),
        }
    }

    async fn put_beside(
        &self,
        key: &RowKey,
        condition: &Is,
        item: Item,
        beside: &(RowKey, Revision),
    ) -> Result<Option<Item>> {
        let internal =
            |error| Error::internal(format!("a transaction cannot be asked for: row={key} ({error})"));
        let put = PutAction::builder()
            .table_name(&self.table.name)
            .set_item(Some(item))
            .condition_expression(condition.expression())
            .set_expression_attribute_values(condition.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(internal)?;
        let stands = Is::At(beside.1);
        let check = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(item_key(&beside.0)?))
            .condition_expression(stands.expression())
            .set_expression_attribute_values(stands.values())
            .build()
            .map_err(internal)?;
        let request = self.table.client.transact_write_items();
        let request = request
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().condition_check(check).build());
        match request.send().await {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if error.err().is_transaction_canceled_exception() => {
                let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.into_err()
                else {
                    unreachable!("it was one just now")
                };
                self.cancelled(key, cancelled.cancellation_reasons.unwrap_or_default()).await.map(Some)
            }
            Err(error) => Err(errors::of(&self.table.doing("TransactWriteItems", key), error)),
        }
    }

    /// What is stored of the row that was to be put.
    async fn cancelled(&self, key: &RowKey, reasons: Vec<CancellationReason>) -> Result<Item> {
        let failed = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
        if !reasons.iter().any(failed) {
            return Err(state::not_done(&self.table.doing("TransactWriteItems", key), &reasons));
        }
        match reasons.into_iter().next().filter(failed) {
            Some(reason) => Ok(reason.item.unwrap_or_default()),
            None => Ok(self.item(key).await?.unwrap_or_default()),
        }
    }

    async fn item(&self, key: &RowKey) -> Result<Option<Item>> {
        let request = self.table.client.get_item().table_name(&self.table.name);
        let request = request.set_key(Some(item_key(key)?)).consistent_read(true);
        let answer =
            request.send().await.map_err(|error| errors::of(&self.table.doing("GetItem", key), error))?;
        Ok(answer.item)
    }
}

#[async_trait]
impl CheckpointStore for DynamoRows {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        self.item(key).await?.map(|item| row(key.clone(), &item)).transpose()
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let (mut rows, mut start) = (Vec::new(), None);
        let name = partition_key(table, partition);
        while rows.len() < limit {
            let request = self.table.client.query().table_name(&self.table.name).consistent_read(true);
            let request = request
                .key_condition_expression(if after.is_some() {
                    "pk = :pk AND sk > :after"
                } else {
                    "pk = :pk"
                })
                .expression_attribute_values(":pk", state::text(&name))
                .select(Select::AllAttributes)
                .limit(i32::try_from(limit - rows.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let request = match after {
                Some(after) => request.expression_attribute_values(":after", state::text(&sort_key(after))),
                None => request,
            };
            let answer =
                request.send().await.map_err(|error| errors::of(&self.table.doing("Query", &name), error))?;
            for item in answer.items() {
                let key = RowKey::new(table, partition, sort_of(state::text_of(item, SORT)?));
                rows.push(row(key, item)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() || planted::is(Bug::FirstPageTakenForAll) {
                break;
            }
        }
        Ok(rows)
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        let Ok(body) = std::str::from_utf8(&body) else {
            return Err(Error::internal(format!("the body of a row is no text: row={key}")));
        };
        let revision = self.next_revision();
        let mut item = item_key(key)?;
        item.insert(REVISION.to_owned(), state::number(revision.0));
        item.insert(BODY.to_owned(), state::text(body));
        let condition = expected.map_or(Is::Absent, Is::At);
        let stored = match beside {
            None => self.put_alone(key, &condition, item).await?,
            Some(beside) => self.put_beside(key, &condition, item, beside).await?,
        };
        match stored {
            Some(_) if planted::is(Bug::RefusedTakenForPut) => Ok(Put::Done(revision)),
            None => Ok(Put::Done(revision)),
            Some(item) if item.is_empty() => Ok(Put::Conflict(None)),
            Some(item) => Ok(Put::Conflict(Some(row(key.clone(), &item)?))),
        }
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        let request = self.table.client.delete_item().table_name(&self.table.name);
        let request = request.set_key(Some(item_key(key)?));
        request.send().await.map_err(|error| errors::of(&self.table.doing("DeleteItem", key), error))?;
        Ok(())
    }
}

/// What must be stored of a row.
enum Is {
    Absent,
    At(Revision),
}

impl Is {
    fn expression(&self) -> &'static str {
        match self {
            Self::Absent => "attribute_not_exists(pk)",
            Self::At(_) => "revision = :revision",
        }
    }

    fn values(&self) -> Option<Item> {
        match self {
            Self::Absent => None,
            Self::At(revision) => Some(Item::from([(":revision".to_owned(), state::number(revision.0))])),
        }
    }
}

fn partition_key(table: Table, partition: &str) -> String {
    format!("{}/{partition}", table.as_str())
}

fn item_key(key: &RowKey) -> Result<Item> {
    state::key(&partition_key(key.table, &key.partition), &sort_key(&key.sort))
}

/// DynamoDB takes no empty key: a NUL is put in front of it, and of what begins with one, which keeps their order.
fn sort_key(sort: &str) -> Cow<'_, str> {
    match sort.is_empty() || sort.starts_with('\0') {
        true => Cow::Owned(format!("\0{sort}")),
        false => Cow::Borrowed(sort),
    }
}

fn sort_of(key: &str) -> &str {
    key.strip_prefix('\0').unwrap_or(key)
}

fn row(key: RowKey, item: &Item) -> Result<Row> {
    let body = Bytes::copy_from_slice(state::text_of(item, BODY)?.as_bytes());
    Ok(Row { key, revision: Revision(state::number_of(item, REVISION)?), body })
}

#[cfg(test)]
mod tests {
    use foldstream_model::conformance;

    use super::*;
    use crate::testing::Fixture;

    #[tokio::test]
    async fn they_pass_the_suite() {
        let fixture = Fixture::new().await;
        conformance::checkpoint_store::run(&DynamoRows::new(fixture.state.clone())).await;
    }
}
