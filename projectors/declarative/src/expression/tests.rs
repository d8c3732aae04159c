use std::cell::Cell;
use std::sync::Arc;

use foldstream_model::{
    Event, EventId, EventType, FieldMask, Map, Payload, SchemaVersion, Sequence, StreamId, Timestamp, Value,
};
use proptest::prelude::*;

use super::{Expression, Mistake, Names, Root, Scope};

const ALL: [Root; 6] = [Root::Event, Root::Payload, Root::Before, Root::State, Root::Document, Root::Item];

fn names() -> Names {
    Names::only(&ALL, "")
}

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn event() -> Event {
    Event {
        stream_id: StreamId::new("o-1"),
        sequence: Sequence(7),
        id: EventId::new("e-9"),
        event_type: EventType::new("ItemAdded"),
        schema_version: SchemaVersion(2),
        recorded_at: Timestamp::parse("2026-11-21T17:00:00.5+01:00").unwrap(),
        effective_at: Timestamp::parse("2026-11-20T00:00:00Z").unwrap(),
        payload: Payload::default(),
        metadata: Payload { value: json(r#"{"user":{"id":"u-1"}}"#), ..Payload::default() },
    }
}

fn payload() -> Value {
    json(
        r#"{"sku":"tea","quantity":2,"price":4.50,"gift":true,"none":null,"tags":["b","a"],
            "items":[{"sku":"x","q":1},{"sku":"y","q":3}],"customer":{"name":"Ann","odd name":1},"number":"0012",
            "when":"2026-01-31T23:30:00-02:00"}"#,
    )
}

fn evaluate(text: &str) -> Result<Value, String> {
    let expression = Expression::compile(text, &names()).map_err(|mistakes| mistakes[0].message.clone())?;
    let (steps, event, payload) = (Cell::new(0), event(), payload());
    let scope = Scope { event: Some(&event), payload: &payload, ..Scope::empty(&steps) };
    expression.evaluate(&scope).map(std::borrow::Cow::into_owned).map_err(|fault| fault.to_string())
}

fn mistake(text: &str) -> Mistake {
    Expression::compile(text, &names()).unwrap_err().remove(0)
}

#[track_caller]
fn assert_values(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(evaluate(text), Ok(json(expected)), "{text}");
    }
}

#[track_caller]
fn assert_faults(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let fault = evaluate(text).unwrap_err();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
}

#[test]
fn paths_lead_to_values_and_into_nothing_to_null() {
    assert_values(&[
        ("payload.sku", "\"tea\""),
        ("payload.customer.name", "\"Ann\""),
        ("payload.customer.`odd name`", "1"),
        ("payload[\"customer\"][\"odd name\"]", "1"),
        ("payload.nothing.at.all", "null"),
        ("payload.none.at.all", "null"),
        ("payload.items[1].sku", "\"y\""),
        ("payload.items[5].sku", "null"),
        ("payload.tags[payload.quantity - 1]", "\"a\""),
        ("state.total", "null"),
        ("document", "null"),
    ]);
    assert_faults(&[
        ("payload.sku.name", "`.name` needs an object, not a string"),
        ("payload.tags.a", "a list"),
    ]);
}

#[test]
fn the_parts_of_an_event_are_values() {
    assert_values(&[
        ("event.stream_id", "\"o-1\""),
        ("event.sequence", "7"),
        ("event.id", "\"e-9\""),
        ("event.type", "\"ItemAdded\""),
        ("event.schema_version", "2"),
        ("event.recorded_at", "\"2026-11-21T16:00:00.500000Z\""),
        ("event.effective_at", "\"2026-11-20T00:00:00.000000Z\""),
        ("event.metadata.user.id", "\"u-1\""),
        ("has(event.metadata.user) && has(event.id)", "true"),
    ]);
}

#[test]
fn numbers_are_exact_decimals_of_one_kind() {
    assert_values(&[
        ("payload.quantity * payload.price", "9"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("1.0 == 1", "true"),
        ("-4.50", "-4.5"),
        ("- payload.price", "-4.5"),
        ("3 - -1.5e2", "153"),
        ("1.00000000000000000000000000000000001", "1.00000000000000000000000000000000001"),
        ("number(\"99999999999999999999\") + 1", "100000000000000000000"),
        ("1 / 8", "0.125"),
        (".5", "0.5"),
        ("0x1F", "31"),
        ("divide(2, 3, 4)", "0.6667"),
        ("round(2.345, 2)", "2.34"),
        ("floor(-2.5)", "-3"),
        ("ceil(-2.5)", "-2"),
        ("floor(7 / 2)", "3"),
        ("abs(-3)", "3"),
    ]);
    assert_faults(&[("1 / 3", "no exact decimal form"), ("1 / 0", "division by zero"), ("1e2000", "")]);
}

#[test]
fn arithmetic_and_order_on_null_are_faults() {
    assert_faults(&[
        ("payload.missing + 1", "+ needs two numbers, two strings or two lists, not null and a number"),
        ("payload.missing > 1", "cannot order null and a number"),
        ("-payload.missing", "- needs a number, not null"),
        ("payload.sku > 1", "cannot order a string and a number"),
        ("payload.missing && true", "a condition is null"),
        ("payload.quantity ? 1 : 2", "a condition is a number"),
    ]);
    assert_values(&[
        ("payload.missing == null", "true"),
        ("payload.sku == 1", "false"),
        ("coalesce(payload.missing, payload.none, 3)", "3"),
        ("exists(document) || exists(payload)", "true"),
        ("has(payload.none) || has(payload.missing.deep)", "false"),
        ("has(payload.sku.deep)", "false"),
    ]);
}

#[test]
fn conditions_look_at_the_right_side_only_when_it_matters() {
    assert_values(&[
        ("payload.gift || payload.missing > 1", "true"),
        ("!payload.gift && payload.missing > 1", "false"),
        ("payload.gift ? \"yes\" : payload.missing + 1", "\"yes\""),
        ("true && false || true", "true"),
    ]);
}

#[test]
fn functions_do_what_their_table_says() {
    assert_values(&[
        ("size(payload.tags) + size(\"größe\") + payload.customer.size() + size(payload.missing)", "9"),
        ("string(payload.price) + string(true) + string(\"x\")", "\"4.5truex\""),
        ("number(\"4.50\")", "4.5"),
        ("min(3, 1, 2) + max(3, 1, 2)", "4"),
        ("max(\"a\", \"b\")", "\"b\""),
        ("sum(payload.items.map(i, i.q * 2))", "8"),
        ("pad(event.sequence, 4)", "\"0007\""),
        (
            "payload.sku.startsWith(\"t\") && payload.sku.endsWith(\"a\") && payload.sku.contains(\"e\")",
            "true",
        ),
        ("payload.sku.upperAscii() + \" Ab \".trim().lowerAscii()", "\"TEAab\""),
        ("\"a-b-c\".replace(\"-\", \"+\")", "\"a+b+c\""),
        ("\"größe\".substring(2, 4) + \"abc\".substring(1) + \"abc\".substring(2, 1)", "\"ößbc\""),
        ("\"a/b\".split(\"/\")", "[\"a\",\"b\"]"),
        ("payload.tags.join(\"+\")", "\"b+a\""),
        ("timestamp(payload.when)", "\"2026-02-01T01:30:00.000000Z\""),
        ("date(payload.when)", "\"2026-02-01\""),
        ("epoch(event.recorded_at) - epoch(event.effective_at)", "144000.5"),
        ("\"a\" in payload.tags && \"name\" in payload.customer && !(\"a\" in payload.missing)", "true"),
        ("payload.tags + [\"c\"]", "[\"b\",\"a\",\"c\"]"),
        ("{\"a\": payload.quantity, payload.sku: [1.5, null]}", "{\"a\":2,\"tea\":[1.5,null]}"),
    ]);
    assert_faults(&[
        ("{\"a\": 1, \"a\": 2}", "the field \"a\" twice"),
        ("date(payload.sku)", "\"tea\" is no timestamp"),
        ("min(1, \"a\")", "numbers only or strings only"),
        ("upper(1)", "there is no function `upper`"),
        ("string(payload.tags)", "string cannot take a list"),
        ("pad(1.5, 3)", "whole number"),
    ]);
}

#[test]
fn macros_run_over_elements_and_names() {
    assert_values(&[
        ("payload.items.exists(i, i.q > 2)", "true"),
        ("payload.items.all(i, i.q > 2)", "false"),
        ("payload.items.exists_one(i, i.q > 2)", "true"),
        ("payload.items.filter(i, i.q > 2)", "[{\"sku\":\"y\",\"q\":3}]"),
        ("payload.items.map(i, i.sku + payload.sku)", "[\"xtea\",\"ytea\"]"),
        ("payload.items.map(i, i.q > 2, i.sku)", "[\"y\"]"),
        ("payload.items.map(i, payload.tags.map(t, t + i.sku))", "[[\"bx\",\"ax\"],[\"by\",\"ay\"]]"),
        ("payload.items.map(payload, payload.q)", "[1,3]"),
        ("payload.customer.map(name, name)", "[\"name\",\"odd name\"]"),
        ("payload.missing.map(i, i)", "[]"),
        ("payload.missing.exists(i, i.q > 2)", "false"),
    ]);
    let many = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..6).fold("true".to_owned(), |inner, depth| format!("{many}.all(i{depth}, {inner})"));
    assert_faults(&[(
        &nested,
        "it takes more than 1000000 steps: each element that is visited, compared or copied is one, and so are 128 bytes of text",
    )]);
    let long = "\"".to_owned() + &"x".repeat(1_000) + "\"";
    let doubled = (0..11).fold(format!("[{long}]"), |list, _| format!("{list}.map(t, t + t)"));
    assert_faults(&[(&doubled, "+ makes more than 1048576 bytes")]);
}

/// An event of some MiB, and what could be made of it: each ends in time and memory that it is given.
#[test]
fn what_an_event_makes_an_expression_do_is_bounded() {
    let items: Vec<Value> = (0..50_000_u64).map(Value::from).collect();
    let text = "x".repeat(600_000);
    let big = Map::from_iter([
        (Arc::from("items"), Value::from(items)),
        (Arc::from("text"), Value::from(text.as_str())),
    ]);
    let (payload, event) = (Value::from(big), event());
    for (text, is_bounded) in [
        ("payload.items.map(i, payload.text.upperAscii())", false),
        ("payload.items.exists(i, payload.text.contains(\"y\"))", false),
        ("payload.items.exists(i, payload.text == payload.text + \"y\")", false),
        ("payload.items.exists(i, payload.items + [i] == payload.items + [0 - 1])", false),
        ("payload.items.map(i, payload.items + [i])", false),
        ("payload.items.exists(i, i in payload.items.map(j, j + 50000))", false),
        ("payload.items.exists(i, payload.items == [i])", true),
        ("payload.items.exists(i, size(payload.items) < i)", true),
        ("payload.items.all(i, payload.items.size() > i) && sum(payload.items) > 0", true),
        ("payload.text.contains(\"y\") || payload.text.upperAscii().contains(\"X\")", true),
    ] {
        let steps = Cell::new(0);
        let scope = Scope { event: Some(&event), payload: &payload, ..Scope::empty(&steps) };
        let expression = Expression::compile(text, &names()).unwrap();
        let value = expression.evaluate(&scope);
        assert_eq!(value.is_ok(), is_bounded, "{text}");
        let faulted = value.err().map(|fault| fault.to_string());
        assert!(faulted.is_none_or(|fault| fault.starts_with("it takes more than 1000000 steps")), "{text}");
    }
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    for (text, offset, message, help) in [
        ("payload.a + paylod.b", 12, "there is no `paylod`", Some("did you mean `payload`?")),
        ("event.streamid", 5, "there is no `event.streamid`", Some("did you mean `event.stream_id`?")),
        ("event", 0, "`event` is no value by itself", None),
        (
            "payload.a.startWith(\"x\")",
            10,
            "there is no function `startWith`",
            Some("did you mean `startsWith`?"),
        ),
        ("trim(payload.a)", 0, "there is no function `trim`", Some("write x.trim(…)")),
        ("size(1, 2)", 0, "`size(…)` takes 1 argument, not 2", None),
        ("payload.a = 1", 10, "`= 1` cannot stand here", Some("equality is written `==`")),
        (
            "payload.a +",
            11,
            "the expression ends too early",
            Some("write what comes behind `+`, or remove it"),
        ),
        ("payload.", 8, "the expression ends too early", Some("a name belongs behind the dot")),
        ("coalese(payload.a, 1)", 0, "there is no function `coalese`", Some("did you mean `coalesce`?")),
        ("\"é\" + x", 6, "there is no `x`", None),
        (
            "99999999999999999999",
            0,
            "invalid int literal",
            Some("write an integer of more than 18 digits as number(\"…\")"),
        ),
        ("payload.a % 2", 10, "there is no operator `%`", None),
        ("\"abc", 0, "`\"abc` cannot stand here", Some("the string has no end")),
        ("", 0, "the expression is empty", None),
        ("b\"x\"", 0, "there are no byte strings", None),
        ("pläced", 2, "`äced` cannot stand here", None),
    ] {
        let found = mistake(text);
        assert_eq!((found.offset, found.message.as_str()), (offset, message), "{text}: {found:?}");
        if help.is_some() {
            assert_eq!(found.help.as_deref(), help, "{text}");
        }
    }
}

#[test]
fn all_mistakes_of_an_expression_are_found_at_once() {
    let mistakes = Expression::compile("a + b + size()", &names()).unwrap_err();
    assert_eq!(mistakes.len(), 3);
}

#[test]
fn a_name_that_is_not_known_at_a_place_says_why() {
    let names = Names::only(&[Root::Payload], "a key is made of the event alone");
    let mistakes = Expression::compile("document.a", &names).unwrap_err();
    assert_eq!(mistakes[0].message, "`document` is not known here: a key is made of the event alone");
    let misspelt = Expression::compile("documnt.a", &names).unwrap_err().remove(0);
    assert_eq!(misspelt.message, "there is no `documnt`");
    let help = misspelt.help.unwrap();
    assert_eq!(help, "`document` is not known here: a key is made of the event alone");
}

#[test]
fn deep_and_long_expressions_are_refused() {
    assert!(mistake(&"(".repeat(4_000)).message.len() < 200);
    assert!(mistake(&format!("1{}", "+1".repeat(300))).message.contains("nested more than 100 deep"));
    assert!(mistake(&"1+".repeat(4_000)).message.contains("bytes long"));
    assert!(evaluate(&format!("1{}", "+1".repeat(90))).is_ok());
}

#[test]
fn references_are_the_fields_that_are_read() {
    let text =
        "payload.a.b + payload.c.map(i, i.d).size() + (has(payload.e.f) ? 1 : event.metadata.g) + state.x";
    let references = Expression::compile(text, &names()).unwrap().references();
    let mut mask = FieldMask::NONE;
    for path in ["a.b", "c", "e.f"] {
        mask.insert(&path.parse().unwrap());
    }
    assert_eq!(references.payload, mask);
    assert!(
        references.uses(Root::State) && references.uses(Root::Metadata) && !references.uses(Root::Document)
    );
    let whole = Expression::compile("payload", &names()).unwrap().references();
    assert!(whole.payload.is_all());
}

#[test]
fn paths_share_and_do_not_copy() {
    let text: Arc<str> = Arc::from("shared, as it is longer than what fits inside");
    let payload =
        Value::from(foldstream_model::Map::from_iter([(Arc::from("a"), Value::Text(text.clone().into()))]));
    let expression = Expression::compile("payload.a", &names()).unwrap();
    let steps = Cell::new(0);
    let scope = Scope { payload: &payload, ..Scope::empty(&steps) };
    let found = expression.evaluate(&scope).unwrap();
    assert!(matches!(found, std::borrow::Cow::Borrowed(_)));
    assert_eq!(Arc::strong_count(&text), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn no_text_makes_the_compiler_or_the_evaluation_panic(
        pieces in prop::collection::vec(prop_oneof![
            "[ -~]{0,3}",
            Just("payload.".to_owned()), Just("event.".to_owned()), Just(".map(i, ".to_owned()), Just("(".to_owned()),
            Just(")".to_owned()), Just("[1]".to_owned()), Just("4.50".to_owned()), Just("\"x\"".to_owned()),
            Just(" + ".to_owned()), Just(" ? ".to_owned()), Just(" : ".to_owned()), Just("é".to_owned()),
            Just("size(".to_owned()), Just("items".to_owned()), Just(" && ".to_owned()), Just("-".to_owned()),
        ], 0..12)
    ) {
        let _ = evaluate(&pieces.concat());
    }

    #[test]
    fn sums_and_products_agree_with_integers(a in -1_000_i64..1_000, b in -1_000_i64..1_000, c in 1_i64..1_000) {
        prop_assert_eq!(evaluate(&format!("({a} + {b}) * {c} - {a} * {b}")), Ok(Value::from((a + b) * c - a * b)));
        prop_assert_eq!(evaluate(&format!("{a} < {b}")), Ok(Value::Bool(a < b)));
        prop_assert_eq!(evaluate(&format!("floor(divide({a}, {c}, 10))")), Ok(Value::from(a.div_euclid(c))));
    }
}
