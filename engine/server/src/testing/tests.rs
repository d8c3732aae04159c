use std::sync::Arc;

use bytes::Bytes;
use foldstream_config::Config;
use foldstream_config::settings::Name;
use foldstream_declarative::compile;
use foldstream_model::{Event, EventId, EventType, Payload, SchemaVersion, Sequence, StreamId, Timestamp};

use super::{Failure, Outcome, record, run};

const ORDERS: &str = include_str!("../../../../config/examples/orders.yaml");
const GIT_HISTORY: &str = include_str!("../../../../config/examples/git-history.yaml");

fn config(text: &str) -> Config {
    Config::read("foldstream.yaml", text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]))
}

fn outcomes(text: &str) -> Vec<Outcome> {
    let config = config(text);
    let compiled = compile(&config).unwrap_or_else(|found| panic!("{}", found[0]));
    run(&config, &compiled)
}

const SMALL: &str = "
config_version: 1
sources:
  shop: { kind: local, upcasters: [ { event: Placed, from: 1, set: { currency: EUR }, rename: { client: customer } } ] }
reducers:
  order:
    - event: Placed
      set: { total: 0 }
    - event: Added
      add: { total: =payload.price }
    - event: Emptied
      delete_state: true
projections:
  orders:
    version: 1
    source: shop
    ordering: per_stream
    reducer: order
    handlers:
      - event: [Placed, Added, Emptied]
        key: =event.stream_id
        set: { total: =state.total, at: =event.recorded_at, sequence: =event.sequence }
      - event: Placed
        key: =event.stream_id
        set: { customer: =payload.customer, currency: =payload.currency }
      - event: Removed
        key: =event.stream_id
        delete_document: true
  feed:
    version: 1
    source: shop
    ordering: global
    handlers:
      - event: Added
        key: all
        append: { prices: =payload.price }
tests:
";

#[track_caller]
fn assert_passes(tests: &str) {
    for outcome in outcomes(&format!("{SMALL}{tests}")) {
        assert_eq!(outcome.failures, [], "{}", outcome.test);
    }
}

fn failures(tests: &str) -> Vec<Failure> {
    outcomes(&format!("{SMALL}{tests}")).remove(0).failures
}

#[test]
fn the_examples_pass_their_own_tests() {
    for text in [ORDERS, GIT_HISTORY] {
        let outcomes = outcomes(text);
        assert!(!outcomes.is_empty());
        for outcome in outcomes {
            assert_eq!(outcome.failures, [], "{}", outcome.test);
        }
    }
}

#[test]
fn what_a_test_leaves_out_is_filled_in() {
    assert_passes(
        "
  - name: sequences and instants
    given:
      - { stream_id: o-1, type: Placed, schema_version: 2, payload: { customer: c } }
      - { stream_id: o-2, type: Placed, schema_version: 2, payload: { customer: c } }
      - { stream_id: o-1, type: Added, payload: { price: 1.50 } }
      - { stream_id: o-3, type: Placed, schema_version: 2, sequence: 7, recorded_at: 2026-05-01T00:00:00Z }
      - { stream_id: o-3, type: Added, payload: { price: 1 } }
    expect:
      orders/o-1: { total: 1.5, sequence: 2, at: \"2026-01-01T00:00:02.000000Z\" }
      orders/o-2: { total: 0, sequence: 1, at: \"2026-01-01T00:00:01.000000Z\" }
      orders/o-3: { sequence: 8, at: \"2026-05-01T00:00:01.000000Z\" }
      orders/o-4: null
",
    );
}

#[test]
fn old_schemas_are_lifted_states_begin_anew_and_documents_go() {
    assert_passes(
        "
  - name: lifted
    given:
      - { stream_id: o-1, type: Placed, payload: { client: c } }
      - { stream_id: o-1, type: Added, payload: { price: 3 } }
      - { stream_id: o-1, type: Emptied }
      - { stream_id: o-2, type: Placed, payload: { client: c } }
      - { stream_id: o-2, type: Removed }
    expect:
      orders/o-1: { customer: c, currency: EUR, total: null }
      orders/o-2: null
",
    );
}

#[test]
fn a_lifted_event_keeps_the_version_that_it_was_stored_with() {
    let small = SMALL
        .replace("upcasters: [", "upcasters: [ { event: Placed, from: 2, set: { tax: 0 } },")
        .replace("currency: =payload.currency", "version: =event.schema_version, tax: =payload.tax");
    let tests = "
  - name: chained
    given:
      - { stream_id: o-1, type: Placed, payload: { client: c } }
      - { stream_id: o-2, type: Placed, schema_version: 3, payload: { customer: c, tax: 2 } }
    expect:
      orders/o-1: { customer: c, tax: 0, version: 1 }
      orders/o-2: { customer: c, tax: 2, version: 3 }
";
    assert_eq!(outcomes(&format!("{small}{tests}"))[0].failures, []);
}

#[test]
fn an_event_newer_than_the_upcasters_cannot_be_taken_by_who_handles_it() {
    let given = "
  - name: newer
    given:
      - { stream_id: o-1, type: Placed, schema_version: 3, payload: { customer: c } }
      - { stream_id: o-1, type: Added, payload: { price: 1 } }
    expect: { orders/o-1: null, feed/all: { prices: [1] } }
";
    let found = failures(given);
    let [Failure::Poison { document, error, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(document, "orders/o-1");
    assert!(error.contains("schema_version=3 is newer than 2"), "{error}");
    assert_passes(&format!("{given}    parked: [orders/o-1]\n"));
}

#[test]
fn a_newer_event_waits_or_is_ignored_whatever_becomes_of_others() {
    let tests = "
  - name: newer
    given:
      - { stream_id: o-1, type: Placed, schema_version: 3, payload: { customer: c } }
      - { stream_id: o-1, type: Added, payload: { price: 1 } }
    expect: EXPECTED
";
    for (on_newer, expected) in [
        ("wait", "{ orders/o-1: null, feed/all: { prices: [1] } }\n    parked: [orders/o-1]"),
        ("park", "{ orders/o-1: null, feed/all: { prices: [1] } }\n    parked: [orders/o-1]"),
        ("ignore", "{ orders/o-1: { total: 1, customer: null }, feed/all: { prices: [1] } }"),
    ] {
        let small = SMALL
            .replace("    reducer: order\n", "    reducer: order\n    on_failure: discard\n")
            .replace("kind: local,", &format!("kind: local, on_newer_schema: {on_newer},"));
        let found = outcomes(&format!("{small}{}", tests.replace("EXPECTED", expected)));
        assert_eq!(found[0].failures, [], "{on_newer}");
    }
}

#[test]
fn what_is_discarded_is_left_out_of_the_state_and_the_stream_goes_on() {
    let small = SMALL.replace("    reducer: order\n", "    reducer: order\n    on_failure: discard\n");
    let tests = "
  - name: left out
    given:
      - { stream_id: o-1, type: Placed, schema_version: 2, payload: { customer: c } }
      - { stream_id: o-1, type: Added, payload: { price: free } }
      - { stream_id: o-1, type: Added, payload: { price: 1 } }
    expect: { orders/o-1: { total: 1 } }
    parked: [orders/o-1]
";
    assert_eq!(outcomes(&format!("{small}{tests}"))[0].failures, []);
}

#[test]
fn a_stream_waits_at_a_type_that_nobody_knows() {
    let small = SMALL.replace(
        "kind: local,",
        "kind: local, types: [Placed, Added, Emptied, Removed], on_unknown_type: park,",
    );
    let tests = "
  - name: unknown
    given:
      - { stream_id: o-1, type: Placed, schema_version: 2, payload: { customer: c } }
      - { stream_id: o-1, type: Lost }
      - { stream_id: o-1, type: Removed }
    expect: { orders/o-1: { customer: c } }
    parked: [orders/o-1, feed/o-1]
";
    assert_eq!(outcomes(&format!("{small}{tests}"))[0].failures, []);
}

#[test]
fn global_projections_see_events_as_they_were_recorded() {
    assert_passes(
        "
  - name: feed
    given:
      - { stream_id: o-1, type: Added, recorded_at: 2026-05-01T00:00:02Z, payload: { price: 2 } }
      - { stream_id: o-1, type: Added, recorded_at: 2026-05-01T00:00:01Z, payload: { price: 3 } }
      - { stream_id: o-2, type: Added, recorded_at: 2026-05-01T00:00:01Z, payload: { price: 1 } }
    expect:
      feed/all: { prices: [1, 2, 3] }
",
    );
}

#[test]
fn a_difference_names_its_field_with_both_values() {
    let found = failures(
        "
  - name: wrong
    given:
      - { stream_id: o-1, type: Placed, schema_version: 2, payload: { customer: c } }
    expect:
      orders/o-1: { total: 5, customer: c, currency: EUR }
      orders/o-2: { total: 0 }
",
    );
    let [wrong, missing] = found.as_slice() else { panic!("{found:?}") };
    let differences: Vec<String> = wrong
        .differences()
        .iter()
        .map(|d| format!("{}: {} {}", d.field, d.expected.to_canonical_json(), d.actual.to_canonical_json()))
        .collect();
    assert_eq!(differences, ["currency: \"EUR\" null", "total: 5 0"]);
    assert!(matches!(missing, Failure::Document { document, actual: None, .. } if document == "orders/o-2"));
}

#[test]
fn poison_fails_a_test_unless_it_expects_it() {
    let given = "
  - name: poison
    given:
      - { stream_id: o-1, type: Placed, schema_version: 2, payload: { customer: c } }
      - { stream_id: o-1, type: Added, payload: { price: free } }
    expect: { orders/o-1: { total: 0 } }
";
    let found = failures(given);
    let [Failure::Poison { document, event, error }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((document.as_str(), event.as_str()), ("orders/o-1", "o-1 2 Added"));
    assert!(error.contains("reducer=order step=foldstream.yaml:9"), "{error}");
    assert!(error.contains("operation=add path=total: it takes a number"), "{error}");
    assert_passes(&format!("{given}    parked: [orders/o-1]\n"));
    let found = failures(
        "
  - name: nothing wrong
    given: [ { stream_id: o-1, type: Placed } ]
    parked: [orders/o-1]
",
    );
    assert!(matches!(&found[0], Failure::NotParked { document, .. } if document == "orders/o-1"));
}

fn stored(sequence: u64, event_type: &str, payload: &str) -> Event {
    Event {
        stream_id: StreamId::new("o-\"1\""),
        sequence: Sequence(sequence),
        id: EventId::new(format!("id-{sequence}")),
        event_type: EventType::new(event_type),
        schema_version: SchemaVersion(2),
        recorded_at: Timestamp::from_millis(1_800_000_000_123 + sequence as i64),
        effective_at: Timestamp::from_millis(1_800_000_000_000),
        payload: Payload::new(Bytes::copy_from_slice(payload.as_bytes())),
        metadata: Payload::default(),
    }
}

#[test]
fn a_recorded_test_passes() {
    let text = format!("{SMALL}  []\n");
    let config_without_tests = config(&text);
    let compiled = compile(&config_without_tests).unwrap();
    let events = [
        stored(1, "Placed", r#"{"customer":"=${HOME} # a: b","none":null,"price":0.10}"#),
        stored(2, "Added", r#"{"price":12345678901234567890.123,"yes":"no"}"#),
        stored(5, "Added", r#"{"price":1e-7}"#),
        stored(6, "Other", ""),
    ];
    let source = Name::new("shop").unwrap();
    let yaml = record(&config_without_tests, &compiled, &source, "it's: a #test", &events).unwrap();
    let outcomes = outcomes(&format!("{SMALL}{yaml}"));
    assert_eq!(outcomes[0].test, "it's: a #test");
    assert_eq!(outcomes[0].failures, [], "{yaml}");
    let read_again = config(&format!("{SMALL}{yaml}"));
    assert_eq!(read_again.tests[0].given[0].payload.get("customer"), Some(&"=${HOME} # a: b".into()));
    assert!(read_again.tests[0].given.len() == 4 && Arc::new(yaml).contains("feed/all"));
}

#[test]
fn an_event_that_cannot_be_projected_cannot_be_recorded() {
    let config = config(&format!("{SMALL}  []\n"));
    let compiled = compile(&config).unwrap();
    let source = Name::new("shop").unwrap();
    let error = record(&config, &compiled, &source, "x", &[stored(1, "Added", "{}")]).unwrap_err();
    assert!(error.message().starts_with("orders/o-\"1\" at event"), "{error}");
}
