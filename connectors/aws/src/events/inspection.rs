//! What is found of a table of events when it is asked once.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TableDescription},
};

use super::{
    order::CommitIndex,
    settings::EventTable,
    table::{KeyType, Table},
};
use crate::{
    Connection,
    inspection::{Finding, GoOn, Inspection},
};

const DESCRIBE: &str = "DescribeTable";
const QUERY: &str = "Query";

/// Asks for the table, and for the first event of a stream that nobody has, with one request each.
pub async fn inspect(connection: &Connection, settings: &EventTable) -> Vec<Finding> {
    let client = connection.dynamodb();
    let mut inspection = Inspection::of("dynamodb", &settings.name);
    let partition = match client.describe_table().table_name(&settings.name).send().await {
        Ok(answer) => answer.table.and_then(|table| judge(connection, settings, &table, &mut inspection)),
        Err(error) => match inspection.failed(DESCRIBE, error) {
            GoOn::Yes => Some(KeyType::Text),
            GoOn::No => None,
        },
    };
    if let Some(partition) = partition {
        query(&client, settings, partition, &mut inspection).await;
    }
    inspection.findings()
}

/// The type of its partition key, if it can be used.
fn judge(
    connection: &Connection,
    settings: &EventTable,
    description: &TableDescription,
    inspection: &mut Inspection,
) -> Option<KeyType> {
    let table = match Table::of(connection.dynamodb(), settings.clone(), description) {
        Ok(table) => table,
        Err(error) => {
            inspection.error(DESCRIBE, &error);
            return None;
        }
    };
    let (partition, sort) = (&settings.partition.attribute, &settings.sort.attribute);
    let read = match table.is_in_order() {
        true => "from any sequence on",
        false => "whole partitions at a time",
    };
    inspection.fine(DESCRIBE, format!("there, key `{partition} + {sort}`; a stream is read {read}"));
    match settings.order.as_ref().map(|order| (order, CommitIndex::of(order, description))) {
        Some((order, Ok(_))) => {
            inspection.fine(DESCRIBE, format!("index `{}` holds all events in one order", order.index));
        }
        Some((_, Err(error))) => inspection.error(DESCRIBE, &error),
        None => {}
    }
    Some(table.partition)
}

async fn query(client: &Client, settings: &EventTable, partition: KeyType, inspection: &mut Inspection) {
    let nobody = match partition {
        KeyType::Text => AttributeValue::S("foldstream validate --online".to_owned()),
        KeyType::Number => AttributeValue::N("-1".to_owned()),
    };
    let query = client.query().table_name(&settings.name).key_condition_expression("#key = :nobody").limit(1);
    let query = query.expression_attribute_names("#key", &settings.partition.attribute);
    match query.expression_attribute_values(":nobody", nobody).consistent_read(true).send().await {
        Ok(_) => inspection.fine(QUERY, "allowed"),
        Err(error) => drop(inspection.failed(QUERY, error)),
    }
}
