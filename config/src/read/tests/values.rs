//! What a well-formed file means.

use std::time::Duration;

use super::*;

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_source_without_settings_is_local_with_the_envelope_of_the_embedded_store() {
    let config = read("config_version: 1\nsources: { shop: {} }");
    let source = &config.sources["shop"];
    let local = SourceKind::Local { stream: "shop".to_owned(), shards: 4, retention: None };
    assert_eq!(source.kind.value, local);
    assert_eq!(source.start.value, Start::TrimHorizon);
    assert_eq!(source.event, EventMapping::default());
    assert_eq!(source.event.event_type.from.to_string(), "type");
    assert_eq!(source.types, None);
    assert_eq!(source.on_unknown_type.value, OnUnknownType::Ignore);
    assert!(crate::unavailable(&config).is_empty());
}

#[test]
fn a_part_is_a_name_or_a_mapping_and_those_left_out_are_absent() {
    let config = read(
        r#"
config_version: 1
sources:
  shop:
    event:
      stream_id: { from: keys.pk, strip_prefix: "ORDER#" }
      sequence: { from: sk, first: 0, gaps: allow }
      type: "event\\.type"
      schema_version: { from: v, default: 2 }
      payload: "*"
      metadata: { from: meta, encoding: json }
"#,
    );
    let event = &config.sources["shop"].event;
    assert_eq!(event.stream_id.from.names().len(), 2);
    assert_eq!(event.stream_id.strip_prefix.as_deref(), Some("ORDER#"));
    let sequence = event.sequence.as_ref().unwrap();
    assert_eq!((sequence.first, sequence.gaps), (0, Gaps::Allow));
    assert_eq!(event.event_type.from.names(), [std::sync::Arc::from("event.type")]);
    assert_eq!(event.schema_version.as_ref().unwrap().default, Some(json("2")));
    assert_eq!(event.payload.from, None);
    assert_eq!(event.metadata.as_ref().unwrap().encoding, Encoding::Json);
    assert_eq!((&event.id, &event.recorded_at, &event.effective_at), (&None, &None, &None));
}

#[test]
fn literals_keep_their_digits_and_types() {
    let read = set_values(
        "- event: A\n  key: =k\n  set: { a: 4.50, b: 12345678901234567890123456789012345678, c: '1', d: -0.1e-7, e: ~, \
         f: true, g: 2024-01-01, h: [1, x, { y: null }], i: ==x, j: o-1, k: '', l: 1.2.3, m: 12:30, n: '==x' }",
    );
    let values: Vec<Value> = read.iter().map(|(_, value)| literal(value)).collect();
    let expected = json(
        r#"[4.50, 12345678901234567890123456789012345678, "1", -0.1e-7, null, true, "2024-01-01",
            [1, "x", {"y": null}], "=x", "o-1", "", "1.2.3", "12:30", "=x"]"#,
    );
    assert_eq!(Value::List(values.into()), expected);
}

#[test]
fn lists_and_mappings_may_hold_expressions() {
    let read = set_values("- event: A\n  key: =k\n  set: { a: [1, =x], b: { c: { d: =y, e: 2 }, f: [3] } }");
    let Argument::List(list) = &read[0].1 else { panic!() };
    assert_eq!((literal(&list[0]), expression(&list[1]).text.as_str()), (json("1"), "x"));
    let Argument::Map(map) = &read[1].1 else { panic!() };
    assert!(matches!(map[0].1, Argument::Map(_)));
    assert_eq!(literal(&map[1].1), json("[3]"));
}

#[test]
fn operations_stand_in_the_order_of_the_file() {
    let read = handlers(
        "- event: [A, B]\n  keys: =payload.ids\n  when: =payload.ok\n  add: { n: 1, m.o: 2 }\n  unset: [p, q]\n  \
         set: { r: 3 }\n  put_entry: { items: { key: =payload.sku, value: =payload } }\n  delete_entry: { old: =payload.sku }\n  \
         latest_by: =event.effective_at",
    );
    let shown: Vec<String> = read[0]
        .operations
        .iter()
        .map(|operation| match operation {
            Operation::Change(Change { path, kind }) => {
                let kind = format!("{kind:?}");
                format!("{} {path}", kind.split([' ', '(']).next().unwrap())
            }
            Operation::Delete(_) => "delete".to_owned(),
        })
        .collect();
    let expected = ["Add n", "Add m.o", "Unset p", "Unset q", "Set r", "PutEntry items", "DeleteEntry old"];
    assert_eq!(shown, expected);
    let Operation::Change(Change { kind: ChangeKind::Set { pick: Some(pick), .. }, .. }) =
        &read[0].operations[4]
    else {
        panic!()
    };
    assert_eq!((pick.kind, pick.by.text.as_str()), (PickKind::Latest, "event.effective_at"));
    assert!(matches!(read[0].documents, Documents::Many(_)));
}

#[test]
fn the_environment_is_substituted_after_parsing_and_never_read_as_an_expression() {
    let text = with_handlers("- event: A\n  key: =k\n  set: { a: '${A}', b: 'x${B:-y}$${C}' }")
        .replace("shop: {}", "shop: { shards: '${SHARDS:-8}', stream: \"${STREAM}\" }");
    let config = read_with(&text, &[("A", "=1 # {"), ("B", ""), ("STREAM", "s")]).unwrap();
    assert_eq!(
        config.sources["shop"].kind.value,
        SourceKind::Local { stream: "s".to_owned(), shards: 8, retention: None }
    );
    let Projector::Declared(handlers) = &config.projections["orders"].projector else { panic!() };
    let shown = format!("{:?}", handlers[0].operations);
    assert!(shown.contains("Text(\"=1 # {\")") && shown.contains("Text(\"xy${C}\")"), "{shown}");
}

#[test]
fn an_unquoted_value_from_the_environment_is_typed_as_if_it_stood_there() {
    let text = with_handlers("- event: A\n  key: =k\n  set:\n    a: ${A}\n    b: ${B:-}\n    c: '${A}'");
    let config = read_with(&text, &[("A", "12.50")]).unwrap();
    let shown = format!("{:?}", config.projections["orders"].projector);
    assert!(
        shown.contains("Number") && shown.contains("Null") && shown.contains("Text(\"12.50\")"),
        "{shown}"
    );
}

#[test]
fn limits_have_defaults_units_and_least_values() {
    let config =
        read("config_version: 1\nlimits: { lanes: 8, bytes_in_flight: 256MiB, flush_interval: 0ms }");
    assert_eq!((config.limits.lanes, config.limits.bytes_in_flight), (8, 256 << 20));
    assert_eq!(config.limits.flush_interval, Duration::ZERO);
    assert_eq!(config.limits.batch_records, Limits::default().batch_records);
}

#[test]
fn tests_have_events_and_documents() {
    let config = read(
        "config_version: 1\nsources: { shop: {} }\nprojections: { p: { version: 1, source: shop, ordering: global, \
         allowed_lateness: 5s, projector: { native: churn, options: { depth: 3 } } } }\ntests:\n  - name: n\n    given:\n      \
         - { stream_id: o-1, type: A, recorded_at: 2026-01-01T00:00:00Z, payload: { price: 4.50 } }\n    \
         expect: { p/a/b: { x: null, y: [1] }, p/gone: null }\n",
    );
    let test = &config.tests[0];
    assert_eq!(
        test.expect[0].document.value,
        DocumentName { projection: Name::new("p").unwrap(), key: "a/b".to_owned() }
    );
    assert!(matches!(&test.expect[0].expectation, Expectation::Fields(fields) if fields.len() == 2));
    assert_eq!(test.expect[1].expectation, Expectation::Absent);
    assert_eq!(test.given[0].recorded_at.unwrap().to_string(), "2026-01-01T00:00:00.000000Z");
    let projection = &config.projections["p"];
    assert_eq!(projection.allowed_lateness, Duration::from_secs(5));
    assert!(
        matches!(&projection.projector, Projector::Native { options, .. } if options.contains_key("depth"))
    );
}

#[test]
fn what_runs_on_aws_is_read_with_its_defaults() {
    let config = read(
        "\
config_version: 1
store: { kind: dynamodb }
sources:
  polled: { kind: kinesis, stream: events }
  sent: { kind: kinesis, stream: events, read: fan_out, lease_table: kcl-app, event_table: shop }
  whole:
    kind: kinesis
    stream: events
    event_table:
      table: shop
      sort_key: date
      width: 6
      order: { index: all, shard: shard, shards: 4, id: ksuid }
sinks:
  plain: { kind: dynamodb, table: \"shop-{projection}-v{version}\" }
  full:
    kind: dynamodb
    table: \"{projection}.{version}\"
    key: { partition: customer, sort: order, separator: \"#\" }
    indexes: { by_status: { partition: status, sort: { attribute: total, type: number } } }
    create: false
    max_write_units: 500
    tags: { team: shop, \"cost:center\": \"7\" }
    point_in_time_recovery: true
    deletion_protection: true
    purge_deleted_after: 30d
",
    );
    assert_eq!(config.store, Store::Dynamodb { table: "foldstream".to_owned() });
    let kind = |name: &str| config.sources[name].kind.value.clone();
    let stream = "events".to_owned();
    let polled =
        SourceKind::Kinesis { stream, reading: Reading::Polling, lease_table: None, event_table: None };
    assert_eq!(kind("polled"), polled);
    let reading = Reading::FanOut { consumer: "foldstream".to_owned() };
    let SourceKind::Kinesis { reading: read, lease_table, event_table: Some(plain), .. } = kind("sent")
    else {
        panic!("{:?}", kind("sent"))
    };
    assert_eq!((read, lease_table.as_deref(), plain.table.as_str()), (reading, Some("kcl-app"), "shop"));
    assert_eq!((plain.sort_key, plain.width, plain.order), (None, None, None));
    let SourceKind::Kinesis { event_table: Some(whole), .. } = kind("whole") else { panic!() };
    assert_eq!((whole.sort_key.as_deref(), whole.width), (Some("date"), Some(6)));
    let order = whole.order.unwrap();
    assert_eq!((order.shards, order.id.as_str(), order.safe_window), (4, "ksuid", Duration::from_secs(10)));
    let tables = |name: &str| match &config.sinks[name].kind.value {
        SinkKind::Dynamodb(tables) => tables.clone(),
        SinkKind::Local => panic!("{name}"),
    };
    let plain = tables("plain");
    let key = |name: &str, holds| KeyAttribute { name: name.to_owned(), holds };
    let text = |name: &str| key(name, KeyType::String);
    assert_eq!(plain.key, TableKey { partition: text("key"), sort: None });
    assert!(plain.create && plain.max_write_units.is_none() && plain.indexes.is_empty());
    let full = tables("full");
    let sort = Some((text("order"), "#".to_owned()));
    assert_eq!(full.key, TableKey { partition: text("customer"), sort });
    let index = IndexKey { partition: text("status"), sort: Some(key("total", KeyType::Number)) };
    assert_eq!(full.indexes.values().collect::<Vec<_>>(), [&index]);
    assert_eq!((full.create, full.max_write_units), (false, Some(500)));
    assert_eq!((full.tags["team"].as_str(), full.tags["cost:center"].as_str()), ("shop", "7"));
    assert!(full.point_in_time_recovery && full.deletion_protection);
    assert_eq!(full.purge_deleted_after, Some(Duration::from_secs(30 * 86_400)));
}
