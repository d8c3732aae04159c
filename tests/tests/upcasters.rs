//! Upcasters from the configuration to the documents, through the whole line.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;

use bytes::Bytes;
use foldstream_config::{Config, settings::Name};
use foldstream_declarative::{Compiled, compile};
use foldstream_model::{
    Epoch, EventType, Lot, OnFailure, Ordering, ProjectionId, SchemaVersion, StreamId,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent, Reducer, Upcaster},
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec, SourceSpec},
    deciding::Decider,
    rows::Rows,
    upcast::OnNewerSchema,
    worker::Outcome,
};
use foldstream_tests::{bed::Bed, projectors::Kind};

const CONFIG: &str = r"
config_version: 1
sources:
  shop:
    kind: local
    upcasters:
      - { event: Placed, from: 1, rename: { client: customer } }
      - { event: Placed, from: 2, set: { total: =payload.net + payload.tax, currency: EUR } }
reducers:
  order:
    - { event: Placed, set: { total: =payload.total } }
    - { event: Added, add: { total: =payload.price } }
projections:
  orders:
    version: 1
    source: shop
    ordering: per_stream
    reducer: order
    handlers:
      - event: Placed
        key: =event.stream_id
        set: { customer: =payload.customer, currency: =payload.currency, stored: =event.schema_version }
      - event: [Placed, Added]
        key: =event.stream_id
        set: { total: =state.total }
  customers:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - { event: Placed, key: =payload.customer, add: { total: =payload.total } }
";

/// The first event of an order, of each schema version.
const STREAMS: [(&str, u32, &str); 3] = [
    ("o-1", 1, r#"{"client":"ada","net":8.00,"tax":1.52}"#),
    ("o-2", 2, r#"{"customer":"ada","net":2,"tax":0.38}"#),
    ("o-3", 3, r#"{"customer":"bob","total":7,"currency":"CHF"}"#),
];

fn compiled() -> Compiled {
    let config = Config::read("shop.yaml", CONFIG, &|_| None).unwrap();
    compile(&config).unwrap()
}

async fn append(bed: &Bed, stream: &str, event_type: &str, version: u32, payload: &'static str) {
    let event = NewEvent {
        event_type: EventType::new(event_type),
        schema_version: SchemaVersion(version),
        payload: Bytes::from_static(payload.as_bytes()),
        ..bed.event(0)
    };
    let (stream, expected) = (StreamId::new(stream), ExpectedSequence::Any);
    let appends = vec![Append { stream, expected, events: vec![event] }];
    assert!(matches!(bed.store.events().append(appends).await.unwrap(), Appended::Done(_)));
}

fn source(bed: &Bed, compiled: &Compiled) -> SourceSpec {
    let declared = &compiled.upcasters[&Name::new("shop").unwrap()];
    let upcasters = declared.iter().map(|upcaster| Arc::clone(upcaster) as Arc<dyn Upcaster>).collect();
    SourceSpec { upcasters, ..bed.source() }
}

fn projections(bed: &Bed, compiled: &Compiled) -> Vec<ProjectionSpec> {
    let named = |name: &str| Name::new(name).unwrap();
    let order = Arc::clone(&compiled.reducers[&named("order")]) as Arc<dyn Reducer>;
    let spec = |name: &str, ordering, reducer| ProjectionSpec {
        projector: Arc::clone(&compiled.projectors[&named(name)]) as _,
        reducer,
        ..bed.projection(name, ordering, Kind::Collect)
    };
    let reducer = NamedReducer { name: "order".into(), reducer: order };
    vec![spec("orders", Ordering::PerStream, Some(reducer)), spec("customers", Ordering::Commutative, None)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_every_version_reach_the_documents_as_if_they_were_of_the_newest() {
    let (bed, compiled) = (Bed::new(2).await, compiled());
    for (stream, version, payload) in STREAMS {
        append(&bed, stream, "Placed", version, payload).await;
        append(&bed, stream, "Added", 1, r#"{"price":0.10}"#).await;
    }
    bed.relay().await;
    let projections = || projections(&bed, &compiled);
    let outcome = bed.catch_up_from(source(&bed, &compiled), projections()).await.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    // What is folded again from the event store is lifted there.
    append(&bed, "o-1", "Added", 1, r#"{"price":1}"#).await;
    bed.relay().await;
    bed.catch_up_from(source(&bed, &compiled), projections()).await.unwrap();
    let orders = bed.documents("orders").await;
    assert_eq!(orders["o-1"], r#"{"currency":"EUR","customer":"ada","stored":1,"total":10.62}"#);
    assert_eq!(orders["o-2"], r#"{"currency":"EUR","customer":"ada","stored":2,"total":2.48}"#);
    assert_eq!(orders["o-3"], r#"{"currency":"CHF","customer":"bob","stored":3,"total":7.1}"#);
    let customers = bed.documents("customers").await;
    assert_eq!((&*customers["ada"], &*customers["bob"]), (r#"{"total":11.9}"#, r#"{"total":7}"#));
}

/// Lets the parked streams of both projections come back.
async fn redrive_streams(bed: &Bed) {
    let (rows, decider) = (Rows::new(bed.store.checkpoints()), Decider::new(bed.source(), bed.services()));
    for name in ["orders", "customers"] {
        let lot = Lot::of_streams(&ProjectionId::new(name, 1), Epoch::default());
        let parked = rows.parked_streams(&lot).await.unwrap();
        assert_eq!(parked.len(), 1, "{name}: {parked:?}");
        decider.let_back(&lot, &parked[0], None).await.unwrap();
    }
}

/// Of `o-1` the second event is newer than the upcasters lead to; `o-2` is of a type without upcasters.
async fn newer(on_newer_schema: OnNewerSchema, on_failure: OnFailure) -> (Bed, Outcome) {
    let (bed, compiled) = (Bed::new(1).await, compiled());
    append(&bed, "o-1", "Placed", 3, r#"{"customer":"ada","total":1}"#).await;
    append(&bed, "o-1", "Placed", 4, r#"{"client":"bob","sum":2}"#).await;
    append(&bed, "o-1", "Added", 1, r#"{"price":4}"#).await;
    append(&bed, "o-2", "Added", 9, r#"{"price":1}"#).await;
    bed.relay().await;
    let outcome = bed.catch_up_from(
        SourceSpec { on_newer_schema, ..source(&bed, &compiled) },
        projections(&bed, &compiled).into_iter().map(|spec| ProjectionSpec { on_failure, ..spec }).collect(),
    );
    let outcome = outcome.await.unwrap();
    (bed, outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_handle_a_newer_event_wait_before_it_whatever_becomes_of_others() {
    for on_failure in [OnFailure::Stop, OnFailure::Park, OnFailure::Discard] {
        let (bed, outcome) = newer(OnNewerSchema::Wait, on_failure).await;
        assert_eq!(outcome.stops.len(), 2, "{:?}", outcome.stops);
        for stopped in &outcome.stops {
            let stop = stopped.stop.to_string();
            assert!(stop.contains("schema_version=4 is newer than 3"), "{stop}");
        }
        assert_eq!(bed.documents("customers").await["ada"], r#"{"total":1}"#);
        assert!(!bed.documents("orders").await.contains_key("o-2"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_a_newer_event_is_parked_and_comes_back_when_upcasters_lead_there() {
    let (bed, outcome) = newer(OnNewerSchema::Park, OnFailure::Discard).await;
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let orders = bed.documents("orders").await;
    assert_eq!(orders["o-1"], r#"{"currency":null,"customer":"ada","stored":3,"total":1}"#);
    assert_eq!(orders["o-2"], r#"{"total":1}"#);
    redrive_streams(&bed).await;
    let leading = Config::read("shop.yaml", &CONFIG.replace("reducers:", LEADING), &|_| None).unwrap();
    let compiled = compile(&leading).unwrap();
    let spec = SourceSpec { on_newer_schema: OnNewerSchema::Park, ..source(&bed, &compiled) };
    let outcome = bed.catch_up_from(spec, projections(&bed, &compiled)).await.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let documents = bed.documents("orders").await;
    assert_eq!(documents["o-1"], r#"{"currency":null,"customer":"bob","stored":4,"total":6}"#);
    assert_eq!(bed.documents("customers").await["bob"], r#"{"total":2}"#);
}

/// Lifts to version 4, in which nothing has changed but two names that older events do not have.
const LEADING: &str = "      - { event: Placed, from: 3, rename: { customer: client, total: sum } }
      - { event: Placed, from: 4, rename: { client: customer, sum: total } }
reducers:";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_event_is_ignored_by_folds_and_projections() {
    let (bed, outcome) = newer(OnNewerSchema::Ignore, OnFailure::Stop).await;
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let orders = bed.documents("orders").await;
    assert_eq!(orders["o-1"], r#"{"currency":null,"customer":"ada","stored":3,"total":5}"#);
    assert_eq!(bed.documents("customers").await["ada"], r#"{"total":1}"#);
}
