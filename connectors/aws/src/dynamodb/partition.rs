//! The items of one partition of the state table, in the order of their sort keys.

use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use foldstream_model::{Error, Result};

use super::state::{self, Item, PARTITION, SORT, StateTable};
use crate::{
    errors,
    planted::{self, Bug},
};

/// How many items one request can delete.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const DELETED_AT_ONCE: usize = 25;

/// Which items of a partition.
#[derive(Debug, Clone)]
pub(super) enum Range {
    All,
    /// Those behind a sort key.
    Behind(String),
    /// Those from one sort key to another, both included.
    Between(String, String),
}

/// Reads a partition a page at a time, strongly consistent.
pub(super) struct Pages<'t> {
    table: &'t StateTable,
    partition: String,
    range: Range,
    /// Of each item these attributes alone; none: whole items.
    attributes: Option<&'static str>,
    /// Behind which item the next page begins; none before the first one.
    start: Option<Item>,
    over: bool,
}

impl<'t> Pages<'t> {
    pub(super) fn new(table: &'t StateTable, partition: String, range: Range) -> Self {
        Self { table, partition, range, attributes: None, start: None, over: false }
    }

    #[must_use]
    pub(super) fn only(mut self, attributes: &'static str) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// The next items, at most `limit` and at most 1 MB of them, perhaps none; `None` when there are no more.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Vec<Item>>> {
        if self.over {
            return Ok(None);
        }
        let request = self.table.client.query().table_name(&self.table.name).consistent_read(true);
        let request = request
            .expression_attribute_values(":pk", state::text(&self.partition))
            .set_projection_expression(self.attributes.map(str::to_owned))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1))
            .set_exclusive_start_key(self.start.take());
        let request = match &self.range {
            Range::All => request.key_condition_expression("pk = :pk"),
            Range::Behind(sort) => request
                .key_condition_expression("pk = :pk AND sk > :behind")
                .expression_attribute_values(":behind", state::text(sort)),
            Range::Between(first, last) => request
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":first", state::text(first))
                .expression_attribute_values(":last", state::text(last)),
        };
        let doing = self.table.doing("Query", &self.partition);
        let answer = request.send().await.map_err(|error| errors::of(&doing, error))?;
        self.start = answer.last_evaluated_key;
        self.over = self.start.is_none() || planted::is(Bug::FirstPageTakenForAll);
        Ok(Some(answer.items.unwrap_or_default()))
    }

    /// All that are left.
    pub(super) async fn all(mut self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(page) = self.next(usize::MAX).await? {
            items.extend(page);
        }
        Ok(items)
    }
}

impl StateTable {
    /// None: there is no such item.
    pub(super) async fn item(&self, partition: &str, sort: &str) -> Result<Option<Item>> {
        let request = self.client.get_item().table_name(&self.name);
        let request = request.set_key(Some(state::key(partition, sort)?)).consistent_read(true);
        let doing = self.doing("GetItem", &format_args!("{partition}/{sort}"));
        Ok(request.send().await.map_err(|error| errors::of(&doing, error))?.item)
    }

    /// Empties a partition. One that something is put into meanwhile may keep that.
    pub(super) async fn delete_partition(&self, partition: &str) -> Result<()> {
        let mut pages = Pages::new(self, partition.to_owned(), Range::All).only("pk, sk");
        while let Some(items) = pages.next(usize::MAX).await? {
            self.delete_items(&items).await?;
        }
        Ok(())
    }

    /// Deletes items by their keys, which are part of what is given. One that is not there is no error.
    pub(super) async fn delete_items(&self, items: &[Item]) -> Result<()> {
        for items in items.chunks(DELETED_AT_ONCE) {
            let requests = items.iter().map(deletion).collect::<Result<Vec<_>>>()?;
            let doing = self.doing("BatchWriteItem", &format_args!("{} rows", requests.len()));
            let request = self.client.batch_write_item().request_items(&self.name, requests);
            let answer = request.send().await.map_err(|error| errors::of(&doing, error))?;
            let left = answer.unprocessed_items.and_then(|mut tables| tables.remove(&self.name));
            if left.is_some_and(|left| !left.is_empty()) && !planted::is(Bug::UnprocessedItemsDropped) {
                return Err(Error::throttled(format!("{doing}: some were not processed")));
            }
        }
        Ok(())
    }
}

fn deletion(item: &Item) -> Result<WriteRequest> {
    let key = state::key(state::text_of(item, PARTITION)?, state::text_of(item, SORT)?)?;
    let request = DeleteRequest::builder()
        .set_key(Some(key))
        .build()
        .map_err(|error| Error::internal(format!("a row cannot be deleted: {error}")))?;
    Ok(WriteRequest::builder().delete_request(request).build())
}
