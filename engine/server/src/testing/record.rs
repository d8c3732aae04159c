//! A test written from stored events.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use foldstream_config::settings::{Config, Name};
use foldstream_declarative::Compiled;
use foldstream_model::{Error, Event, Map, Payload, Result, Value};

use super::given;
use super::rehearsal::Rehearsal;

/// The YAML of a test that gives these events of a source and expects what is made of them now; to be put under
/// `tests:`. `Poison`: one of the events cannot be projected.
pub fn record(
    config: &Config,
    compiled: &Compiled,
    source: &Name,
    test: &str,
    events: &[Event],
) -> Result<String> {
    let mut rehearsal = Rehearsal::new(config, compiled);
    rehearsal.play(source, events);
    if let Some((document, poison)) = rehearsal.parked.first_key_value() {
        return Err(Error::poison(format!("{document} at event {}: {}", poison.event, poison.error)));
    }
    let mut yaml = format!("  - name: {}\n    given:\n", yaml_text(test));
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        let stream = event.stream_id.as_str();
        let expected = *next.entry(stream).or_insert_with(|| given::first_sequence(config, source));
        next.insert(stream, event.sequence.0.saturating_add(1));
        let fields = given_fields(config, source, event, expected)?;
        writeln!(yaml, "      - {}", flow(&fields))
            .map_err(|_| Error::internal("a string takes every text"))?;
    }
    yaml.push_str("    expect:\n");
    for (document, made) in rehearsal.documents {
        let fields = match made {
            Some(document) => yaml_value(&Value::Map(document.fields)).to_canonical_json(),
            None => "null".to_owned(),
        };
        writeln!(yaml, "      {}: {fields}", yaml_text(&document))
            .map_err(|_| Error::internal("a string takes every text"))?;
    }
    Ok(yaml)
}

/// The fields that a test has to give so that the event is the same again.
fn given_fields(
    config: &Config,
    source: &Name,
    event: &Event,
    expected: u64,
) -> Result<Vec<(&'static str, Value)>> {
    let mut fields = Vec::new();
    if config.sources.len() > 1 {
        fields.push(("source", Value::from(source.as_str())));
    }
    fields.push(("stream_id", Value::from(event.stream_id.as_str())));
    fields.push(("type", Value::from(event.event_type.as_str())));
    if event.sequence.0 != expected {
        fields.push(("sequence", Value::from(event.sequence.0)));
    }
    if event.id.as_str() != given::id_of(event.stream_id.as_str(), event.sequence.0) {
        fields.push(("id", Value::from(event.id.as_str())));
    }
    if event.schema_version.0 != 1 {
        fields.push(("schema_version", Value::from(u64::from(event.schema_version.0))));
    }
    fields.push(("recorded_at", Value::from(event.recorded_at.to_string())));
    if event.effective_at != event.recorded_at {
        fields.push(("effective_at", Value::from(event.effective_at.to_string())));
    }
    for (name, payload) in [("payload", &event.payload), ("metadata", &event.metadata)] {
        let fields_of_payload = object(payload)?;
        if !fields_of_payload.is_empty() {
            fields.push((name, Value::from(fields_of_payload)));
        }
    }
    Ok(fields)
}

fn object(payload: &Payload) -> Result<Map> {
    if payload.raw.is_empty() {
        return Ok(Map::new_vec());
    }
    match Value::parse(&payload.raw) {
        Ok(Value::Map(fields)) => Ok(Arc::unwrap_or_clone(fields)),
        Ok(Value::Null) => Ok(Map::new_vec()),
        Ok(other) => Err(Error::poison(format!("a payload is {}, not an object", other.kind()))),
        Err(error) => Err(Error::poison(error.to_string())),
    }
}

/// A mapping on one line: JSON is YAML, and names without quotes are easier to read.
fn flow(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", yaml_value(value).to_canonical_json()))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn yaml_text(text: &str) -> String {
    yaml_value(&Value::from(text)).to_canonical_json()
}

/// The value with what the file would take as an expression or a variable written so that it is not.
fn yaml_value(value: &Value) -> Value {
    match value {
        Value::Text(text) => {
            let text = text.replace("${", "$${");
            Value::from(if text.starts_with('=') { format!("={text}") } else { text })
        }
        Value::List(items) => Value::from(items.iter().map(yaml_value).collect::<Vec<_>>()),
        Value::Map(fields) => Value::from(
            fields.iter().map(|(name, value)| (Arc::clone(name), yaml_value(value))).collect::<Map>(),
        ),
        other => other.clone(),
    }
}
