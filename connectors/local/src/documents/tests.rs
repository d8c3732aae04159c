use std::sync::Arc;

use foldstream_model::{
    Document, DocumentKey, Epoch, ErrorKind, Fed, Guard, Map, ReadModel, Sequence, StreamId, Value,
    conformance,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};

use super::MAX_DOCUMENT_BYTES;
use crate::{NullDocuments, testing::Fixture};

fn write(key: &str, text: &str) -> DocumentWrite {
    let fed = Fed::Stream { stream: StreamId::new("s"), sequence: Sequence(1) };
    let fields = Map::from_iter([("text".into(), Value::from(text))]);
    let document = Document { fields: Arc::new(fields), ..Document::default() };
    let put = StoredDocument { guard: Guard::new(Epoch(0), fed), document: Some(document) };
    DocumentWrite { key: DocumentKey::new(key), condition: Condition::Absent, put }
}

#[tokio::test]
async fn it_passes_the_suite() {
    let fixture = Fixture::new();
    conformance::document_store::run(&*fixture.store.documents()).await;
    conformance::document_store::run(&*fixture.store.documents()).await;
}

#[tokio::test]
async fn a_document_beyond_the_limit_is_rejected_with_its_size() {
    let fixture = Fixture::new();
    let model = ReadModel::new("orders", 1);
    let frame = "{\"text\":\"\"}".len();
    let writes = vec![
        write("fits", &"x".repeat(MAX_DOCUMENT_BYTES - frame)),
        write("large", &"x".repeat(MAX_DOCUMENT_BYTES - frame + 1)),
    ];
    let outcomes = fixture.store.documents().write(&model, writes).await.unwrap();
    let [Written::Done, Written::Rejected(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(error.kind(), ErrorKind::Poison);
    assert!(error.message().contains("key=large bytes=4194305 limit=4194304"), "{error}");
}

#[tokio::test]
async fn keys_may_be_anything_that_is_text() {
    let fixture = Fixture::new();
    let model = ReadModel::new("orders", 1);
    let keys = ["", "\0", "a\0", "a\0b", "\u{10ffff}"];
    let writes = keys.iter().map(|key| write(key, key)).collect();
    fixture.store.documents().write(&model, writes).await.unwrap();
    let listed = fixture.store.documents().list(&model, None, 9).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys);
    let behind = fixture.store.documents().list(&model, Some(&DocumentKey::new("")), 1).await.unwrap();
    assert_eq!(behind[0].0.as_str(), "\0");
}

#[tokio::test]
async fn hostile_names_of_read_models_reach_no_other() {
    let fixture = Fixture::new();
    let documents = fixture.store.documents();
    let names = [
        "orders",
        "Orders",
        "a\"; DROP TABLE store; --",
        "a'b",
        "sqlite_master",
        "events",
        "documents_1",
        "nul\0byte",
        "",
        "日本",
    ];
    for name in names {
        documents.write(&ReadModel::new(name, 1), vec![write("key", name)]).await.unwrap();
    }
    for name in names {
        let read = documents.read(&ReadModel::new(name, 1), &[DocumentKey::new("key")]).await.unwrap();
        let document = read[0].as_ref().unwrap().document.as_ref().unwrap();
        assert_eq!(document.fields.get("text"), Some(&Value::from(name)));
        documents.remove(&ReadModel::new(name, 1)).await.unwrap();
    }
    let left: i64 = fixture
        .tool()
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'documents\\__%' ESCAPE '\\'",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0, "removed read models leave no tables");
}

#[tokio::test]
async fn a_users_tool_finds_live_documents_by_name() {
    let fixture = Fixture::new();
    let model = ReadModel::new("orders", 3);
    let mut deleted = write("gone", "");
    deleted.put.document = None;
    let writes = vec![write("o-1", "hello"), deleted];
    fixture.store.documents().write(&model, writes).await.unwrap();
    let query = "SELECT group_concat(key || '=' || (fields ->> 'text')) FROM orders_v3";
    let found: String = fixture.tool().query_row(query, (), |row| row.get(0)).unwrap();
    assert_eq!(found, "o-1=hello");
}

#[tokio::test]
async fn the_store_that_forgets_takes_everything_and_holds_nothing() {
    let model = ReadModel::new("orders", 1);
    let outcomes = NullDocuments.write(&model, vec![write("a", ""), write("b", "")]).await.unwrap();
    assert!(matches!(outcomes[..], [Written::Done, Written::Done]));
    assert_eq!(NullDocuments.read(&model, &[DocumentKey::new("a")]).await.unwrap(), [None]);
}
