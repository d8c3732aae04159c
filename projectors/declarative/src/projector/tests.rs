use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use foldstream_config::Config;
use foldstream_model::ports::{Projector, StateCarried, Touch};
use foldstream_model::{
    Document, ErrorKind, Event, EventId, EventType, FieldMask, Map, Payload, SchemaVersion, Sequence,
    StreamId, Timestamp, Value,
};
use proptest::prelude::*;

use super::DeclaredProjector;
use crate::compile::compile;

fn projector(ordering: &str, handlers: &str) -> Arc<DeclaredProjector> {
    let text = format!(
        "config_version: 1\nsources: {{ s: {{ kind: local }} }}\nprojections:\n  p:\n    version: 1\n    source: s\n    ordering: {ordering}\n    handlers:\n{handlers}"
    );
    let config =
        Config::read("foldstream.yaml", &text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]));
    let compiled = compile(&config).unwrap_or_else(|found| panic!("{}", found[0]));
    Arc::clone(compiled.projectors.values().next().unwrap())
}

fn event(projector: &DeclaredProjector, event_type: &str, payload: &str) -> StateCarried {
    let event_type = EventType::new(event_type);
    let mut payload = Payload::new(Bytes::copy_from_slice(payload.as_bytes()));
    payload.parse(&projector.reads(&event_type).payload).unwrap();
    let event = Event {
        stream_id: StreamId::new("o-1"),
        sequence: Sequence(1),
        id: EventId::new("e"),
        event_type,
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::EPOCH,
        effective_at: Timestamp::EPOCH,
        payload,
        metadata: Payload::default(),
    };
    StateCarried { event: Arc::new(event), before: Value::Null, state: Value::Null }
}

fn touch(projector: &DeclaredProjector, payload: &str) -> Vec<Touch> {
    let mut touches = Vec::new();
    projector.touch(&event(projector, "A", payload), &mut touches).unwrap();
    touches
}

fn document(text: &str) -> Option<Document> {
    Some(Document::from_json(text.as_bytes(), None).unwrap())
}

fn applied(touch: &Touch, before: Option<Document>) -> Option<String> {
    let mut document = before;
    touch.change.apply(&mut document).unwrap();
    document.map(|document| document.to_canonical_json())
}

#[test]
fn doubles_of_keys_count_once_and_no_keys_touch_nothing() {
    let projector = projector("commutative", "      - { event: A, keys: =payload.tags, add: { n: 1 } }\n");
    let keys = |payload: &str| {
        touch(&projector, payload).into_iter().map(|touch| touch.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(keys(r#"{"tags":["b","a","b"]}"#), ["a", "b"]);
    assert!(keys(r#"{"tags":[]}"#).is_empty());
    assert!(keys("{}").is_empty());
}

#[test]
fn all_handlers_of_an_event_on_one_document_are_one_touch_in_the_order_of_the_file() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: =payload.from, set: { last: from }, add: { n: 1 } }
      - { event: [A, B], key: =payload.to, set: { last: to }, append: { seen: =document.n } }
",
    );
    let touches = touch(&projector, r#"{"from":"x","to":"x"}"#);
    assert_eq!(touches.len(), 1);
    // The second handler sees the document as it was before the event, not what the first has made.
    assert_eq!(applied(&touches[0], document(r#"{"n":7}"#)).unwrap(), r#"{"last":"to","n":8,"seen":[7]}"#);
    assert_eq!(touch(&projector, r#"{"from":"x","to":"y"}"#).len(), 2);
}

#[test]
fn an_application_can_be_repeated_on_other_documents() {
    let projector = projector(
        "commutative",
        "      - { event: A, key: k, add: { n: =payload.n }, max: { m: =payload.n } }\n",
    );
    let touches = touch(&projector, r#"{"n":2}"#);
    assert_eq!(applied(&touches[0], None).unwrap(), r#"{"m":2,"n":2}"#);
    assert_eq!(applied(&touches[0], document(r#"{"m":5,"n":5}"#)).unwrap(), r#"{"m":5,"n":7}"#);
    assert_eq!(applied(&touches[0], None).unwrap(), r#"{"m":2,"n":2}"#);
}

#[test]
fn a_condition_is_asked_before_the_key_and_one_on_the_document_when_it_is_known() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: =payload.key, when: =has(payload.key), set: { a: 1 } }
      - { event: A, key: other, when: =document.status == \"placed\", set: { status: gone } }
",
    );
    let touches = touch(&projector, "{}");
    assert_eq!(touches.len(), 1);
    assert_eq!(applied(&touches[0], document(r#"{"status":"placed"}"#)).unwrap(), r#"{"status":"gone"}"#);
    assert_eq!(applied(&touches[0], document("{}")).unwrap(), "{}");
    assert_eq!(applied(&touches[0], None), None);
}

#[test]
fn what_makes_nothing_makes_no_document() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: k, unset: [a], min: { b: =payload.b }, delete_entry: { c: x } }\n",
    );
    assert_eq!(applied(&touch(&projector, "{}")[0], None), None);
}

#[test]
fn a_deleted_document_is_gone_and_can_be_made_anew_by_the_same_event() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: k, delete_document: true }
      - { event: A, key: k, when: =has(payload.again), set: { a: =document.a } }
",
    );
    assert_eq!(applied(&touch(&projector, "{}")[0], document("{\"a\":1}")), None);
    let again = touch(&projector, r#"{"again":true}"#);
    assert_eq!(applied(&again[0], document("{\"a\":1,\"b\":2}")).unwrap(), r#"{"a":1}"#);
}

#[test]
fn poison_of_a_known_document_shows_when_it_is_applied_and_of_a_key_at_once() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: =payload.key, when: =payload.on, set: { a: =payload.n + 1 } }\n",
    );
    for (payload, message) in [
        (
            r#"{"key":"k","on":true}"#,
            "projection=p handler=foldstream.yaml:9 operation=set path=a: + needs two numbers",
        ),
        (r#"{"key":"k","n":1}"#, "projection=p handler=foldstream.yaml:9 when: a condition is null"),
        (r#"{"key":"k","on":true,"n":99999999999999999999999999999999999999.5}"#, "at most 38 digits"),
    ] {
        let error = touch(&projector, payload)[0].change.apply(&mut None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poison);
        assert!(error.message().contains(message), "{error}");
    }
    let error = projector.touch(&event(&projector, "A", r#"{"on":true}"#), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poison);
    assert!(error.message().ends_with("handler=foldstream.yaml:9 key: the key is null"), "{error}");
}

#[test]
fn only_the_fields_that_handlers_read_are_asked_for() {
    let projector = projector(
        "per_stream",
        "      - { event: A, key: =payload.id, when: =event.metadata.user == \"x\", set: { a: =payload.b.c } }
      - { event: B, key: k, set: { all: =payload } }
",
    );
    let reads = projector.reads(&EventType::new("A"));
    let kept = reads.payload.pruned(&Value::parse(br#"{"id":1,"b":{"c":2,"d":3},"e":4}"#).unwrap());
    assert_eq!(kept.to_canonical_json(), r#"{"b":{"c":2},"id":1}"#);
    assert!(!reads.metadata.is_all() && projector.reads(&EventType::new("B")).payload.is_all());
    assert_eq!(projector.event_types().len(), 2);
}

/// What handlers of all shapes make of a payload, poison included, when this much of it was parsed.
fn outcome(projector: &DeclaredProjector, payload: &str, mask: &FieldMask) -> Vec<String> {
    let mut carried = event(projector, "A", "{}");
    let value = Value::parse_masked(payload.as_bytes(), mask).unwrap();
    Arc::get_mut(&mut carried.event).unwrap().payload.value = value;
    let mut touches = Vec::new();
    if let Err(error) = projector.touch(&carried, &mut touches) {
        return vec![error.to_string()];
    }
    let outcome = |touch: Touch| {
        let mut document = document(r#"{"n":1}"#);
        let applied = touch.change.apply(&mut document).map_err(|error| error.to_string());
        format!("{} {applied:?} {document:?}", touch.key)
    };
    touches.into_iter().map(outcome).collect()
}

const SHAPES: [&str; 12] = [
    "key: =payload.a.b
        set: { x: 1 }",
    "key: k
        set: { x: =payload.a.b }",
    "key: k
        when: =has(payload.a.b)
        set: { x: =payload.c }",
    "keys: =payload.c.map(i, string(i) + string(payload.a))
        add: { n: 1 }",
    "keys: =payload.c
        add: { n: =size(payload.a) }",
    "key: k
        when: =exists(payload.b.a)
        append:
          l: =payload.b[payload.a]",
    "key: k
        put_entry: { m: { key: =payload.a, value: { deep: =payload.b.c } } }",
    "key: k
        set: { x: =payload }",
    "key: k
        set: { x: =payload.a }
        latest_by: =payload.b.c",
    "key: k
        when: '=payload.a in payload.c || payload.b == {\"a\": payload.c}'
        unset: [n]",
    "key: k
        set: { x: =document.n + payload.a }",
    "key: k
        when: =document.n == coalesce(payload.a, payload.b.c)
        delete_document: true",
];

fn object(fields: BTreeMap<Arc<str>, Value>) -> Value {
    Value::from(Map::from_iter(fields))
}

fn payloads() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..3).prop_map(Value::from),
        "[abc]{0,2}".prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]".prop_map(Arc::from), inner, 0..3).prop_map(object),
        ]
    });
    prop::collection::btree_map("[abcd]".prop_map(Arc::from), inner, 0..4).prop_map(object)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_not_asked_for_makes_no_difference(payload in payloads(), shape in prop::sample::select(&SHAPES[..])) {
        let projector = projector("per_stream", &format!("      - event: A\n        {shape}\n"));
        let text = payload.to_canonical_json();
        let asked = projector.reads(&EventType::new("A")).payload;
        prop_assert_eq!(outcome(&projector, &text, &asked), outcome(&projector, &text, &FieldMask::ALL));
    }
}
