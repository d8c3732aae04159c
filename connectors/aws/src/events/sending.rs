//! Putting new items, all or none: alone on condition that nothing is there, several in a transaction.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};
use foldstream_model::{Error, ErrorKind, Result, StreamId};
use tokio::time::Instant;

use super::table::Table;
use crate::{dynamodb::Item, errors};

/// How often one write is sent while it is unknown whether it was done. Only who sends it can: the same transaction is
/// known by its token, and an item of one's own by what is in it.
const SENDS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// How a write ended of which it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Done,
    /// Some of the keys are taken. Nothing was put.
    Taken,
    /// Another transaction had one of the items in hand. Nothing was put.
    Busy,
}

/// A write on its way.
pub(super) struct Sending<'t> {
    pub table: &'t Table,
    /// For messages.
    pub stream: &'t StreamId,
    pub items: Vec<Item>,
    pub token: String,
    /// It is not sent later than this.
    pub until: Option<Instant>,
}

impl Sending<'_> {
    /// `Transient`: unknown whether it was done.
    pub(super) async fn send(&self) -> Result<Sent> {
        let mut unknown = None;
        for tried in 0..SENDS {
            if tried > 0 {
                tokio::time::sleep(PAUSE * tried).await;
            }
            match self.once(unknown.is_some()).await {
                Err(error) if error.kind() == ErrorKind::Transient => unknown = Some(error),
                // What is refused now may have been done before.
                Err(error) => return Err(unknown.unwrap_or(error)),
                Ok(Sent::Busy) if unknown.is_some() => {}
                Ok(sent) => return Ok(sent),
            }
            if self.until.is_some_and(|until| Instant::now() + PAUSE * (tried + 1) >= until) {
                break;
            }
        }
        Err(unknown.unwrap_or_else(|| Error::internal("a write was never sent")))
    }

    async fn once(&self, again: bool) -> Result<Sent> {
        let sent = async {
            match &self.items[..] {
                [item] => self.put(item, again).await,
                items => self.transact(items).await,
            }
        };
        match self.until {
            None => sent.await,
            Some(until) => tokio::time::timeout_at(until, sent).await.unwrap_or_else(|_| {
                Err(Error::transient(format!(
                    "a write was not answered within half of the safe window: table={} stream={}",
                    self.table.settings.name, self.stream
                )))
            }),
        }
    }

    /// `again`: it may be there from the time before.
    async fn put(&self, item: &Item, again: bool) -> Result<Sent> {
        let request = self.table.client.put_item().table_name(&self.table.settings.name);
        let request = request
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", &self.table.settings.partition.attribute)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(Sent::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                let is_own = again && failed.item.is_some_and(|there| is_same(&there, item));
                Ok(if is_own { Sent::Done } else { Sent::Taken })
            }
            Err(error) if error.code() == Some("TransactionConflictException") => Ok(Sent::Busy),
            Err(error) => Err(errors::of(&self.table.doing("PutItem", self.stream), error)),
        }
    }

    async fn transact(&self, items: &[Item]) -> Result<Sent> {
        let doing = self.table.doing("TransactWriteItems", self.stream);
        let actions = items.iter().map(|item| self.action(item)).collect::<Result<_>>()?;
        let request = self.table.client.transact_write_items().set_transact_items(Some(actions));
        match request.client_request_token(&self.token).send().await {
            Ok(_) => Ok(Sent::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_transaction_canceled_exception() => {
                let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.into_err()
                else {
                    unreachable!("it was one just now")
                };
                of_cancelled(&doing, &cancelled.cancellation_reasons.unwrap_or_default())
            }
            Err(error) => Err(errors::of(&doing, error)),
        }
    }

    fn action(&self, item: &Item) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.table.settings.name)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", &self.table.settings.partition.attribute)
            .build()
            .map_err(|error| Error::internal(format!("a transaction cannot be asked for: {error}")))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn of_cancelled(doing: &str, reasons: &[CancellationReason]) -> Result<Sent> {
    let codes: Vec<&str> =
        reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let has = |code: &str| codes.contains(&code);
    let message = || {
        let said: Vec<&str> = reasons.iter().filter_map(CancellationReason::message).collect();
        format!("{doing}: cancelled: reasons={} {}", codes.join(","), said.join("; "))
    };
    match () {
        () if has("ConditionalCheckFailed") => Ok(Sent::Taken),
        () if has("TransactionConflict") => Ok(Sent::Busy),
        () if has("ThrottlingError") || has("ProvisionedThroughputExceeded") => {
            Err(Error::throttled(message()))
        }
        () if codes.is_empty() => Err(Error::transient(message())),
        () => Err(Error::invalid(message())),
    }
}

/// Whether an item is the one that was sent. The service writes numbers in its own form.
fn is_same(there: &Item, sent: &Item) -> bool {
    let plain =
        |item| super::plain::json(item).ok().and_then(|json| foldstream_model::Value::parse(&json).ok());
    matches!((plain(there), plain(sent)), (Some(there), Some(sent)) if there == sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_transaction_says_by_its_reasons_what_to_do() {
        let of = |codes: &[&str]| {
            let reason = |code: &&str| CancellationReason::builder().code(*code).build();
            of_cancelled("doing", &codes.iter().map(reason).collect::<Vec<_>>()).map_err(|error| error.kind())
        };
        assert_eq!(of(&["None", "ConditionalCheckFailed", "TransactionConflict"]), Ok(Sent::Taken));
        assert_eq!(of(&["TransactionConflict", "None"]), Ok(Sent::Busy));
        assert_eq!(of(&["None", "ThrottlingError"]), Err(ErrorKind::Throttled));
        assert_eq!(of(&["ProvisionedThroughputExceeded"]), Err(ErrorKind::Throttled));
        assert_eq!(of(&["ValidationError"]), Err(ErrorKind::Invalid));
        assert_eq!(of(&["None"]), Err(ErrorKind::Transient));
    }
}
