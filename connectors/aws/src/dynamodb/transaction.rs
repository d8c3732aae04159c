//! Changes of several items of the state table at one moment.

use aws_sdk_dynamodb::{
    error::{BuildError, SdkError},
    operation::{transact_get_items::TransactGetItemsError, transact_write_items::TransactWriteItemsError},
    types::{CancellationReason, Delete, Get, Put, TransactGetItem, TransactWriteItem, Update},
};
use foldstream_model::{Error, Result};

use super::state::{self, Item, StateTable};
use crate::{
    errors,
    planted::{self, Bug},
};

/// DynamoDB's limits of one transaction; that of bytes less what names and keys add.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub(super) const MAX_ACTIONS: usize = 100;
pub(super) const MAX_BYTES: usize = 3 * 1024 * 1024;

/// How a transaction ended of which it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transacted {
    Done,
    /// Nothing was changed, as some conditions did not hold: for each action whether its own did.
    Refused(Vec<bool>),
}

impl StateTable {
    /// `row` is for errors. `Transient`: unknown whether it was done, or another transaction had an item in hand.
    pub(super) async fn transact(
        &self,
        row: &(dyn std::fmt::Display + Sync),
        actions: Vec<TransactWriteItem>,
    ) -> Result<Transacted> {
        let doing = self.doing("TransactWriteItems", row);
        let request = self.client.transact_write_items().set_transact_items(Some(actions));
        match request.send().await {
            Ok(_) => Ok(Transacted::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_transaction_canceled_exception() => {
                let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.into_err()
                else {
                    unreachable!("it was one just now")
                };
                let reasons = cancelled.cancellation_reasons.unwrap_or_default();
                let holds = |reason: &CancellationReason| reason.code() != Some("ConditionalCheckFailed");
                match reasons.iter().all(holds) {
                    true if planted::is(Bug::CancelledTakenForDone) => Ok(Transacted::Done),
                    true => Err(state::not_done(&doing, &reasons)),
                    false => Ok(Transacted::Refused(reasons.iter().map(holds).collect())),
                }
            }
            Err(error) => Err(errors::of(&doing, error)),
        }
    }

    /// Items as they were at one moment; none of those that are not there.
    pub(super) async fn items_at_once(&self, keys: &[(&str, &str)]) -> Result<Vec<Option<Item>>> {
        let row = keys.first().map_or("", |(partition, _)| partition);
        let doing = self.doing("TransactGetItems", &row);
        let gets = keys.iter().map(|(partition, sort)| self.get(partition, sort)).collect::<Result<_>>()?;
        let request = self.client.transact_get_items().set_transact_items(Some(gets));
        match request.send().await {
            Ok(answer) => {
                Ok(answer.responses.unwrap_or_default().into_iter().map(|found| found.item).collect())
            }
            Err(SdkError::ServiceError(error)) if error.err().is_transaction_canceled_exception() => {
                let TransactGetItemsError::TransactionCanceledException(cancelled) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                Err(state::not_done(&doing, &cancelled.cancellation_reasons.unwrap_or_default()))
            }
            Err(error) => Err(errors::of(&doing, error)),
        }
    }

    fn get(&self, partition: &str, sort: &str) -> Result<TransactGetItem> {
        let get = Get::builder().table_name(&self.name).set_key(Some(state::key(partition, sort)?));
        Ok(TransactGetItem::builder().get(get.build().map_err(unasked)?).build())
    }

    /// Puts an item that is not there.
    pub(super) fn put_absent(&self, item: Item) -> Result<TransactWriteItem> {
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(pk)").build().map_err(unasked)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Deletes an item that is there.
    pub(super) fn delete_present(&self, partition: &str, sort: &str) -> Result<TransactWriteItem> {
        let delete = Delete::builder().table_name(&self.name).set_key(Some(state::key(partition, sort)?));
        let delete = delete.condition_expression("attribute_exists(pk)").build().map_err(unasked)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    pub(super) fn update(
        &self,
        partition: &str,
        sort: &str,
        change: &str,
        condition: Option<&str>,
        values: Item,
    ) -> Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.name)
            .set_key(Some(state::key(partition, sort)?))
            .update_expression(change)
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_values(Some(values));
        Ok(TransactWriteItem::builder().update(update.build().map_err(unasked)?).build())
    }
}

fn unasked(error: BuildError) -> Error {
    Error::internal(format!("a transaction cannot be asked for: {error}"))
}
