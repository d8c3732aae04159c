//! What YAML does to unquoted expressions.

use super::*;

fn only_mistake(handlers: &str) -> String {
    let mut found = mistakes(&with_handlers(handlers));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn a_comma_in_an_unquoted_expression_in_braces_is_explained() {
    let found = only_mistake(
        "- { event: A, key: =event.stream_id, set: { best: =max(payload.a, payload.b), n: 1 } }",
    );
    assert!(
        found.starts_with("9:71 : YAML ends this unquoted expression at a comma (put all of it in quotes"),
        "{found}"
    );
}

#[test]
fn a_comma_in_a_text_of_an_unquoted_expression_in_braces_is_explained() {
    let found = only_mistake("- { event: A, key: =payload.name + \", x\", add: { n: 1 } }");
    assert!(found.contains("at a comma"), "{found}");
}

#[test]
fn square_brackets_in_an_unquoted_expression_in_braces_are_explained() {
    for value in ["=payload.list[0]", "=[1, 2]", "=[payload.a, payload.b][0]", "=size([])"] {
        let found =
            only_mistake(&format!("- {{ event: A, key: =event.stream_id, set: {{ x: {value}, y: 2 }} }}"));
        assert!(found.contains("at a square bracket"), "{value}: {found}");
    }
}

#[test]
fn curly_brackets_in_an_unquoted_expression_in_braces_are_explained() {
    let found = only_mistake("- { event: A, key: =event.stream_id, set: { x: ={\"a\": 1}, y: 2 } }");
    assert!(found.contains("at a curly bracket"), "{found}");
}

#[test]
fn a_variable_in_an_unquoted_text_or_expression_in_braces_is_explained() {
    let found = only_mistake("- { event: A, key: =event.stream_id, set: { x: ${X:-1}, y: 2 } }");
    assert!(found.contains("this unquoted text at `${`"), "{found}");
    let found = only_mistake("- { event: A, key: =event.stream_id, set: { x: =payload.${X}, y: 2 } }");
    assert!(found.contains("this unquoted expression at `${`"), "{found}");
}

#[test]
fn a_colon_and_blank_in_an_unquoted_expression_is_explained_anywhere() {
    let block = "- event: A\n  key: =event.stream_id\n  set:\n    x: =payload.a ? payload.b : payload.c";
    assert!(only_mistake(block).contains("at a colon followed by a blank"));
    let flow = "- { event: A, key: =event.stream_id, set: { x: =payload.a ? payload.b : payload.c } }";
    assert!(only_mistake(flow).contains("at a colon followed by a blank"));
    let text = "- event: A\n  key: =\"order: \" + event.stream_id\n  add: { n: 1 }";
    assert!(only_mistake(text).contains("at a colon followed by a blank"));
}

#[test]
fn a_hash_in_a_text_of_an_unquoted_expression_is_explained() {
    let found =
        only_mistake("- event: A\n  key: =event.stream_id\n  when: =payload.a == \"x #1\"\n  add: { n: 1 }");
    assert!(found.starts_with("11:32 : YAML ends this unquoted expression at ` #`"), "{found}");
}

#[test]
fn a_comment_behind_an_unquoted_expression_is_a_comment() {
    let read =
        handlers("- event: A\n  key: =event.stream_id   # the stream's own\n  add: { n: 1 } # \"one\"");
    let Documents::One(key) = &read[0].documents else { panic!() };
    assert_eq!(expression(key).text, "event.stream_id");
}

#[test]
fn all_traps_of_a_file_and_the_mistakes_behind_them_are_reported_at_once() {
    let found = mistakes(&with_handlers(
        "- { event: A, key: =a[0], add: { n: 1 } }\n\
         - { event: B, key: =f(a, b), add: { n: 1 } }\n\
         - { event: C, key: =event.stream_id, ad: { n: 1 } }",
    ));
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("at a square bracket"));
    assert!(found[1].contains("at a comma"));
    assert!(found[2].contains("nothing is done here"), "{found:#?}");
    assert!(found[3].contains("unknown field `ad` (did you mean `add`?)"), "{found:#?}");
}

#[test]
fn quotes_take_every_trap_out() {
    let read = set_values(
        "- event: A\n  key: =event.stream_id\n  set:\n    a: '=f(x, \"y: z #1\")[0]'\n    b: { c: \"=max(1, 2)\" }\n    \
         d: |\n      =x ? y : z",
    );
    assert_eq!(expression(&read[0].1).text, "f(x, \"y: z #1\")[0]");
    let Argument::Map(map) = &read[1].1 else { panic!() };
    assert_eq!(expression(&map[0].1).text, "max(1, 2)");
    assert_eq!(expression(&read[2].1).text, "x ? y : z");
}

#[test]
fn an_expression_knows_the_place_of_its_characters() {
    let read = set_values(
        "- event: A\n  key: =k\n  set:\n    a: =x + y\n    b: '=x + y'\n    c: \"=\\\"x\\\" + y\"",
    );
    let places: Vec<_> = read.iter().map(|(_, value)| expression(value).place_of(4).to_string()).collect();
    assert_eq!(places, ["12:19", "13:20", "14:16"]);
}

#[test]
fn a_file_that_is_no_yaml_says_where() {
    let found = mistakes("config_version: 1\nsources: [\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("this is not YAML"), "{found:?}");
}

#[test]
fn a_tab_is_shown_where_it_stands() {
    for (lines, place) in [
        ("\tshop: { kind: local }", "3:1"),
        ("  shop: { kind: local }\n  \tother: { kind: local }", "4:3"),
        ("  shop:\n    kind: local\n\t\tshards: 2", "5:1"),
        ("  shop:\tlocal", "3:8"),
        ("  größe:\tlocal", "3:9"),
        ("  - \tshop: 1\n\t    x: 2", "3:5"),
    ] {
        let found = mistakes(&format!("config_version: 1\nsources:\n{lines}\n"));
        assert!(found[0].starts_with(&format!("{place} : a tab; YAML wants spaces")), "{lines:?}: {found:?}");
    }
    let found = mistakes("config_version: 1\nsources: { shop: { stream: \"a\tb\" } } \t# a tab\n");
    assert!(found.iter().all(|found| !found.contains("a tab;")), "{found:?}");
}

#[test]
fn what_yaml_can_do_and_a_configuration_does_not_need_is_refused() {
    let found = mistakes("config_version: &one 1\nlimits: { lanes: *one }\nsinks: !x {}\n---\nsecond: 1");
    let all = found.join("\n");
    for part in ["1:17 : anchors", "2:18 : aliases", "3:8 : tags", "4:1 : a second YAML document"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let deep = format!("config_version: 1\nsources: {}{}", "[".repeat(200), "]".repeat(200));
    assert!(mistakes(&deep)[0].contains("nested too deeply"));
}
