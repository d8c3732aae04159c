use foldstream_model::{
    ErrorKind, EventId, EventType, Payload, Position, SchemaVersion, Sequence, StreamId, Value,
};
use proptest::prelude::*;

use super::*;

/// Takes the whole item for the payload of an event.
struct Whole;

impl Decoder for Whole {
    fn decode(&self, record: &Record, _: &dyn PayloadReads) -> Result<Option<Event>> {
        let item = Value::parse(&record.data).map_err(|error| Error::poison(error.to_string()))?;
        let Some(stream) = item.get("pk").and_then(Value::as_text) else { return Ok(None) };
        Ok(Some(Event {
            stream_id: StreamId::new(stream),
            sequence: Sequence(1),
            id: EventId::new("e"),
            event_type: EventType::new("T"),
            schema_version: SchemaVersion(1),
            recorded_at: record.arrived_at,
            effective_at: record.arrived_at,
            payload: Payload::new(record.data.clone()),
            metadata: Payload::default(),
        }))
    }
}

fn decode(on_change: OnChange, data: &str) -> Result<Option<Event>> {
    let record = Record {
        position: Position::new(1),
        partition_key: "k".into(),
        arrived_at: Timestamp::from_seconds(9),
        data: Bytes::copy_from_slice(data.as_bytes()),
    };
    ChangeDecoder::new(Arc::new(Whole), on_change, on_change).decode(&record, &())
}

fn change(name: &str, images: &str) -> String {
    format!(
        r#"{{"awsRegion":"eu-west-1","eventID":"1","eventName":"{name}","userIdentity":null,"tableName":"shop",
           "dynamodb":{{"ApproximateCreationDateTime":1795271722739,"Keys":{{"pk":{{"S":"a"}}}},{images}}}}}"#
    )
}

#[test]
fn an_inserted_item_is_read_in_plain_json() {
    let image = r#""NewImage":{"pk":{"S":"a \"b\" \u00e9"},"n":{"N":"12345678901234567890.10"},"big":{"N":"1E+3"},"b":{"BOOL":true},
        "none":{"NULL":true},"list":{"L":[{"S":""},{"L":[]},{"M":{}}]},"map":{"M":{"x":{"M":{"y":{"N":"-1"}}}}},"bytes":{"B":"aGk="},
        "texts":{"SS":["x","y"]},"numbers":{"NS":["1","2.5"]}}"#;
    let event = decode(OnChange::Ignore, &change("INSERT", image)).unwrap().unwrap();
    let expected = r#"{"pk":"a \"b\" é","n":12345678901234567890.10,"big":1E+3,"b":true,"none":null,"list":["",[],{}],
        "map":{"x":{"y":-1}},"bytes":"aGk=","texts":["x","y"],"numbers":[1,2.5]}"#;
    let read = Value::parse(&event.payload.raw).unwrap();
    assert_eq!(read, Value::parse(expected.as_bytes()).unwrap());
    assert_eq!(event.recorded_at, Timestamp::from_micros(1_795_271_722_739_000), "when it was inserted");
}

#[test]
fn a_record_that_is_no_change_is_an_item_already() {
    let event = decode(OnChange::Ignore, r#"{"pk":"a","eventName":"Placed"}"#).unwrap().unwrap();
    assert_eq!(event.recorded_at, Timestamp::from_seconds(9));
}

#[test]
fn changed_and_removed_items_are_no_events_or_are_set_aside() {
    for (name, images) in [
        ("MODIFY", r#""NewImage":{"pk":{"S":"a"}},"OldImage":{"pk":{"S":"a"}}"#),
        ("REMOVE", r#""OldImage":{"pk":{"S":"a"}}"#),
    ] {
        assert!(decode(OnChange::Ignore, &change(name, images)).unwrap().is_none());
        let error = decode(OnChange::Park, &change(name, images)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poison);
        assert!(error.message().contains("changed or removed in its table: stream=a sequence=1"), "{error}");
        let other = images.replace("pk", "id");
        assert!(decode(OnChange::Park, &change(name, &other)).unwrap().is_none(), "it is no event");
    }
    let error = decode(OnChange::Park, &change("REMOVE", r#""SizeBytes":1"#)).unwrap_err();
    assert!(error.message().contains("partition_key=k"), "{error}");
}

#[test]
fn what_is_no_item_says_why() {
    for (image, why) in [
        (r#""NewImage":{"pk":"a"}"#, "a value with its type"),
        (r#""NewImage":{"pk":{}}"#, "a value without a type"),
        (r#""NewImage":{"pk":{"X":1}}"#, "unknown type \"X\""),
        (r#""NewImage":{"pk":{"S":1}}"#, "expected a text, found 1"),
        (r#""NewImage":{"pk":{"N":"one"}}"#, "not a number: \"one\""),
        (r#""NewImage":{"pk":{"N":" 1"}}"#, "not a number"),
        (r#""NewImage":{"pk":{"S":"a","N":"1"}}"#, "two types"),
        (r#""Keys2":{}"#, "does not hold new images"),
    ] {
        let error = decode(OnChange::Ignore, &change("INSERT", image)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poison);
        assert!(error.message().contains(why), "{error}");
    }
    let error = decode(OnChange::Ignore, &change("EXPIRE", r#""NewImage":{}"#)).unwrap_err();
    assert!(error.message().contains("eventName=EXPIRE"), "{error}");
    assert_eq!(decode(OnChange::Ignore, "no").unwrap_err().kind(), ErrorKind::Poison);
}

/// A value and the same in DynamoDB's form.
fn both() -> impl Strategy<Value = (serde_json::Value, serde_json::Value)> {
    use serde_json::json;
    let leaf = prop_oneof![
        Just((json!(null), json!({"NULL": true}))),
        any::<bool>().prop_map(|value| (json!(value), json!({"BOOL": value}))),
        any::<i64>().prop_map(|number| (json!(number), json!({"N": number.to_string()}))),
        ".{0,6}".prop_map(|text| (json!(text), json!({"S": text}))),
        proptest::collection::vec(".{0,3}", 1..3).prop_map(|texts| (json!(texts), json!({"SS": texts}))),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|list| {
                let (plain, typed): (Vec<_>, Vec<_>) = list.into_iter().unzip();
                (json!(plain), json!({"L": typed}))
            }),
            proptest::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| {
                let names = map.keys().cloned();
                let plain: serde_json::Map<_, _> =
                    names.zip(map.values().map(|(plain, _)| plain.clone())).collect();
                let names = map.keys().cloned();
                let typed: serde_json::Map<_, _> =
                    names.zip(map.values().map(|(_, typed)| typed.clone())).collect();
                (json!(plain), json!({"M": typed}))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_item_is_read_as_it_is((plain, typed) in both()) {
        let item = serde_json::json!({ "x": typed });
        let raw = RawValue::from_string(item.to_string()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&plain::json(&raw).unwrap()).unwrap();
        prop_assert_eq!(read, serde_json::json!({ "x": plain }));
    }
}
