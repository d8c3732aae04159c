//! Projectors keep what their port promises.

use std::sync::Arc;

use foldstream_config::Config;
use foldstream_model::{
    Event, EventId, EventType, Payload, SchemaVersion, Sequence, StreamId, Timestamp, Value,
    conformance::projector,
    ports::{Projector, StateCarried},
};
use foldstream_tests::projectors::{Kind, TYPE, Toy};

const CONFIG: &str = r#"
config_version: 1
sources:
  shop: { kind: local, stream: shop }
projections:
  tags:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - event: Added
        keys: =payload.tags
        when: =payload.n > 0
        add: { n: =payload.n, events: 1 }
        max: { last: =event.recorded_at }
      - event: Added
        key: =event.stream_id
        add: { n: =payload.n }
"#;

fn carried(sequence: u64, payload: &'static str) -> StateCarried {
    let event = Event {
        stream_id: StreamId::new("s-1"),
        sequence: Sequence(sequence),
        id: EventId::new(format!("s-1-{sequence}")),
        event_type: EventType::new(TYPE),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_seconds(1_700_000_000),
        effective_at: Timestamp::from_seconds(1_600_000_000),
        payload: Payload::new(payload.into()),
        metadata: Payload::default(),
    };
    StateCarried { event: Arc::new(event), before: Value::Null, state: Value::Null }
}

fn sample() -> Vec<StateCarried> {
    vec![
        carried(1, r#"{"n":3,"tags":["a","b","a"],"unread":[1,2]}"#),
        carried(2, r#"{"n":0,"tags":["c"]}"#),
        carried(3, r#"{"n":2.50,"tags":[]}"#),
    ]
}

#[test]
fn declared_projectors_conform() {
    let config = Config::read("tags.yaml", CONFIG, &|_| None).unwrap();
    let compiled = foldstream_declarative::compile(&config).unwrap();
    for declared in compiled.projectors.values() {
        let declared: &dyn Projector = declared.as_ref();
        projector::run(declared, &sample());
    }
}

#[test]
fn the_projectors_of_the_tests_conform() {
    for kind in [Kind::Collect, Kind::Sum, Kind::Feed] {
        projector::run(Toy::new(kind).as_ref(), &sample());
    }
}
