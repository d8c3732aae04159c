//! The one table of our own: every row that is no document and no lease of a shard.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, CancellationReason},
};
use foldstream_model::{Error, Ids, Result};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    inspection::{self, Trial, Wanted},
    provision::Provision,
    table::{self, Definition, Key},
};
use crate::{Connection, inspection::Finding};

/// Key attributes.
pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";

/// DynamoDB's limits of key attributes, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_PARTITION_BYTES: usize = 2048;
const MAX_SORT_BYTES: usize = 1024;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The table, and the client that reaches it.
pub struct StateTable {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) ids: Arc<dyn Ids>,
}

impl StateTable {
    /// Opens the table; one that is not there is made, paid per request, if it may be. `Invalid`: a table of this name has
    /// another key.
    pub async fn open(
        connection: &Connection,
        name: &str,
        ids: Arc<dyn Ids>,
        create: bool,
    ) -> Result<Arc<Self>> {
        let client = connection.dynamodb();
        let wanted = definition(name);
        match create {
            true => table::ensure(&client, &wanted).await?,
            false => table::existing(&client, &wanted, "`foldstream run` makes it").await?,
        };
        Ok(Arc::new(Self { client, name: name.to_owned(), ids }))
    }

    /// Asks once for each thing that is done with the table, and changes nothing.
    pub async fn inspect(connection: &Connection, name: &str) -> Vec<Finding> {
        use Trial::{BatchWriteItem, ConditionCheckItem, DeleteItem, GetItem, PutItem, Query, UpdateItem};

        let trials = &[GetItem, Query, PutItem, UpdateItem, DeleteItem, BatchWriteItem, ConditionCheckItem];
        let wanted = Wanted { definition: &definition(name), create: true, trials };
        inspection::inspect(&connection.dynamodb(), wanted).await
    }

    /// The same of what a relay does with it.
    pub async fn inspect_for_relay(connection: &Connection, name: &str) -> Vec<Finding> {
        use Trial::{DeleteItem, GetItem, PutItem, Query, UpdateItem};

        let trials = &[GetItem, Query, PutItem, UpdateItem, DeleteItem];
        let wanted = Wanted { definition: &definition(name), create: true, trials };
        inspection::inspect(&connection.dynamodb(), wanted).await
    }

    /// What is being done, for errors.
    pub(super) fn doing(&self, operation: &str, row: &dyn std::fmt::Display) -> String {
        format!("{operation} table={} row={row}", self.name)
    }
}

fn definition(name: &str) -> Definition {
    Definition {
        name: name.to_owned(),
        key: Key::new(PARTITION, Some(SORT)),
        indexes: Vec::new(),
        numbers: Some(BTreeSet::new()),
        provision: Provision::default(),
    }
}

/// The key of an item. `Invalid`: DynamoDB takes no key so long.
pub(super) fn key(partition: &str, sort: &str) -> Result<Item> {
    if partition.len() > MAX_PARTITION_BYTES || sort.len() > MAX_SORT_BYTES {
        return Err(Error::invalid(format!(
            "a row's key is longer than DynamoDB takes: partition={partition} ({} of {MAX_PARTITION_BYTES} bytes) \
             sort={sort} ({} of {MAX_SORT_BYTES} bytes); ids of streams may have some 700 bytes",
            partition.len(),
            sort.len()
        )));
    }
    Ok(HashMap::from([(PARTITION.to_owned(), text(partition)), (SORT.to_owned(), text(sort))]))
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A text attribute that every item has. Internal: the item is none of ours.
pub(super) fn text_of<'i>(item: &'i Item, name: &str) -> Result<&'i str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(not_ours(item, name)),
    }
}

pub(super) fn number_of(item: &Item, name: &str) -> Result<u64> {
    match item.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| not_ours(item, name)),
        _ => Err(not_ours(item, name)),
    }
}

fn not_ours(item: &Item, name: &str) -> Error {
    let key = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    Error::internal(format!(
        "a stored row cannot be read: row={}/{} attribute={name}; it was written by another version, or changed by hand",
        key(PARTITION),
        key(SORT)
    ))
}

/// A transaction that was cancelled for no condition of ours: another one had an item in hand, or the table is busy.
pub(super) fn not_done(doing: &str, reasons: &[CancellationReason]) -> Error {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).collect();
    let busy = ["ThrottlingError", "ProvisionedThroughputExceeded"];
    let message = format!("{doing}: cancelled: reasons={}", codes.join(","));
    match codes.iter().any(|code| busy.contains(code)) {
        _ if codes.contains(&"ValidationError") => Error::internal(message),
        true => Error::throttled(message),
        false => Error::transient(message),
    }
}

/// A number that no other call has drawn.
pub(super) fn drawn(ids: &dyn Ids) -> u64 {
    xxh3_64(ids.unique().as_bytes())
}
