//! What is found of a table when it is asked once for each thing that is done with it.

use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        AttributeValue, BillingMode, ConditionCheck, DeleteRequest, KeysAndAttributes, TableDescription,
        TableStatus, TransactWriteItem, WriteRequest,
    },
};

use super::table::{self, Definition};
use crate::{
    errors,
    inspection::{Finding, GoOn, Inspection},
};

const DESCRIBE: &str = "DescribeTable";
/// A key that nothing has. What would write requires that an item is there and is not, so that it never does.
const NOBODYS_KEY: &str = "foldstream validate --online";
const NEVER: &str = "attribute_exists(#key) AND attribute_not_exists(#key)";

/// What is done with a table, and can be tried without doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    BatchGetItem,
    /// Deletes an item that is not there.
    BatchWriteItem,
    /// A transaction that checks a condition, and nothing else.
    ConditionCheckItem,
    DeleteItem,
    GetItem,
    PutItem,
    Query,
    Scan,
    UpdateItem,
}

/// A table that a configuration names.
pub(super) struct Wanted<'w> {
    pub definition: &'w Definition,
    /// Whether `run` makes it if it is not there.
    pub create: bool,
    pub trials: &'w [Trial],
}

pub(super) async fn inspect(client: &Client, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut inspection = Inspection::of("dynamodb", &wanted.definition.name);
    inspect_table(client, &wanted, &mut inspection).await;
    inspection.findings()
}

/// The table, if it is there and as it should be.
pub(super) async fn inspect_table(
    client: &Client,
    wanted: &Wanted<'_>,
    inspection: &mut Inspection,
) -> Option<TableDescription> {
    let mut table = None;
    let is_there = match client.describe_table().table_name(&wanted.definition.name).send().await {
        Ok(answer) => {
            table = answer.table.filter(|table| judge(wanted.definition, table, inspection));
            table.is_some()
        }
        Err(error) if errors::is_missing(&error) => {
            not_there(wanted, inspection);
            false
        }
        Err(error) => inspection.failed(DESCRIBE, error) == GoOn::Yes,
    };
    if is_there {
        for trial in wanted.trials {
            try_out(client, wanted.definition, *trial, inspection).await;
        }
    }
    table
}

/// Whether it can be used.
fn judge(wanted: &Definition, table: &TableDescription, inspection: &mut Inspection) -> bool {
    if let Err(error) = table::check(wanted, table) {
        inspection.error(DESCRIBE, &error);
        return false;
    }
    match table.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => {
            let paid = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
            let paid = match paid {
                Some(BillingMode::PayPerRequest) => "paid per request",
                _ => "provisioned",
            };
            inspection.fine(DESCRIBE, format!("there, {}, {paid}", shape(wanted)));
            true
        }
        status => {
            let status = status.map_or("not told", TableStatus::as_str);
            inspection.wrong(DESCRIBE, format!("the table is {status}"), "wait until it is ACTIVE");
            false
        }
    }
}

fn not_there(wanted: &Wanted<'_>, inspection: &mut Inspection) {
    let shape = shape(wanted.definition);
    match wanted.create {
        true => inspection.fine(
            DESCRIBE,
            format!("not there yet; `foldstream run` makes it, {shape}, which needs dynamodb:CreateTable"),
        ),
        false => inspection.wrong(
            DESCRIBE,
            "there is no such table",
            &format!("make it, {shape}, or let the sink make it with `create: true`"),
        ),
    }
}

/// "key `pk + sk`, index `by_customer` (customer)".
fn shape(wanted: &Definition) -> String {
    let indexes = wanted.indexes.iter().map(|index| format!(", index `{}` ({})", index.name, index.key));
    format!("key `{}`{}", wanted.key, indexes.collect::<String>())
}

async fn try_out(client: &Client, wanted: &Definition, trial: Trial, inspection: &mut Inspection) {
    let (table, key) = (&wanted.name, wanted.key_of(NOBODYS_KEY));
    let partition = wanted.key.partition.as_str();
    let nobody = AttributeValue::S(NOBODYS_KEY.to_owned());
    match trial {
        Trial::BatchGetItem => {
            let Ok(keys) = KeysAndAttributes::builder().keys(key).build() else { return };
            let tried = client.batch_get_item().request_items(table, keys).send().await;
            say("BatchGetItem", "allowed", tried, inspection);
        }
        Trial::BatchWriteItem => {
            let Ok(delete) = DeleteRequest::builder().set_key(Some(key)).build() else { return };
            let delete = vec![WriteRequest::builder().delete_request(delete).build()];
            let tried = client.batch_write_item().request_items(table, delete).send().await;
            say("BatchWriteItem", "allowed", tried, inspection);
        }
        Trial::ConditionCheckItem => {
            let check = ConditionCheck::builder().table_name(table).set_key(Some(key));
            let check = check.condition_expression(NEVER).expression_attribute_names("#key", partition);
            let Ok(check) = check.build() else { return };
            let action = TransactWriteItem::builder().condition_check(check).build();
            let tried = client.transact_write_items().transact_items(action).send().await;
            say("ConditionCheckItem", WROTE, tried, inspection);
        }
        Trial::GetItem => {
            let tried = client.get_item().table_name(table).set_key(Some(key)).send().await;
            say("GetItem", "allowed", tried, inspection);
        }
        Trial::Query => {
            let query = client.query().table_name(table).key_condition_expression("#key = :nobody").limit(1);
            let query = query.expression_attribute_names("#key", partition);
            let tried = query.expression_attribute_values(":nobody", nobody).send().await;
            say("Query", "allowed", tried, inspection);
        }
        Trial::Scan => {
            say("Scan", "allowed", client.scan().table_name(table).limit(1).send().await, inspection)
        }
        Trial::PutItem => {
            let put = client.put_item().table_name(table).set_item(Some(key)).condition_expression(NEVER);
            say("PutItem", WROTE, put.expression_attribute_names("#key", partition).send().await, inspection);
        }
        Trial::UpdateItem => {
            let update =
                client.update_item().table_name(table).set_key(Some(key)).condition_expression(NEVER);
            let tried = update.expression_attribute_names("#key", partition).send().await;
            say("UpdateItem", WROTE, tried, inspection);
        }
        Trial::DeleteItem => {
            let delete =
                client.delete_item().table_name(table).set_key(Some(key)).condition_expression(NEVER);
            let tried = delete.expression_attribute_names("#key", partition).send().await;
            say("DeleteItem", WROTE, tried, inspection);
        }
    }
}

const CONDITION_NOT_MET: [&str; 2] = ["ConditionalCheckFailedException", "TransactionCanceledException"];

/// What a write says that should have been refused.
const WROTE: &str = "allowed, and its condition was not kept";

fn say<T, E>(
    check: &'static str,
    done: &str,
    tried: Result<T, SdkError<E, HttpResponse>>,
    inspection: &mut Inspection,
) where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match tried {
        Ok(_) => inspection.fine(check, done),
        Err(error) if errors::code(&error).is_some_and(|code| CONDITION_NOT_MET.contains(&code)) => {
            inspection.fine(check, "allowed");
        }
        Err(error) => drop(inspection.failed(check, error)),
    }
}
