use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::schema;
use crate::{
    Config, SourceFile,
    yaml::{Kind, Node, parse},
};

/// `UPDATE_SCHEMA=1 cargo test -p foldstream-config schema` writes the file anew.
#[test]
fn the_schema_that_is_checked_in_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, schema()).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == schema(), "run UPDATE_SCHEMA=1 cargo test -p foldstream-config schema");
}

#[test]
fn the_schema_names_the_fields_that_are_read_and_no_others() {
    let file = "\
config_version: 1
zz: 1
store: { kind: dynamodb, zz: 1 }
sources:
  a: { zz: 1 }
  b: { kind: kinesis, stream: s, event_table: { table: abc, order: { index: i, shard: s, shards: 1, id: i, zz: 1 }, zz: 1 }, zz: 1, start: AT_TIMESTAMP, start_timestamp: 2026-01-01T00:00:00Z }
  c: { kind: dynamodb_streams, table: t, zz: 1 }
  d: { kind: kafka, brokers: b, topic: t, zz: 1 }
  e:
    event: { stream_id: { from: a, zz: 1 }, sequence: { from: a, zz: 1 }, type: a, payload: { from: a, zz: 1 }, zz: 1 }
    upcasters: [{ event: A, from: 1, unset: a, zz: 1 }]
sinks:
  a: { kind: local, zz: 1 }
  b:
    kind: dynamodb
    table: '{projection}-{version}'
    key: { partition: p, zz: 1 }
    indexes: { a: { partition: p, zz: 1 } }
    zz: 1
  c: { kind: opensearch, domain: d, index: i, zz: 1 }
reducers: { a: [{ event: A, put_entry: { b: { key: 1, value: 1, zz: 1 } }, zz: 1 }] }
projections:
  a: { version: 1, source: a, ordering: global, handlers: [{ event: A, key: a, unset: a, zz: 1 }], zz: 1 }
  b: { version: 1, source: a, ordering: global, projector: { native: a, zz: 1 } }
limits: { zz: 1 }
tests: [{ name: a, given: [{ source: a, stream_id: a, type: A, zz: 1 }], expect: { a/b: {} }, zz: 1 }]
";
    let mut read: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for found in Config::read("file", file, &|_| None).unwrap_err() {
        let Some(known) = found.help.as_deref().and_then(|help| help.strip_prefix("known here: ")) else {
            continue;
        };
        read.entry(shape_at(&found.path)).or_default().extend(known.split(", ").map(str::to_owned));
    }
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    assert_eq!(read.len(), 21, "{:?}", read.keys());
    for (shape, fields) in read {
        let definition = if shape == "File" { &schema } else { &schema["definitions"][shape] };
        let in_schema = definition["properties"].as_object().unwrap_or_else(|| panic!("no {shape}"));
        let in_schema: BTreeSet<String> = in_schema.keys().cloned().collect();
        assert_eq!(fields, in_schema, "{shape}");
    }
}

fn shape_at(path: &str) -> &'static str {
    let starts = |start: &str| path.starts_with(start);
    match path {
        "" => "File",
        "sources.e.event" => "Event",
        "sources.e.event.stream_id" => "MappedPart",
        "sources.e.event.sequence" => "MappedSequence",
        "sources.e.event.payload" => "MappedPayload",
        "projections.a.handlers[0]" => "Handler",
        "projections.b.projector" => "Projector",
        "limits" => "Limits",
        "store" => "Store",
        "sources.b.event_table" => "DescribedTable",
        "sources.b.event_table.order" => "CommitOrder",
        "sinks.b.key" => "BothKeys",
        "sinks.b.indexes.a" => "IndexKey",
        "tests[0]" => "Test",
        "reducers.a[0]" => "Step",
        _ if starts("sources.e.upcasters") => "Upcaster",
        _ if starts("sources.") => "Source",
        _ if starts("sinks.") => "Sink",
        _ if starts("reducers.") => "NewEntry",
        _ if starts("projections.") => "Projection",
        _ if starts("tests") => "GivenEvent",
        other => panic!("{other}"),
    }
}

#[test]
fn every_example_keeps_to_the_schema_and_a_mistake_does_not() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let value = as_json(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(mismatch(&value, &schema, &schema), None, "{}", path.display());
        }
    }
    for mistake in [
        "{}",
        "config_version: 2",
        "{ config_version: 1, source: {} }",
        "{ config_version: 1, sources: { a: { kind: kinesi } } }",
        "{ config_version: 1, limits: { lanes: -1 } }",
    ] {
        assert!(mismatch(&as_json(mistake), &schema, &schema).is_some(), "{mistake}");
    }
}

fn as_json(text: &str) -> Value {
    let (root, found) = parse(&SourceFile::new("file", text));
    assert!(found.is_empty(), "{found:?}");
    json_of(&root.unwrap())
}

fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar { text, plain: true, .. } => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Kind::Scalar { text, .. } => json!(text),
        Kind::List(items) => items.iter().map(json_of).collect(),
        Kind::Map(entries) => Value::Object(
            entries.iter().map(|(key, value)| (key.text.clone(), json_of(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// The first place at which a value does not keep to a schema, for the words that ours uses (patterns aside).
fn mismatch(value: &Value, schema: &Value, root: &Value) -> Option<String> {
    let Value::Object(words) = schema else { return None };
    words.iter().find_map(|(word, rule)| match word.as_str() {
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
            mismatch(value, &root["definitions"][name], root)
        }
        "allOf" => rule.as_array().unwrap().iter().find_map(|rule| mismatch(value, rule, root)),
        "anyOf" | "oneOf" => {
            let tried: Option<Vec<_>> =
                rule.as_array().unwrap().iter().map(|rule| mismatch(value, rule, root)).collect();
            tried.map(|tried| tried.join(" or "))
        }
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            (!types.iter().any(|one| has_type(value, one.as_str().unwrap())))
                .then(|| format!("{value} is no {rule}"))
        }
        "const" => (value != rule).then(|| format!("{value} is not {rule}")),
        "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("{value} is not in {rule}")),
        "minimum" => {
            value.as_i64().filter(|n| *n < rule.as_i64().unwrap()).map(|n| format!("{n} is below {rule}"))
        }
        "required" => {
            let fields = value.as_object()?;
            let missing =
                rule.as_array().unwrap().iter().find(|name| !fields.contains_key(name.as_str().unwrap()));
            missing.map(|name| format!("{name} is missing"))
        }
        "properties" => {
            value.as_object()?.iter().find_map(|(name, value)| mismatch(value, rule.get(name)?, root))
        }
        "additionalProperties" => {
            let known = schema["properties"].as_object();
            let mut others =
                value.as_object()?.iter().filter(|(name, _)| known.is_none_or(|k| !k.contains_key(*name)));
            match rule {
                Value::Bool(false) => others.next().map(|(name, _)| format!("{name} is unknown")),
                rule => others.find_map(|(_, value)| mismatch(value, rule, root)),
            }
        }
        "items" => value.as_array()?.iter().find_map(|item| mismatch(item, rule, root)),
        "$schema" | "title" | "description" | "definitions" | "default" | "pattern" | "format"
        | "minItems" => None,
        other => panic!("the check knows no {other}"),
    })
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}
