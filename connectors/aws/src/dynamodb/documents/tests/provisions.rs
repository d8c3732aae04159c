//! What tables have beside their keys.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use foldstream_model::{Mark, MarkNumber, Place, ShardNumber};
use foldstream_test_servers::Server;

use super::*;
use crate::{inspection::Severity, testing::TestIds};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn provision() -> Provision {
    Provision {
        tags: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        point_in_time_recovery: true,
        deletion_protection: true,
        purge_deleted_after: Some(MONTH),
    }
}

/// On a server that knows backups.
fn store(connection: &Connection, create: bool, provision: Provision) -> DynamoDocuments {
    let tables = DocumentTables { create, provision, ..tables("test") };
    DynamoDocuments::new(connection, tables, Arc::new(WallClock), Arc::new(TestIds::default()))
}

async fn said(documents: &DynamoDocuments) -> Vec<(Severity, &'static str, String)> {
    let found = documents.inspect(&ReadModel::new("orders", 1)).await;
    found.into_iter().map(|finding| (finding.severity, finding.check, finding.message)).collect()
}

#[tokio::test]
async fn a_table_that_is_made_is_given_all_that_is_wanted() {
    let server = Server::ministack();
    let connection = Connection::to(&server);
    let model = ReadModel::new("orders", 1);
    let documents = store(&connection, true, provision());
    documents.open(&model).await.unwrap();
    let found = said(&documents).await;
    assert!(found.iter().all(|(severity, ..)| *severity == Severity::Fine), "{found:#?}");
    for check in ["DescribeTimeToLive", "DescribeContinuousBackups", "ListTagsOfResource"] {
        assert!(found.iter().any(|(_, of, _)| *of == check), "{check}: {found:#?}");
    }
    // Whoever makes a table may end before all of that is switched on.
    documents.open(&model).await.unwrap();
    let error = documents.remove(&model).await.unwrap_err();
    assert!(error.message().contains("--no-deletion-protection-enabled"), "{error}");
}

#[tokio::test]
async fn a_table_that_was_made_beforehand_is_used_and_what_differs_is_said() {
    let server = Server::ministack();
    let connection = Connection::to(&server);
    let model = ReadModel::new("orders", 1);
    store(&connection, true, Provision::default()).open(&model).await.unwrap();
    let documents = store(&connection, false, provision());
    documents.open(&model).await.unwrap();
    let found = said(&documents).await;
    let warned: Vec<_> = found.iter().filter(|(severity, ..)| *severity == Severity::Warning).collect();
    let [protection, purge, backups, tags] = &warned[..] else { panic!("{found:#?}") };
    assert_eq!(protection.2, "deletion protection is off");
    assert!(purge.2.contains("time to live by `_foldstream_expires` is off"), "{purge:?}");
    assert_eq!(backups.2, "point-in-time recovery is off");
    assert_eq!(tags.2, "the tag `team` is missing");
    // Of a table that it makes, `run` switches two of them on.
    let documents = store(&connection, true, provision());
    assert!(
        said(&documents).await.iter().any(|(_, _, said)| said.contains("needs dynamodb:UpdateTimeToLive"))
    );
    documents.open(&model).await.unwrap();
    let found = said(&documents).await;
    let warned = found.iter().filter(|(severity, ..)| *severity == Severity::Warning);
    assert_eq!(
        warned.map(|(_, check, _)| *check).collect::<Vec<_>>(),
        ["DescribeTable", "ListTagsOfResource"]
    );
}

#[tokio::test]
async fn a_table_that_removes_documents_by_itself_is_refused() {
    let fixture = Fixture::new().await;
    let model = ReadModel::new("orders", 1);
    let documents = documents(&fixture, tables("test"));
    documents.open(&model).await.unwrap();
    let by = TimeToLiveSpecification::builder().attribute_name("expires_at").enabled(true).build().unwrap();
    let update = fixture.connection.dynamodb().update_time_to_live();
    update.table_name("test").time_to_live_specification(by).send().await.unwrap();
    let error = documents.open(&model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("table=test attribute=expires_at"), "{error}");
    let found = said(&documents).await;
    assert!(
        found
            .iter()
            .any(|(severity, check, _)| (*severity, *check) == (Severity::Wrong, "DescribeTimeToLive"))
    );
}

async fn expires(fixture: &Fixture, key: &str) -> Option<i64> {
    let get = fixture.connection.dynamodb().get_item().table_name("test").consistent_read(true);
    let item = get.key("key", AttributeValue::S(key.to_owned())).send().await.unwrap().item.unwrap();
    match item.get(EXPIRES) {
        Some(AttributeValue::N(seconds)) => Some(seconds.parse().unwrap()),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_left_of_a_deleted_document_may_be_forgotten_where_nothing_rests_on_it() {
    let fixture = Fixture::new().await;
    let model = ReadModel::new("orders", 1);
    let provision = Provision { purge_deleted_after: Some(MONTH), ..Provision::default() };
    let documents = documents(&fixture, DocumentTables { provision, ..tables("test") });
    documents.open(&model).await.unwrap();
    let kept = || write("kept", "{}");
    let left = |key: &str| {
        let mut write = DocumentWrite { key: DocumentKey::new(key), ..kept() };
        write.put.document = None;
        write
    };
    let (mut marked, mut unrecorded, mut of_many) = (left("marked"), left("unrecorded"), left("of-many"));
    marked.put.guard.mark = Some(Mark::Cleared(MarkNumber(1)));
    unrecorded.put.guard.unrecorded = BTreeSet::from([(ShardNumber(0), Place::BEGINNING)]);
    of_many.put.guard.fed = Fed::Shards { revision: 1, places: Default::default() };
    let writes = vec![kept(), left("left"), marked, unrecorded, of_many];
    let written = documents.write(&model, writes).await.unwrap();
    assert!(written.iter().all(|written| matches!(written, Written::Done)), "{written:?}");
    for key in ["kept", "marked", "unrecorded", "of-many"] {
        assert_eq!(expires(&fixture, key).await, None, "{key}");
    }
    let in_seconds = expires(&fixture, "left").await.unwrap() - WallClock.now().micros() / 1_000_000;
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&in_seconds), "{in_seconds}");

    // A document that comes back stays.
    let guard = documents.read(&model, &[DocumentKey::new("left")]).await.unwrap()[0].clone().unwrap().guard;
    let back =
        DocumentWrite { key: DocumentKey::new("left"), condition: Condition::GuardIs(guard), ..kept() };
    assert!(matches!(documents.write(&model, vec![back]).await.unwrap()[..], [Written::Done]));
    assert_eq!(expires(&fixture, "left").await, None);
    let reserved = documents.write(&model, vec![write("a", r#"{"_foldstream_expires":1}"#)]).await.unwrap();
    assert!(matches!(&reserved[..], [Written::Rejected(_)]), "{reserved:?}");
}
