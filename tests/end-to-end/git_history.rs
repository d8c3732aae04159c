//! The history of a git repository, through a table of events, its relay and Kinesis: the documents are those which git has
//! judged on one machine.

use std::{
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use foldstream_tests::repositories::{Kind, long, unborn};
use serde_json::{Value, json};

use crate::{aws::Aws, event_table, fleet::Process, orders::STREAM};

const CONFIG: &str = include_str!("../../config/examples/git-history.yaml");
/// The database of the demo.
const ON_ONE_MACHINE: &[&str] = &["--data", "demo", "--config", "demo/git-history.yaml"];
const COMMITS: u64 = 120;
const SHARDS: i32 = 4;
/// Far more than there are.
const ALL: &str = "1000000";
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn the_history_of_a_repository_comes_to_the_same_documents_as_on_one_machine() {
    let aws = Aws::whole(&config());
    aws.create_stream(STREAM, SHARDS).await;
    event_table::make(&aws.dynamodb()).await;
    let repository = aws.folder().join("repository");
    unborn(&repository, Kind::default()).and_then(|()| long(&repository, COMMITS, 5)).unwrap();
    let said = aws.run(&["demo", "--git", "repository", "--data", "demo", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["outcome"], "equal", "by git");

    let events = aws.run(&[&["events", "tail", "-n", ALL, "-o", "json"], ON_ONE_MACHINE].concat());
    fs::write(aws.folder().join("events.ndjson"), items(&events)).unwrap();
    aws.run(&["events", "import", "events.ndjson"]);
    let relay = Process::of(&aws, &["relay"], 0);
    // A read model that depends on the order records as late what comes late: all is there before it is read.
    let deadline = Instant::now() + PATIENCE;
    while aws.kinesis_changes(STREAM).await < events.lines().count() {
        assert!(Instant::now() < deadline, "not all is relayed: {}", relay.said());
    }
    relay.stop();
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    for projection in ["files", "authors", "activity", "churn", "changes"] {
        let (found, expected) = (aws.documents(projection, &[]), aws.documents(projection, ON_ONE_MACHINE));
        assert!(!expected.is_empty() && found == expected, "{projection}: {found:?} for {expected:?}");
    }
}

/// The example over the services.
fn config() -> String {
    let source = format!(
        "    kind: kinesis
    stream: {STREAM}
    event_table: {{ table: shop, width: 6 }}
    event:
      stream_id: pk
      sequence: {{ from: sk, strip_prefix: \"EVENT#\" }}
      id: id
      type: eventType
      recorded_at: createdAt
      effective_at: madeAt
      payload: data
"
    );
    let stores = "store: { kind: dynamodb, table: state }
sinks:
  tables: { kind: dynamodb, table: \"git-{projection}-v{version}\" }
";
    let config = CONFIG.replace("    kind: local\n    stream: git\n    shards: 4\n", &source);
    let config = config.replace("    source: history\n", "    source: history\n    sink: tables\n");
    config.replace("config_version: 1\n", &format!("config_version: 1\n{stores}"))
}

/// Events as items of the table.
fn items(events: &str) -> String {
    let mut items = String::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let recorded_at = &event["recorded_at"];
        let item = json!({
            "pk": event["stream_id"],
            "sk": format!("EVENT#{:06}", event["sequence"].as_u64().unwrap()),
            "id": event["id"],
            "eventType": event["type"],
            "createdAt": recorded_at,
            "madeAt": event.get("effective_at").unwrap_or(recorded_at),
            "data": event["payload"],
        });
        writeln!(items, "{item}").unwrap();
    }
    items
}
