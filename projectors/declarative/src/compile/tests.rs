use foldstream_config::Config;

use super::compile;

const SOURCES: &str = "config_version: 1
sources:
  shop:
    kind: local
    types: [OrderPlaced, ItemAdded]
reducers:
  order:
    - event: OrderPlaced
      set: { total: 0 }
";

/// The mistakes in a file with these projections, as `line:column path: message | help`.
fn mistakes_in(text: &str) -> Vec<String> {
    let config =
        Config::read("foldstream.yaml", text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]));
    let found = compile(&config).err().unwrap_or_default();
    let shown = found.iter().map(|d| {
        format!("{} {}: {} | {}", d.place, d.path, d.message, d.help.as_deref().unwrap_or_default())
    });
    shown.collect()
}

/// Those of one projection, whose handlers begin on line 16.
fn mistakes(ordering: &str, reducer: &str, handlers: &str) -> Vec<String> {
    mistakes_in(&format!(
        "{SOURCES}projections:\n  p:\n    version: 1\n    source: shop\n    ordering: {ordering}\n{reducer}    handlers:\n{handlers}"
    ))
}

#[track_caller]
fn assert_mistakes(ordering: &str, handlers: &str, expected: &[&str]) {
    let found = mistakes(ordering, "", handlers);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_each_with_its_place_and_a_way_out() {
    assert_mistakes(
        "per_stream",
        "      - event: OrderPlacd
        key: =evnt.stream_id
        when: =payload.a = 1
        set: { total: =state.total, x: =payload.a + , y: =document.z }
        add: { n: many }
",
        &[
            "16:16 projections.p.handlers[0]: the source has no event type `OrderPlacd` | did you mean `OrderPlaced`?",
            "17:15 projections.p.handlers[0].key: there is no `evnt` | did you mean `event`?",
            "18:26 projections.p.handlers[0].when: `= 1` cannot stand here | equality is written `==`",
            "19:24 projections.p.handlers[0].set.total: `state` is not known here: the projection has no `reducer`",
            "projections.p.handlers[0].set.x: the expression ends too early",
            "20:19 projections.p.handlers[0].add.n: add takes a number, not a string | an expression begins with `=`: =many",
        ],
    );
}

#[test]
fn a_key_cannot_read_the_document_and_nothing_can_under_commutative() {
    assert_mistakes(
        "global",
        "      - { event: ItemAdded, key: =document.id, add: { n: =document.n } }\n",
        &["`document` is not known here: a key says which document is meant, so it cannot read one"],
    );
    assert_mistakes(
        "commutative",
        "      - { event: ItemAdded, key: a, when: =exists(document), add: { n: 1 } }\n",
        &["`document` is not known here: under `ordering: commutative`"],
    );
}

#[test]
fn commutative_projections_have_only_what_commutes() {
    assert_mistakes(
        "commutative",
        "      - { event: ItemAdded, key: a, add: { n: 1 }, min: { a: =payload.a }, max: { b: 1 }, add_to_set: { s: x } }
      - { event: ItemAdded, key: a, put_entry: { e: { key: =event.stream_id, value: 1 } } }
      - { event: ItemAdded, key: a, put_entry: { f: { key: [=event.stream_id, =payload.sku], value: 1 } } }
      - { event: ItemAdded, key: a, set: { l: 1 }, latest_by: =event.recorded_at }
",
        &[],
    );
    assert_mistakes(
        "commutative",
        "      - { event: ItemAdded, key: a, set: { a: 1 } }
      - { event: ItemAdded, key: a, append: { b: 1 } }
      - { event: ItemAdded, key: a, put_entry: { c: { key: =payload.sku, value: 1 } } }
      - { event: ItemAdded, key: a, delete_document: true }
      - { event: ItemAdded, key: a, unset: [d] }
",
        &[
            "`set` depends on the order of events | allowed are add, min, max",
            "`append` depends on the order",
            "unless its key holds event.stream_id | an entry belongs to one stream",
            "`delete_document` depends on the order of events",
            "`unset` depends on the order",
        ],
    );
}

#[test]
fn under_commutative_a_path_has_one_kind_of_operation_in_all_handlers() {
    assert_mistakes(
        "commutative",
        "      - { event: ItemAdded, key: a, add: { n: 1 }, put_entry: { e: { key: =event.stream_id, value: 1 } } }
      - { event: OrderPlaced, key: a, add: { n: 2 }, max: { e.x: 1 } }
      - { event: OrderPlaced, key: a, max: { n: 2 } }
      - { event: OrderPlaced, key: a, put_entry: { e: { key: [=event.stream_id, x], value: 1 } } }
",
        &[
            "the paths e and e.x lie inside each other",
            "`add` and `max` of the same path depend on the order of events | keep them in separate fields",
            "the entries of e have keys of two shapes",
            "",
        ],
    );
}

#[test]
fn paths_inside_each_other_are_refused_in_one_handler() {
    assert_mistakes(
        "per_stream",
        "      - { event: ItemAdded, key: a, set: { a.b: 1 }, unset: [a] }\n",
        &["the path a.b and the path a lie inside each other"],
    );
}

#[test]
fn literals_that_no_document_can_hold_are_refused() {
    assert_mistakes(
        "per_stream",
        "      - event: ItemAdded
        key: a
        set: { n: 123456789012345678901234567890123456789 }
        put_entry: { e: { key: \"\", value: 1 } }
        merge_map: { m: 1 }
",
        &[
            "at most 38 digits",
            "the key of an entry takes a string that is not empty",
            "merge_map takes an object",
        ],
    );
}

#[test]
fn upcasters_and_reducers_are_checked_too() {
    let found = mistakes_in(
        "config_version: 1
sources:
  shop:
    kind: local
    include: =payload.a
    types: [A]
    upcasters:
      - { event: A, from: 1, set: { x: =event.id } }
      - { event: B, from: 1, rename: { x: y } }
    event: { stream_id: s, type: t, sequence: q, payload: { from: p, encoding: gzip } }
reducers:
  r:
    - event: C
      set: { a: =state.b, c: =document.d }
projections:
  p:
    version: 1
    source: shop
    ordering: per_stream
    reducer: r
    handlers:
      - { event: A, key: k, set: { a: =before.a } }
",
    );
    for (found, expected) in found.iter().zip([
        "`payload` is not known here: `include` looks at the raw item",
        "8:41 sources.shop.upcasters[0].set.x: `event` is not known here: an upcaster turns one payload into another",
        "9:18 sources.shop.upcasters[1]: the source has no event type `B`",
        "the source has no event type `C` | add it to the `types` of the source",
        "`state` is not known here: it is what this reducer makes",
        "`document` is not known here: a reducer folds a stream",
    ]) {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn mistakes_in_quoted_and_folded_expressions_say_how_far_in() {
    let found = mistakes(
        "per_stream",
        "",
        "      - event: ItemAdded\n        key: a\n        set:\n          x: >-\n            =payload.a\n            + paylod.b\n",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("there is no `paylod` (at character 13 of the expression)"), "{found:?}");
}

#[test]
fn a_projection_with_a_reducer_sees_its_states() {
    let handlers =
        "      - { event: ItemAdded, key: =state.customer, set: { t: =state.total - before.total } }\n";
    assert_eq!(mistakes("per_stream", "    reducer: order\n", handlers), Vec::<String>::new());
}
