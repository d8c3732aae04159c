//! What `config policy` prints, and whether it is what is asked of the services.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    aws::Aws,
    event_table,
    fleet::Process,
    orders::{self, STREAM},
    proxy::Call,
};

#[test]
fn a_policy_names_what_a_configuration_names() {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    let policy = |arguments: &[&str]| -> Vec<Value> {
        let said = aws.run(&[&["config", "policy", "--account", "123456789012"], arguments].concat());
        let policy: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        policy["Statement"].as_array().unwrap().clone()
    };
    let statements = policy(&[]);
    let ids: Vec<_> = statements.iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ReadStreams", "KeepState", "KeepLeases", "WriteDocuments", "MakeTables"]);
    assert_eq!(statements[0]["Resource"][0], "arn:aws:kinesis:eu-west-1:123456789012:stream/shop-events");
    assert_eq!(statements[3]["Resource"][1], "arn:aws:dynamodb:eu-west-1:123456789012:table/shop-skus-v1");
    let of_operator = policy(&["--operator", "--region", "us-east-1"]);
    assert_eq!(of_operator.len(), 7);
    assert!(of_operator[6]["Action"][0] == "dynamodb:DeleteTable");
    assert!(of_operator[6]["Resource"][0].as_str().unwrap().contains(":us-east-1:"));
}

/// The actions of the calls that were recorded, each with the table or stream that it was for.
fn actions(calls: &[Call]) -> BTreeSet<(String, String)> {
    let mut actions = BTreeSet::new();
    for Call { target, body, .. } in calls {
        let (service, operation) = target.split_once('.').unwrap();
        let service = if service.starts_with("Kinesis") { "kinesis" } else { "dynamodb" };
        let of_part = |part: &Value| {
            let (kind, of) = part.as_object().unwrap().iter().next().unwrap();
            let kind = if kind == "ConditionCheck" { "ConditionCheckItem" } else { &format!("{kind}Item") };
            (format!("{service}:{kind}"), of["TableName"].as_str().unwrap().to_owned())
        };
        let named = |name: &str| body[name].as_str().map(|arn| arn.rsplit('/').next().unwrap().to_owned());
        match operation {
            "TransactWriteItems" => {
                actions.extend(body["TransactItems"].as_array().unwrap().iter().map(of_part))
            }
            "BatchGetItem" | "BatchWriteItem" => {
                let tables = body["RequestItems"].as_object().unwrap().keys();
                actions.extend(tables.map(|table| (format!("{service}:{operation}"), table.clone())));
            }
            _ => {
                let table = named("TableName").or_else(|| named("StreamName")).or_else(|| named("StreamARN"));
                // A table's stream is named by its ARN, or by an iterator alone.
                let resource = table.filter(|_| !target.starts_with("DynamoDBStreams"));
                actions.insert((format!("{service}:{operation}"), resource.unwrap_or_default()));
            }
        }
    }
    actions
}

/// What is not allowed of what was called, and what is allowed and was not called.
fn compare(aws: &Aws, arguments: &[&str], calls: &[Call]) -> (Vec<String>, Vec<String>) {
    let policy: Value = serde_json::from_str(&aws.run(&[&["config", "policy"], arguments].concat())).unwrap();
    let called = actions(calls);
    assert!(called.len() > 5, "{called:?}");
    let mut allowed = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        for (action, resource) in statement["Action"].as_array().unwrap().iter().flat_map(|action| {
            statement["Resource"].as_array().unwrap().iter().map(move |resource| (action, resource))
        }) {
            allowed.push((action.as_str().unwrap().to_owned(), resource.as_str().unwrap().to_owned()));
        }
    }
    let is_of = |(action, named): &(String, String), (may, resource): &(String, String)| {
        action == may && (named.is_empty() || resource.ends_with(&format!("/{named}")))
    };
    let refused = called.iter().filter(|call| !allowed.iter().any(|may| is_of(call, may)));
    let unused = allowed.iter().filter(|may| !called.iter().any(|call| is_of(call, may)));
    (refused.map(|call| format!("{call:?}")).collect(), unused.map(|may| may.0.clone()).collect())
}

#[tokio::test]
async fn what_a_relay_and_a_run_ask_for_is_what_their_policies_allow() {
    let config =
        orders::config("store: { kind: dynamodb, table: state }", "event_table: { table: shop, width: 6 }");
    let mut aws = Aws::with_streams(&config);
    let dynamodb = aws.dynamodb();
    aws.create_stream(STREAM, 2).await;
    event_table::make(&dynamodb).await;
    for sequence in 1..=3 {
        event_table::store(&dynamodb, 1, sequence).await;
    }
    aws.record();
    let relay = Process::of(&aws, &["relay"], 0);
    while aws.kinesis_records(STREAM).await < 3 {}
    relay.stop();
    let calls = aws.recorded();
    let (refused, unused) = compare(&aws, &["--relay"], &calls);
    assert!(refused.is_empty(), "a relay may not: {refused:?}");
    // A shard's row and lease go when it has ended, some four hours later.
    let later = ["dynamodb:DeleteItem"];
    let unused: Vec<_> = unused.iter().filter(|action| !later.contains(&action.as_str())).collect();
    assert!(unused.is_empty(), "a relay needs not: {unused:?}");

    aws.record();
    aws.run(&["run", "--until-caught-up"]);
    let calls = aws.recorded();
    let (refused, unused) = compare(&aws, &[], &calls);
    assert!(refused.is_empty(), "a run may not: {refused:?}");
    println!("not called in this run: {unused:?}");
}
