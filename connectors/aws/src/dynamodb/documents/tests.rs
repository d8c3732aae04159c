use foldstream_model::{
    Document, Epoch, Fed, Guard, Sequence, StreamId, conformance,
    ports::{DocumentStore, StoredDocument},
};

use super::*;
use crate::{
    dynamodb::SortKey,
    testing::{Fixture, WallClock},
};

mod provisions;

fn tables(name: &str) -> DocumentTables {
    DocumentTables {
        name: name.to_owned(),
        keys: KeyAttributes { partition: KeyAttribute::of_strings("key"), sort: None },
        indexes: Vec::new(),
        create: true,
        max_write_units: None,
        provision: Provision::default(),
    }
}

fn documents(fixture: &Fixture, tables: DocumentTables) -> DynamoDocuments {
    DynamoDocuments::new(&fixture.connection, tables, Arc::new(WallClock), fixture.ids.clone())
}

fn write(key: &str, json: &str) -> DocumentWrite {
    let fed = Fed::Stream { stream: StreamId::new("s"), sequence: Sequence(1) };
    let document = Document::from_json(json.as_bytes(), None).unwrap();
    let put = StoredDocument { guard: Guard::new(Epoch(0), fed), document: Some(document) };
    DocumentWrite { key: DocumentKey::new(key), condition: Condition::Absent, put }
}

#[tokio::test]
async fn they_pass_the_suite() {
    let fixture = Fixture::new().await;
    conformance::document_store::run(&documents(&fixture, tables("test-{projection}-v{version}"))).await;
}

#[tokio::test]
async fn with_a_sort_key_the_key_of_a_document_is_cut_in_two() {
    let fixture = Fixture::new().await;
    let sort = SortKey { attribute: KeyAttribute::of_strings("order"), separator: "/".to_owned() };
    let keys = KeyAttributes { partition: KeyAttribute::of_strings("customer"), sort: Some(sort) };
    let by_order = SecondaryIndex {
        name: "by_status".to_owned(),
        partition: KeyAttribute::of_strings("status"),
        sort: None,
    };
    let documents = documents(&fixture, DocumentTables { keys, indexes: vec![by_order], ..tables("test") });
    let model = ReadModel::new("orders", 1);
    documents.open(&model).await.unwrap();
    let writes = vec![
        write("c-1/o-1", r#"{"status":"placed"}"#),
        write("c-1/o/2", "{}"),
        write("c-2", "{}"),
        write("c-3/o-1", r#"{"status":1}"#),
        write("c-4/o-1", r#"{"customer":"c-4"}"#),
    ];
    let written = documents.write(&model, writes).await.unwrap();
    let [Written::Done, Written::Done, refused @ ..] = &written[..] else { panic!("{written:?}") };
    let reasons = [
        "it has no \"/\" in it",
        "index=by_status field=status is no string",
        "a field has the name of an attribute",
    ];
    for (written, reason) in refused.iter().zip(reasons) {
        let Written::Rejected(error) = written else { panic!("{written:?}") };
        assert!(error.message().contains(reason), "{error}");
    }
    let listed = documents.list(&model, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["c-1/o-1", "c-1/o/2"]);
}

#[tokio::test]
async fn keys_that_are_numbers_are_exact_and_sorted_as_numbers() {
    let fixture = Fixture::new().await;
    let sort = SortKey { attribute: KeyAttribute::of_numbers("order"), separator: "/".to_owned() };
    let keys = KeyAttributes { partition: KeyAttribute::of_numbers("year"), sort: Some(sort) };
    let by_total = SecondaryIndex {
        name: "by_total".to_owned(),
        partition: KeyAttribute::of_strings("status"),
        sort: Some(KeyAttribute::of_numbers("total")),
    };
    let documents = documents(&fixture, DocumentTables { keys, indexes: vec![by_total], ..tables("test") });
    let model = ReadModel::new("orders", 1);
    documents.open(&model).await.unwrap();
    let longest = "12345678901234567890123456789012345678";
    let good = ["2026/9", "2026/10", "2026/-1.5", &format!("2026/{longest}"), "0/0"];
    let placed = r#"{"status":"placed","total":4.5}"#;
    let writes = good.iter().map(|key| write(key, placed)).collect();
    let written = documents.write(&model, writes).await.unwrap();
    assert!(written.iter().all(|written| matches!(written, Written::Done)), "{written:?}");
    let keys: Vec<_> = good.iter().map(|key| DocumentKey::new(*key)).collect();
    assert!(documents.read(&model, &keys).await.unwrap().iter().all(Option::is_some));
    let listed = documents.list(&model, None, 10).await.unwrap();
    let of_2026: Vec<_> = listed.iter().filter_map(|(key, _)| key.as_str().strip_prefix("2026/")).collect();
    assert_eq!(of_2026, ["-1.5", "9", "10", longest]);
    for bad in ["2026/09", "2026/1e1", "2026/x", &format!("2026/{longest}9"), "x/1", "2026/"] {
        let written = documents.write(&model, vec![write(bad, "{}")]).await.unwrap();
        let [Written::Rejected(error)] = &written[..] else { panic!("{bad}: {written:?}") };
        assert!(error.message().contains("DynamoDB takes no such key"), "{error}");
    }
    for total in ["\"4.5\"", "null"] {
        let json = format!(r#"{{"status":"placed","total":{total}}}"#);
        let written = documents.write(&model, vec![write("2026/7", &json)]).await.unwrap();
        let [Written::Rejected(error)] = &written[..] else { panic!("{written:?}") };
        assert!(error.message().contains("index=by_total field=total is no number"), "{error}");
    }
}

#[tokio::test]
async fn a_table_whose_keys_hold_something_else_is_refused() {
    let fixture = Fixture::new().await;
    let model = ReadModel::new("orders", 1);
    documents(&fixture, tables("test")).open(&model).await.unwrap();
    let keys = KeyAttributes { partition: KeyAttribute::of_numbers("key"), sort: None };
    let error =
        documents(&fixture, DocumentTables { keys, ..tables("test") }).open(&model).await.unwrap_err();
    assert!(error.message().contains("table=test attribute=key type=S expected=N"), "{error}");
}

#[tokio::test]
async fn an_item_that_is_too_large_is_refused_with_its_size_and_key() {
    let fixture = Fixture::new().await;
    let documents = documents(&fixture, tables("test"));
    let model = ReadModel::new("orders", 1);
    documents.open(&model).await.unwrap();
    let text = |bytes: usize| format!("{{\"text\":\"{}\"}}", "x".repeat(bytes));
    let written =
        documents.write(&model, vec![write("fits", &text(409_000)), write("large", &text(410_000))]).await;
    let written = written.unwrap();
    let [Written::Done, Written::Rejected(error)] = &written[..] else { panic!("{written:?}") };
    assert!(error.message().contains("key=large bytes=410"), "{error}");
}

#[tokio::test]
async fn a_table_that_was_made_beforehand_is_checked_and_left() {
    let fixture = Fixture::new().await;
    let model = ReadModel::new("orders", 1);
    let made = documents(&fixture, DocumentTables { create: false, ..tables("test") });
    let error = made.open(&model).await.unwrap_err();
    assert!(error.message().contains("there is no such table: table=test"), "{error}");
    documents(&fixture, tables("test")).open(&model).await.unwrap();
    made.open(&model).await.unwrap();
    let error = made.remove(&model).await.unwrap_err();
    assert!(error.message().contains("is left to you"), "{error}");
    let keys = KeyAttributes { partition: KeyAttribute::of_strings("id"), sort: None };
    let other = documents(&fixture, DocumentTables { keys, ..tables("test") });
    let error = other.open(&model).await.unwrap_err();
    assert!(error.message().contains("the table has another key: table=test key=key expected=id"), "{error}");
}

#[tokio::test]
async fn an_item_of_somebody_else_is_refused() {
    let fixture = Fixture::new().await;
    let documents = documents(&fixture, tables("test"));
    let model = ReadModel::new("orders", 1);
    documents.open(&model).await.unwrap();
    let item = Item::from([("key".to_owned(), AttributeValue::S("a".to_owned()))]);
    fixture.connection.dynamodb().put_item().table_name("test").set_item(Some(item)).send().await.unwrap();
    let error = documents.read(&model, &[DocumentKey::new("a")]).await.unwrap_err();
    assert!(error.message().contains("was not written by foldstream: key=a"), "{error}");
}
