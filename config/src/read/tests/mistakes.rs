//! What is said about a file that cannot be used.

use super::*;

fn assert_found(text: &str, expected: &[&str]) {
    let found = mistakes(text);
    for part in expected {
        assert!(found.iter().any(|one| one.contains(part)), "{part}\nin {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once_with_place_path_and_suggestion() {
    let text = "\
config_version: 2
sources:
  shop: { kind: kinesi, shards: many }
  9lives: {}
projections:
  orders:
    version: 0
    sorce: shop
    ordering: per_steam
    sink: serch
    reducer: order
    handlers:
      - event: []
        set: { a: 1, a.b: 2 }
        add: { a: 1 }
      - { event: A, key: =k, keys: =k, unset: a..b }
sinks: { search: { kind: opensearch } }
limits: { lanes: 0, flush_interval: 20 }
sources: {}
";
    assert_found(
        text,
        &[
            "1:17 config_version: config_version 2 is not supported",
            "3:17 sources.shop.kind: expected `local`, `kinesis` or `dynamodb_streams`, found `kinesi` (write",
            "4:3 sources: `9lives` is no name",
            "7:14 projections.orders.version: expected a whole number from 1",
            "8:5 projections.orders: unknown field `sorce` (did you mean `source`?)",
            "9:15 projections.orders.ordering: expected one of per_stream, commutative, global, found `per_steam` (did you mean `per_stream`?",
            "13:16 projections.orders.handlers[0].event: the list is empty",
            "13:9 projections.orders.handlers[0]: the `key` is missing",
            "15:16 projections.orders.handlers[0]: `a` is already changed on line 14",
            "16:9 projections.orders.handlers[1]: a handler has either `key` or `keys`",
            "16:47 projections.orders.handlers[1].unset: `a..b` is no path",
            "17:26 sinks.search.kind: a sink of kind opensearch is not available in this version (use `local` or `dynamodb`)",
            "18:18 limits.lanes: expected a whole number from 1 to 1024, found `0`",
            "18:37 limits.flush_interval: expected a duration",
            "19:1 : `sources` was already given on line 2",
        ],
    );
}

#[test]
fn references_are_checked_with_suggestions() {
    let text = with_handlers("- { event: A, key: =k, add: { n: 1 } }").replace(
        "    ordering: per_stream\n",
        "    ordering: per_stream\n    sink: serch\n    reducer: order\n",
    ) + "sinks: { search: { kind: local, x: 1 } }\ntests:\n  - name: t\n    given: [{ stream_id: a, type: A, source: sho }]\n    expect: { order/k: { n: 1 } }\n";
    assert_found(
        &text,
        &[
            "8:11 projections.orders.sink: there is no sink `serch` (did you mean `search`?)",
            "9:14 projections.orders.reducer: there is no reducer `order` (add it under `reducers:`)",
            "12:33 sinks.search: unknown field `x` (known here: kind)",
            "tests[0].given[0].source: there is no source `sho` (did you mean `shop`?)",
            "tests[0].order/k: there is no projection `order` (did you mean `orders`?)",
        ],
    );
}

#[test]
fn where_an_application_has_left_a_source_its_lease_table_is_named() {
    let text = "\
config_version: 1
sources:
  local: { start: LEASE_TABLE }
  unnamed: { kind: kinesis, stream: events, start: LEASE_TABLE }
  named: { kind: kinesis, stream: events, start: LEASE_TABLE, lease_table: orders-app }
";
    let message = "there is no lease table to begin with";
    let expected = ["3:19 sources.local.start", "4:52 sources.unnamed.start", "5:50 sources.named.start"];
    assert_found(text, &expected.map(|place| format!("{place}: {message}")).each_ref().map(String::as_str));
    let in_dynamodb = format!("{text}store: {{ kind: dynamodb }}\n");
    assert_found(&in_dynamodb, &expected[..2]);
}

#[test]
fn words_about_which_readers_of_yaml_disagree_are_explained() {
    let text = with_handlers(
        "- event: on\n  key: =k\n  set: { a: yes, b: No, c: 007, d: 0x1F, e: +1, f: .5, g: 5., h: .inf, i: NULL }\n\
         - { event: B, key: =k, delete_document: yes }",
    );
    let found = mistakes(&text);
    assert_eq!(found.len(), 10, "{found:#?}");
    assert!(found[0].contains("orders.handlers[0].set.a: `yes` means different things"), "{found:#?}");
    assert!(
        found[2].contains("`007` is a number to some readers of YAML and a text to others"),
        "{found:#?}"
    );
    assert!(found[9].contains("expected true or false, found `yes` (write `true`"), "{found:#?}");
}

#[test]
fn expressions_stand_only_where_they_are_read() {
    let text = "config_version: 1\nsources: { shop: { stream: =x, include: item.a } }\ntests:\n  - name: t\n    given: [{ stream_id: a, type: A, payload: { a: =x } }]\n    parked: [p]\n";
    assert_found(
        text,
        &[
            "sources.shop.stream: expected the name of an embedded stream, found an expression",
            "sources.shop.include: `include` must be an expression (an expression begins with `=`",
            "tests[0].given[0].payload.a: an expression cannot stand here",
            "tests[0].parked[0]: `p` names no document (write `projection/key`)",
        ],
    );
    let found = mistakes(&with_handlers("- { event: A, key: \"=${K}\", when: '=', add: { n: 1 } }"));
    assert!(found[0].contains("an expression cannot read the environment"), "{found:?}");
    assert!(found[1].contains("the expression is empty"), "{found:?}");
}

#[test]
fn the_environment_is_never_shown_in_a_message() {
    let text = "config_version: 1\nsources: { shop: { shards: \"${SECRET}\", start: \"${NONE}\", retention: \"${1}\", stream: \"${\" } }";
    let found = read_with(text, &[("SECRET", "hunter2")]).unwrap_err();
    let all = show(&found);
    assert!(!all.contains("hunter2"), "{all}");
    assert!(all.contains("found a value from the environment"), "{all}");
    assert!(
        all.contains("the environment variable NONE is not set") && all.contains("`${NONE:-default}`"),
        "{all}"
    );
    assert!(all.contains("`1` is no name of an environment variable"), "{all}");
}

#[test]
fn operations_that_cannot_be_meant_are_refused() {
    let text = with_handlers(
        "- { event: A, key: =k }\n\
         - { event: A, key: =k, delete_document: true, add: { n: 1 } }\n\
         - { event: A, key: =k, add: { n: 1 }, latest_by: =event.id }\n\
         - { event: A, key: =k, set: {} }\n\
         - { event: A, key: =k, put_entry: { items: =payload } }\n\
         - { event: A, key: =k, set: { a: 1 }, latest_by: =x, earliest_by: =x }",
    );
    let found = mistakes(&text);
    let expected = [
        "nothing is done here",
        "`delete_document` leaves nothing",
        "there is no `set` here",
        "expected a mapping from paths to values, found an empty one",
        "handlers[4].put_entry.items: expected `{ key: …, value: … }`, found a single value",
        "a handler has one of `latest_by` and `earliest_by`",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (one, expected) in found.iter().zip(expected) {
        assert!(one.contains(expected), "{expected}\nin {one}");
    }
}

#[test]
fn upcasters_of_one_type_start_from_different_versions() {
    let text = "config_version: 1\nsources:\n  shop:\n    upcasters:\n      - { event: A, from: 1, set: { c: 1 }, rename: { a: b } }\n      - { event: A, from: 1, unset: c }\n      - { event: A, from: 2 }\n";
    assert_found(text, &["A of schema version 1 is already lifted on line 5", "nothing is done here"]);
}

#[test]
fn an_empty_file_and_one_that_is_no_mapping_are_refused() {
    assert_found("", &["the file is empty"]);
    assert_found("- 1", &["expected the settings of a configuration file, found a list"]);
    assert_found("config_version:\n", &["expected a whole number of at least 0, found nothing"]);
}

#[test]
fn what_later_versions_bring_is_well_formed_but_not_available() {
    let text = "\
config_version: 1
sources:
  shop: { on_modify: redact, on_remove: park, on_newer_schema: park, on_unknown_type: park }
projections:
  a: { version: 1, source: shop, ordering: global, projector: { wasm: a.wasm } }
";
    let found = crate::unavailable(&read(text));
    assert_eq!(found.len(), 3, "{}", show(&found));
    assert!(
        found
            .iter()
            .all(|one| one.message.ends_with("is not available in this version") && one.help.is_some())
    );
    assert_eq!(brief(&found[0]).split(' ').take(2).collect::<Vec<_>>(), ["3:22", "sources.shop.on_modify:"]);
}

#[test]
fn kinds_of_later_versions_are_refused_by_name_whatever_else_is_missing_or_wrong() {
    let text = "\
config_version: 1
sources:
  shop: { kind: kinesys }
  table: { kind: dynamodb_streams, table: shop }
  topic: { kind: kafka, topik: t }
  near: { on_remove: park }
sinks:
  search: { kind: opensearch }
";
    assert_found(
        text,
        &[
            "3:17 sources.shop.kind: expected `local`, `kinesis` or `dynamodb_streams`, found `kinesys`",
            "5:18 sources.topic.kind: a source of kind kafka is not available",
            "5:25 sources.topic: unknown field `topik` (did you mean `topic`?",
            "6:22 sources.near.on_remove: `on_remove: park` of a local source is not available",
            "8:19 sinks.search.kind: a sink of kind opensearch is not available",
        ],
    );
}

#[test]
fn the_embedded_store_keeps_no_streams_with_gaps() {
    let text = "\
config_version: 1
sources: { shop: { event: { stream_id: s, type: t, sequence: { from: n, gaps: allow }, payload: p } } }
";
    let found = crate::unavailable(&read(text));
    assert_eq!(
        found.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
        ["sources.shop.event.sequence.gaps"]
    );
}

#[test]
fn what_aws_would_refuse_is_refused_here() {
    let text = "\
config_version: 1
store: { kind: dynamodb, table: a b }
sources:
  shop: { kind: kinesis, consumer: c, stream: s }
  none: { kind: kinesis }
sinks:
  one: { kind: dynamodb, table: \"shop-{projection}\" }
  two: { kind: dynamodb, table: \"{projection}/{version}\" }
  own: { kind: dynamodb, table: \"{projection}-{version}\", key: _foldstream }
";
    assert_found(
        text,
        &[
            "2:33 store.table: `a b` cannot name a table (3 to 255 letters",
            "4:36 sources.shop: only enhanced fan-out reads as a consumer (add `read: fan_out`",
            "5:9 sources.none: the field `stream` is missing",
            "7:33 sinks.one.table: the table's name has no `{version}` in it",
            "8:33 sinks.two.table: `{projection}/{version}` cannot name a table",
            "9:64 sinks.own.key: `_foldstream` cannot name an attribute",
        ],
    );
}
