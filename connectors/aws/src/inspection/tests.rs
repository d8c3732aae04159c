//! Against servers that allow everything, and services in memory that refuse.

use std::{sync::Arc, time::Duration};

use foldstream_model::{ProjectionId, ports::DocumentStore};
use foldstream_test_servers::Server;
use serde_json::{Value, json};

use super::*;
use crate::{
    Connection,
    dynamodb::{
        DocumentTables, DynamoDocuments, DynamoLeases, KeyAttribute, KeyAttributes, Provision,
        SecondaryIndex, StateTable,
    },
    kinesis::{self, Reading},
    memory::{Reply, Service},
    permissions::{Location, Named},
    testing::{TestIds, WallClock},
};

/// Refuses what is named here, and answers everything else with what it was made with.
struct Refusing {
    code: &'static str,
    operations: &'static [&'static str],
    otherwise: fn(&str) -> Value,
}

impl Service for Refusing {
    fn answer(&self, operation: &str, _: Value) -> Reply {
        match self.operations.is_empty() || self.operations.contains(&operation) {
            true => Reply::Refused(self.code),
            false => Reply::Done((self.otherwise)(operation)),
        }
    }
}

fn refusing(
    code: &'static str,
    operations: &'static [&'static str],
    otherwise: fn(&str) -> Value,
) -> Connection {
    Connection::in_memory(Arc::new(Refusing { code, operations, otherwise }))
}

fn severities(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
    findings.iter().map(|finding| (finding.check, finding.severity)).collect()
}

fn missing(findings: &[Finding]) -> Vec<&str> {
    findings.iter().filter_map(|finding| finding.missing_permission.as_deref()).collect()
}

fn documents(connection: &Connection, create: bool) -> DynamoDocuments {
    let by_customer = SecondaryIndex {
        name: "by_customer".into(),
        partition: KeyAttribute::of_strings("customer"),
        sort: None,
    };
    let tables = DocumentTables {
        name: "{projection}-v{version}".into(),
        keys: KeyAttributes { partition: KeyAttribute::of_strings("key"), sort: None },
        indexes: vec![by_customer],
        create,
        max_write_units: None,
        provision: Provision::default(),
    };
    DynamoDocuments::new(connection, tables, Arc::new(WallClock), Arc::new(TestIds::default()))
}

fn stream(retention: u32, strategy: &str) -> Value {
    json!({ "StreamDescriptionSummary": {
        "StreamName": "events",
        "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/events",
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": retention,
        "StreamCreationTimestamp": 1_795_271_722,
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
        "EncryptionType": "KMS",
        "KeyId": "alias/aws/kinesis",
        "RecordDistributionStrategy": strategy,
    }})
}

#[tokio::test]
async fn tables_that_are_not_there_are_made_later_and_those_that_are_allow_everything() {
    let server = Server::dynamodb();
    let connection = Connection::to(&server);
    let ids = Arc::new(TestIds::default());
    let found = StateTable::inspect(&connection, "state").await;
    assert_eq!(severities(&found), [("DescribeTable", Severity::Fine)]);
    assert!(found[0].message.contains("run` makes it, key `pk + sk`"), "{found:?}");

    let state = StateTable::open(&connection, "state", ids, true).await.unwrap();
    let leases = [(foldstream_model::SourceName::new("shop"), "leases".to_owned())];
    DynamoLeases::open(&connection, state, leases.into(), true).await.unwrap();
    let model = ProjectionId::new("orders", 1);
    documents(&connection, true).open(&model).await.unwrap();
    let found = [
        StateTable::inspect(&connection, "state").await,
        DynamoLeases::inspect(&connection, "leases").await,
        documents(&connection, true).inspect(&model).await,
    ]
    .concat();
    assert!(found.iter().all(|finding| finding.severity == Severity::Fine), "{found:?}");
    assert_eq!(found.len(), 8 + 6 + 4);
    for table in ["state", "leases", "orders-v1"] {
        let left = connection.dynamodb().scan().table_name(table).send().await.unwrap();
        assert_eq!(left.count(), 0, "{table}");
    }
}

#[tokio::test]
async fn a_table_that_nobody_makes_or_that_has_another_key_is_wrong() {
    let server = Server::dynamodb();
    let connection = Connection::to(&server);
    let model = ProjectionId::new("orders", 1);
    let found = documents(&connection, false).inspect(&model).await;
    assert_eq!(severities(&found), [("DescribeTable", Severity::Wrong)]);
    let help = found[0].help.as_deref().unwrap();
    assert!(
        help.contains("key `key`, index `by_customer` (customer)") && help.contains("create: true"),
        "{help}"
    );

    StateTable::open(&connection, "orders-v1", Arc::new(TestIds::default()), true).await.unwrap();
    let found = documents(&connection, true).inspect(&model).await;
    assert_eq!(severities(&found), [("DescribeTable", Severity::Wrong)]);
    assert!(found[0].message.contains("key=pk + sk expected=key"), "{found:?}");
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named_with_what_it_is_for() {
    let connection = refusing("AccessDeniedException", &[], |_| Value::Null);
    let found = StateTable::inspect(&connection, "state").await;
    let mut expected = missing(&found);
    expected.sort_unstable();
    let location = Location { partition: "aws".into(), region: "*".into(), account: "*".into() };
    let named = Named { state_table: Some("state".into()), ..Named::default() };
    assert_eq!(
        expected,
        named.to_run(&location)[0].actions,
        "all that the state takes, but for making its table"
    );
    let help = found[0].help.as_deref().unwrap();
    assert!(help.starts_with("allow dynamodb:DescribeTable on state"), "{help}");

    let reading = Reading::FanOut { consumer: "foldstream".to_owned() };
    let found = kinesis::inspect(&connection, "events", &reading).await;
    assert_eq!(missing(&found), ["kinesis:DescribeStreamSummary", "kinesis:ListShards"]);

    let connection =
        refusing("AccessDeniedException", &["DescribeStreamConsumer", "GetRecords"], |asked| match asked {
            "DescribeStreamSummary" => stream(168, "USER_PARTITION_KEY"),
            "ListShards" => json!({ "Shards": [{
                "ShardId": "shardId-000000000000",
                "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" },
                "SequenceNumberRange": { "StartingSequenceNumber": "1" },
            }]}),
            _ => json!({ "ShardIterator": "i" }),
        });
    let found = kinesis::inspect(&connection, "events", &reading).await;
    assert_eq!(missing(&found), ["kinesis:GetRecords", "kinesis:DescribeStreamConsumer"]);
    let fine: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Fine).collect();
    assert_eq!(fine.len(), 3, "{found:?}");
    assert!(fine[0].message.contains("ACTIVE, 1 open shards, records kept for 168 h, encrypted with alias"));
}

#[tokio::test]
async fn a_stream_that_loses_order_is_wrong_and_one_that_forgets_soon_is_warned_of() {
    let connection = refusing("AccessDeniedException", &["ListShards"], |_| stream(24, "AUTO"));
    let found = kinesis::inspect(&connection, "events", &Reading::Polling).await;
    let expected = [Severity::Fine, Severity::Wrong, Severity::Warning, Severity::Wrong];
    assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), expected, "{found:?}");
    assert!(found[1].message.contains("record_distribution_strategy=AUTO"), "{found:?}");
}

#[tokio::test]
async fn a_real_stream_is_read_and_one_that_is_not_there_is_wrong() {
    let server = Server::kinesis();
    let connection = Connection::to(&server);
    let found = kinesis::inspect(&connection, "events", &Reading::Polling).await;
    assert_eq!(severities(&found), [("DescribeStreamSummary", Severity::Wrong)]);
    connection.kinesis().create_stream().stream_name("events").shard_count(2).send().await.unwrap();
    let reading = Reading::FanOut { consumer: "foldstream".to_owned() };
    let is_wrong = |found: &[Finding]| found.iter().any(|finding| finding.severity == Severity::Wrong);
    let mut found = kinesis::inspect(&connection, "events", &reading).await;
    // The server answers before the stream is there.
    for _ in 0..1_000 {
        if !is_wrong(&found) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = kinesis::inspect(&connection, "events", &reading).await;
    }
    assert!(!is_wrong(&found), "{found:?}");
    let consumer = found.last().unwrap();
    assert!(
        consumer.check == "DescribeStreamConsumer" && consumer.message.contains("RegisterStreamConsumer")
    );
}

#[tokio::test]
async fn what_concerns_all_requests_is_said_once_for_each_thing() {
    for (code, said) in [("UnrecognizedClientException", "credentials"), ("ThrottlingException", "try again")]
    {
        let connection = refusing(code, &[], |_| Value::Null);
        let found = [
            StateTable::inspect(&connection, "state").await,
            kinesis::inspect(&connection, "events", &Reading::Polling).await,
        ]
        .concat();
        let expected = [("DescribeTable", Severity::Wrong), ("DescribeStreamSummary", Severity::Wrong)];
        assert_eq!(severities(&found), expected);
        assert!(found.iter().all(|finding| finding.help.as_deref().unwrap().contains(said)), "{found:?}");
    }
}
