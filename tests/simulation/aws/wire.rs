//! The way of one process to the services: requests and answers are lost, late, doubled and refused on it.

use std::sync::Arc;

use foldstream_aws::{
    Connection,
    memory::{Remote, Reply, Replying},
};
use foldstream_model::{
    Error, ErrorKind, ParkedEvent,
    ports::{Condition, DocumentWrite, Table},
};
use serde_json::{Value, json};

use super::{
    Cloud,
    expressions::Item,
    items::{self, model_of},
    pushing,
    streams::Manner,
    tables::{self, Change},
};
use crate::{
    link::{Carried, Link},
    projections::Kind,
    watcher,
    world::World,
};

struct Wire {
    link: Arc<Link>,
    cloud: Arc<Cloud>,
}

pub fn connection(link: &Arc<Link>, cloud: &Arc<Cloud>) -> Connection {
    Connection::in_memory(Arc::new(Wire { link: link.clone(), cloud: cloud.clone() }))
}

impl Remote for Wire {
    fn call(&self, target: &str, input: Value) -> Replying {
        Box::pin(call(self.link.clone(), self.cloud.clone(), target.to_owned(), input))
    }
}

const CHANGES: [&str; 8] = [
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
    "CreateTable",
    "DeleteTable",
    "RegisterStreamConsumer",
];

async fn call(link: Arc<Link>, cloud: Arc<Cloud>, target: String, input: Value) -> Reply {
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let what = told(&operation, &input);
    let answered = if operation == "SubscribeToShard" {
        link.read(&what, pushing::subscribe(&link, &cloud, &input)).await
    } else if CHANGES.contains(&operation.as_str()) {
        let (world, input) = (link.world.clone(), Arc::new(input));
        let request = Box::new(move || -> Carried<Reply> {
            let (world, cloud) = (world.clone(), cloud.clone());
            let (target, input) = (target.clone(), input.clone());
            Box::pin(async move { Ok(carry_out(&world, &cloud, &target, &input).await) })
        });
        link.write(what, request).await
    } else {
        let world = &link.world;
        let looked = async { Ok(cloud.answer(&target, &input, manner(world, &cloud, &operation)).0) };
        link.read(&what, looked).await
    };
    answered.unwrap_or_else(|error| failed(&link.world, &operation, &error))
}

/// What a request is about, for the trace: nothing in it is drawn by the client.
fn told(operation: &str, input: &Value) -> String {
    let mut told = operation.to_owned();
    let mut say = |value: &Value| {
        if let Some(text) = value.as_str().or_else(|| value["S"].as_str()) {
            told.push(' ');
            told.extend(text.chars().take(200));
        }
    };
    for name in ["TableName", "ShardId", "ShardIteratorType", "StartingSequenceNumber", "ShardIterator"] {
        say(&input[name]);
    }
    for name in ["Type", "SequenceNumber"] {
        say(&input["StartingPosition"][name]);
    }
    let actions = input["TransactItems"].as_array().into_iter().flatten();
    let actions =
        actions.flat_map(|action| ["Put", "Update", "Delete", "ConditionCheck"].map(|kind| &action[kind]));
    for action in [input].into_iter().chain(actions.filter(|action| action.is_object())) {
        for name in ["pk", "sk", items::KEY, "leaseKey", "body"] {
            say(&action["Item"][name]);
            say(&action["Key"][name]);
        }
    }
    told
}

/// How much of a request is answered at once.
fn manner(world: &World, cloud: &Cloud, operation: &str) -> Manner {
    let weather = &cloud.weather;
    let (fault, times) = match operation {
        "GetRecords" => ("few records", weather.empty),
        "Query" | "Scan" | "ListShards" => ("short page", weather.short),
        "BatchGetItem" | "BatchWriteItem" => ("unprocessed", weather.unprocessed),
        _ => return Manner { most: usize::MAX, expired: false },
    };
    let expired = operation == "GetRecords" && world.strikes("expired iterator", weather.expired);
    let strikes = world.strikes(fault, times);
    let least = u64::from(fault == "short page");
    let most = if strikes { world.chance().within(least..4) } else { u64::MAX };
    Manner { most: usize::try_from(most).unwrap_or(usize::MAX), expired }
}

async fn carry_out(world: &Arc<World>, cloud: &Arc<Cloud>, target: &str, input: &Value) -> Reply {
    let operation = target.rsplit('.').next().unwrap_or_default();
    let actions = input["TransactItems"].as_array().map_or(0, Vec::len);
    if actions > 0 && world.strikes("transaction conflict", cloud.weather.conflict) {
        let code =
            world.chance().pick(&["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]);
        let reason = |at: usize| json!({ "Code": if at == 0 { code } else { "None" } });
        return tables::cancelled((0..actions).map(reason).collect());
    }
    if is_refused(world, input) {
        let with = json!({ "message": "the store does not take this document" });
        return Reply::Failed { status: 400, code: "ValidationException", with };
    }
    let (reply, changes) = cloud.answer(target, input, manner(world, cloud, operation));
    for change in changes {
        watch(world, change).await;
    }
    reply
}

fn is_refused(world: &World, input: &Value) -> bool {
    let Some(model) = input["TableName"].as_str().and_then(model_of) else { return false };
    if !input["Item"].is_object() {
        return false;
    }
    let kind = Kind::of(model.name.as_str());
    let put = items::document(&tables::item_of(&input["Item"]));
    let text = put.document.map(|document| document.to_canonical_json());
    let is_refused = text.is_some_and(|text| !world.is_mended(kind) && world.workload.refuses(kind, &text));
    if is_refused {
        world.count("write refused");
    }
    is_refused
}

/// An item was changed by a worker.
async fn watch(world: &Arc<World>, Change { table, before, after }: Change) {
    let Some(after) = after else { return };
    if let Some(model) = model_of(&table) {
        let put = items::document(&after);
        let write = DocumentWrite { key: items::document_key(&after), condition: Condition::Absent, put };
        return watcher::document(world, &model, before.as_ref().map(items::document), &write);
    }
    if let Some(lease) = items::lease(&after) {
        if let Some(before) = before.as_ref().and_then(items::lease) {
            watcher::lease(world, &before, &lease);
        }
        return;
    }
    if let Some(key) = items::row_key(&after, &[Table::Journals, Table::Checkpoints]) {
        let before = before.as_ref().map(items::body);
        return watcher::row(world, &key, before.as_ref(), &items::body(&after)).await;
    }
    parked(world, &after);
}

fn parked(world: &World, item: &Item) {
    let event = tables::text(item, "event").and_then(|event| serde_json::from_str::<ParkedEvent>(event).ok());
    if let Some(event) = event {
        watcher::parked(world, &event);
    }
}

/// What a client is told of what became of its request on the way; or it is told nothing.
fn failed(world: &World, operation: &str, error: &Error) -> Reply {
    let mut chance = world.chance();
    if error.kind() == ErrorKind::Throttled {
        return Reply::Refused(match operation {
            "GetRecords" | "GetShardIterator" => "ProvisionedThroughputExceededException",
            "ListShards" | "DescribeStreamSummary" | "SubscribeToShard" => "LimitExceededException",
            _ => chance.pick(&[
                "ProvisionedThroughputExceededException",
                "ThrottlingException",
                "RequestLimitExceeded",
            ]),
        });
    }
    let broken =
        |status, code| Reply::Failed { status, code, with: json!({ "message": "an error of the service" }) };
    match chance.within(0..5) {
        0 => broken(500, "InternalServerError"),
        1 => broken(503, "ServiceUnavailable"),
        2 => Reply::Silence,
        _ => Reply::Reset,
    }
}
