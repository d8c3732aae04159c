use foldstream_config::Config;

use super::normal::without_blanks;
use super::{Comparison, Definition};

const PARKING: &str = "config_version: 1
sources:
  shop:
    kind: local
    types: [A, B]
    on_unknown_type: park
    upcasters: [ { event: A, from: 1, set: { x: 1 } } ]
reducers:
  r:
    - { event: A, set: { n: 0 } }
projections:
  p:
    version: 1
    source: shop
    ordering: per_stream
    reducer: r
    handlers:
      - { event: A, key: =event.stream_id, when: =payload.x > 1, set: { a: =state.n } }
";

fn definition(text: &str) -> Definition {
    let config =
        Config::read("foldstream.yaml", text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]));
    Definition::of(&config, config.projections.values().next().unwrap(), None)
}

/// How the text with these replacements stands to the text.
fn after(replacements: &[(&str, &str)]) -> Comparison {
    let mut text = PARKING.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    definition(&text).compare(&definition(PARKING))
}

fn differs(replacements: &[(&str, &str)]) -> String {
    match after(replacements) {
        Comparison::Differs(differences) => differences.join("; "),
        other => panic!("{other:?}"),
    }
}

#[test]
fn how_it_is_written_does_not_matter() {
    for same in [
        &[("=payload.x > 1", "=payload.x>1")][..],
        &[("=payload.x > 1", "\"=payload.x  >  1\"")],
        &[("config_version: 1", "# a comment\nconfig_version: 1")],
        &[("types: [A, B]", "types: [B, A]")],
        &[("    version: 1\n", "    version: 2\n")],
        &[("event: A, key", "event: [A], key")],
    ] {
        assert_eq!(after(same), Comparison::Same, "{same:?}");
    }
}

#[test]
fn a_type_that_waited_may_be_handled_or_ignored_now() {
    let handled = [
        ("types: [A, B]", "types: [A, B, C, D]"),
        ("    handlers:\n", "    handlers:\n      - { event: C, key: k, set: { c: 1 } }\n"),
        (
            "    - { event: A, set: { n: 0 } }\n",
            "    - { event: A, set: { n: 0 } }\n    - { event: C, set: { n: 1 } }\n",
        ),
    ];
    let Comparison::AddsTypes(types) = after(&handled) else { panic!("{:?}", after(&handled)) };
    assert_eq!(types.iter().map(|added| added.as_str()).collect::<Vec<_>>(), ["C", "D"]);
}

#[test]
fn what_was_handled_or_ignored_may_not_change() {
    for (replacements, said) in [
        (&[("> 1, set", "> 2, set")][..], "A: its handlers were changed"),
        (&[("set: { n: 0 }", "set: { n: 1 }")], "A: its steps were changed"),
        (&[("set: { x: 1 }", "set: { x: 2 }")], "A: its upcasters were changed"),
        (
            &[("handlers:\n", "handlers:\n      - { event: B, key: k, set: { c: 1 } }\n")],
            "B: it is handled now, and was ignored",
        ),
        (&[("types: [A, B]", "types: [A]")], "B: it is no longer known"),
        (&[("ordering: per_stream", "ordering: global")], "ordering was changed"),
        (&[("    on_unknown_type: park\n", "")], "on_unknown_type was changed"),
        (&[("    types: [A, B]\n", "    types: [A, B]\n    include: =item.a\n")], "include was changed"),
    ] {
        assert!(differs(replacements).contains(said), "{replacements:?}: {}", differs(replacements));
    }
}

#[test]
fn types_that_are_ignored_either_way_change_nothing() {
    let ignoring = PARKING.replace("    on_unknown_type: park\n", "");
    let more = ignoring.replace("types: [A, B]", "types: [A, B, C]");
    assert_eq!(definition(&more).compare(&definition(&ignoring)), Comparison::Same);
    let handled =
        more.replace("    handlers:\n", "    handlers:\n      - { event: C, key: k, set: { c: 1 } }\n");
    assert!(matches!(definition(&handled).compare(&definition(&ignoring)), Comparison::Differs(_)));
}

#[test]
fn a_definition_is_read_back_and_its_fingerprint_is_that_of_its_text() {
    let found = definition(PARKING);
    let read = Definition::from_text(&found.to_text()).unwrap();
    assert_eq!(read, found);
    assert_eq!(read.fingerprint(), found.fingerprint());
    assert_ne!(definition(&PARKING.replace("n: 0", "n: 1")).fingerprint(), found.fingerprint());
    assert!(Definition::from_text("[]").is_err());
}

#[test]
fn the_code_and_the_options_of_a_native_projector_count() {
    let text = "config_version: 1\nsources: { s: { kind: local } }\nprojections: { p: { version: 1, source: s, ordering: commutative, projector: { native: churn } } }\n";
    let config =
        Config::read("foldstream.yaml", text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]));
    let projection = config.projections.values().next().unwrap();
    let one = Definition::of(&config, projection, Some("1"));
    assert_eq!(one.compare(&Definition::of(&config, projection, Some("1"))), Comparison::Same);
    let changed = one.compare(&Definition::of(&config, projection, Some("2")));
    assert_eq!(changed, Comparison::Differs(vec!["native was changed".to_owned()]));
}

#[test]
fn blanks_are_kept_where_they_mean_something() {
    for (text, kept) in [
        (" a  +\n b ", "a+b"),
        ("a in b", "a in b"),
        ("\"a  b\" + 'c  \\' d'", "\"a  b\"+'c  \\' d'"),
        ("1 - -1", "1--1"),
        ("a.`b  c`  + d", "a.`b  c`+d"),
        ("r\"\\\"  + \" a\"", "r\"\\\"  + \" a\""),
    ] {
        assert_eq!(without_blanks(text), kept);
    }
}
