//! The file that is written.

use proptest::prelude::*;

use super::*;

const ACCOUNTS: &str = r#"{"stream":"a-1","seq":1,"type":"AccountOpened","ts":"2026-01-01T00:00:00Z","payload":{"owner":"Ada: \"the first\" #1","limit":100.50,"in":true,"unit price":"=1","tags":["${x}","no"],"a.b":{"c":null}}}
{"stream":"a-1","seq":2,"type":"AccountRenamed","ts":"2026-01-02T00:00:00Z","payload":{"owner":"Bo","note":null}}
{"stream":"a-2","seq":1,"type":"AccountOpened","ts":"2026-01-03T00:00:00Z","payload":{"owner":"Cy","limit":12345678901234567890123456789012345678}}"#;

#[test]
fn types_are_listed_and_every_part_is_explained() {
    let (text, config) = inferred(ACCOUNTS);
    let types: Vec<_> =
        config.sources["events"].types.as_ref().unwrap().iter().map(|name| name.value.as_str()).collect();
    assert_eq!(types, ["AccountOpened", "AccountRenamed"]);
    for (part, why) in [("stream_id: stream", "# 2 streams in 3 events"), ("- AccountOpened", "# 2 events")] {
        assert!(
            text.lines().any(|line| line.contains(part) && line.contains(why)),
            "{part} {why} in\n{text}"
        );
    }
}

#[test]
fn fields_with_any_name_and_value_are_set_and_tested() {
    let (text, config) = inferred(ACCOUNTS);
    let projection = &config.projections["accounts"];
    let Projector::Declared(handlers) = &projection.projector else { panic!() };
    let Operation::Change(Change { kind: ChangeKind::Set { value: Argument::Expression(first), .. }, path }) =
        &handlers[1].operations[0]
    else {
        panic!("{text}")
    };
    assert_eq!(
        (path.to_string().as_str(), first.text.as_str()),
        ("a_b", "coalesce(payload[\"a.b\"], document.a_b)")
    );
    assert!(
        text.contains(r#"unit price": '=coalesce(payload["unit price"], document["unit price"])'"#),
        "{text}"
    );
    let test = &config.tests[0];
    assert_eq!(test.given.len(), 2);
    assert_eq!(test.given[0].payload.get("unit price"), Some(&Value::from("=1")));
    assert_eq!(
        Value::Map(test.given[0].payload.clone().into()),
        *events(ACCOUNTS)[0].get("payload").unwrap()
    );
    let Expectation::Fields(fields) = &test.expect[0].expectation else { panic!() };
    let owner = fields.iter().find(|(name, _)| name.value == "owner").unwrap();
    assert_eq!(owner.1, Value::from("Bo"));
    assert!(
        fields.iter().any(|(name, value)| name.value == "event_count" && value.to_canonical_json() == "2")
    );
}

#[test]
fn a_payload_may_be_empty_everywhere() {
    let (_, config) = inferred("{\"stream_id\":\"a\",\"type\":\"Ping\",\"payload\":{}}");
    assert_eq!(config.projections["pings"].version.value, 1);
}

#[test]
fn numbers_beyond_those_of_documents_are_left_out() {
    let digits = "1".repeat(60);
    let (text, _) =
        inferred(&format!("{{\"stream_id\":\"a\",\"type\":\"A\",\"payload\":{{\"n\":{digits},\"m\":1}}}}"));
    assert!(text.contains("payload.m") && !text.contains("payload.n"), "{text}");
}

#[test]
fn the_files_of_a_sample_are_the_same_each_time() {
    assert_eq!(inferred(ACCOUNTS).0, inferred(ACCOUNTS).0);
}

#[test]
fn streams_are_called_after_their_ids_or_their_field_or_their_types() {
    let name = |lines: &str| inferred(lines).1.projections.into_keys().next().unwrap().to_string();
    let prefixed = r#"{"pk":"INVOICE#1","type":"Made","payload":{}}
{"pk":"INVOICE#2","type":"Made","payload":{}}"#;
    assert_eq!(name(prefixed), "invoices");
    assert_eq!(name(r#"{"shoppingCartId":"1","event_name":"Made","payload":{}}"#), "shopping_carts");
    assert_eq!(name(r#"{"stream_id":"1","type":"shop.policy.bound","payload":{}}"#), "shops");
    assert_eq!(name(r#"{"stream_id":"1","type":"PolicyBound","payload":{}}"#), "policies");
    assert_eq!(name(r#"{"stream_id":"1","type":"42","payload":{}}"#), "streams");
}

#[test]
fn fields_that_are_not_taken_are_said() {
    let (text, _) = inferred(r#"{"stream_id":"1","type":"A","payload":{},"tenant":"t"}"#);
    assert!(text.contains("# Not taken: tenant."), "{text}");
}

/// Any JSON, with texts that YAML, expressions and the environment could take for their own.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let odd = prop::sample::select(vec![
        "",
        "=x",
        "==",
        "${HOME}",
        "$${",
        "yes",
        "null",
        "~",
        "1",
        "007",
        "1e5",
        ".inf",
        "- a",
        "a: b",
        "a #b",
        "[",
        "{",
        "}",
        ",",
        "*",
        "&a",
        "!t",
        "%",
        "@",
        "`",
        "'",
        "\"",
        "\\",
        "\n",
        "\t",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "ü",
        "a.b",
        "a\\b",
        "in",
        "<<",
        "?",
        "|",
        ">",
        "2026-01-01",
    ]);
    let text = prop_oneof![odd.prop_map(str::to_owned), ".{0,8}"];
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        text.clone().prop_map(serde_json::Value::from),
    ];
    scalar.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_the_payloads_hold_the_file_can_be_read_and_its_test_holds_them(
        payloads in prop::collection::vec((".{1,6}", prop::collection::btree_map(".{0,6}", json(), 0..5)), 1..4),
        stream in "[^#/:|]{1,6}",
    ) {
        let lines: Vec<String> = payloads.iter().enumerate().map(|(index, (event_type, payload))| {
            serde_json::json!({"stream_id": stream, "sequence": index + 1, "type": event_type, "payload": payload}).to_string()
        }).collect();
        let (_, config) = inferred(&lines.join("\n"));
        let test = &config.tests[0];
        prop_assert_eq!(test.given.len(), payloads.len());
        for (given, (event_type, payload)) in test.given.iter().zip(&payloads) {
            prop_assert_eq!(&given.stream_id.value, &stream);
            prop_assert_eq!(&given.event_type.value, event_type);
            let payload = Value::parse(serde_json::to_string(payload).unwrap().as_bytes()).unwrap();
            prop_assert_eq!(Value::from(given.payload.clone()), payload);
        }
    }

    #[test]
    fn whatever_the_events_are_there_is_a_file_that_can_be_read_or_an_error(
        events in prop::collection::vec(json(), 0..4),
    ) {
        let events: Vec<Value> =
            events.iter().map(|event| Value::parse(event.to_string().as_bytes()).unwrap()).collect();
        if let Ok(text) = infer(&events, &[]) {
            prop_assert!(Config::read("f", &text, &|_| None).is_ok(), "{}", text);
        }
    }
}

#[test]
fn lines_that_stand_behind_a_later_one_of_their_stream_are_warned_of() {
    let line = |stream: u32, sequence: u32| {
        format!("{{\"stream_id\":\"o-{stream}\",\"sequence\":{sequence},\"type\":\"A\",\"payload\":{{}}}}\n")
    };
    let lines = |order: &[(u32, u32)]| -> String { order.iter().map(|(s, n)| line(*s, *n)).collect() };
    let (text, _) = inferred(&lines(&[(1, 3), (1, 1), (1, 2), (2, 1), (2, 2)]));
    assert!(text.contains("# Out of order: 2 lines of the sample"), "{text}");
    let (text, _) = inferred(&lines(&[(1, 1), (1, 2), (2, 1), (1, 3), (2, 2)]));
    assert!(!text.contains("Out of order"), "{text}");
}

#[test]
fn a_field_with_a_number_that_no_document_can_hold_is_said_to_be_left_out() {
    let (text, _) = inferred(
        r#"{"stream_id":"a","sequence":1,"type":"A","payload":{"far":1e400,"near":1}}
           {"stream_id":"a","sequence":2,"type":"B","payload":{"far":[2e400]}}"#,
    );
    for said in ["# Not set by A: far, which holds a number", "# Not set by B: far, which"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(text.contains("near: =payload.near") && !text.contains("Not set by A: near"), "{text}");
}
