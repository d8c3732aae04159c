//! The test that comes with the projection: one stream of the sample, and the document that it folds to.

use std::collections::BTreeMap;

use foldstream_model::Value;

use super::{read_model::ReadModel, sampled::Sampled, yaml_text};

const MOST_EVENTS: usize = 6;
/// Longer payloads make no test that one reads.
const LONGEST_PAYLOAD: usize = 2_000;
/// YAML takes no longer keys.
const LONGEST_ID: usize = 200;
/// Deeper values are not read from a file.
const DEEPEST: usize = 20;

/// The lines of `tests:`, if some stream of the sample is fit for it.
pub(super) fn write(model: &ReadModel, events: &[Sampled]) -> Option<String> {
    let (stream_id, events) = choose(events)?;
    let document = model.fold(&events);
    let mut lines = format!(
        "tests:\n  - name: {}\n    given:\n",
        yaml_text::data(&format!("the document of {stream_id}"))
    );
    for event in &events {
        lines.push_str(&format!("      - {}\n", given(event)));
    }
    let key = yaml_text::key(&format!("{}/{stream_id}", model.name));
    lines.push_str(&format!("    expect:\n      {key}:\n"));
    let expected: Vec<_> = document.iter().filter(|(_, value)| !value.is_null()).collect();
    for (name, value) in expected {
        lines.push_str(&format!("        {}: {}\n", yaml_text::key(name), yaml_text::flow(value)));
    }
    Some(lines)
}

fn given(event: &Sampled) -> String {
    let version = if event.schema_version == 1 {
        String::new()
    } else {
        format!(", schema_version: {}", event.schema_version)
    };
    let payload = yaml_text::flow_map(event.payload.iter().map(|(name, value)| (&**name, value)));
    format!(
        "{{ stream_id: {}, type: {}{version}, payload: {payload} }}",
        yaml_text::data(&event.stream_id),
        yaml_text::data(&event.event_type)
    )
}

/// The stream with the most types among its first events.
fn choose(events: &[Sampled]) -> Option<(&str, Vec<&Sampled>)> {
    let mut streams: BTreeMap<&str, Vec<&Sampled>> = BTreeMap::new();
    for event in events {
        streams.entry(&event.stream_id).or_default().push(event);
    }
    let fit = streams.into_iter().filter_map(|(id, events)| Some((id, first_events(id, events)?)));
    fit.max_by_key(|(id, events)| {
        let mut types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        (types.len(), std::cmp::Reverse(events.len()), std::cmp::Reverse(*id))
    })
}

fn first_events<'e>(id: &str, mut events: Vec<&'e Sampled>) -> Option<Vec<&'e Sampled>> {
    events.sort_by_key(|event| event.sequence);
    events.dedup_by(|later, earlier| later.sequence.is_some() && later.sequence == earlier.sequence);
    events.truncate(MOST_EVENTS);
    let fit = |event: &&Sampled| {
        let payload = Value::from(event.payload.clone());
        depth(&payload) <= DEEPEST && payload.to_canonical_json().len() <= LONGEST_PAYLOAD
    };
    (id.len() <= LONGEST_ID && events.iter().all(fit)).then_some(events)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
