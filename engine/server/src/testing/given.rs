//! The events of a test, with all that it leaves out.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldstream_config::settings::{Config, GivenEvent, Name, TestCase};
use foldstream_model::{
    Event, EventId, EventType, Map, Payload, SchemaVersion, Sequence, StreamId, Timestamp, Value,
};

/// When the first event of a test is recorded, unless it says otherwise: 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGINNING: i64 = 1_767_225_600;
const SECOND: i64 = 1_000_000;

/// By source, in the order in which they are given.
pub(super) fn events(config: &Config, test: &TestCase) -> BTreeMap<Name, Vec<Event>> {
    let mut last: BTreeMap<(&Name, &str), u64> = BTreeMap::new();
    let mut recorded_at = Timestamp::from_seconds(BEGINNING);
    let mut events: BTreeMap<Name, Vec<Event>> = BTreeMap::new();
    for given in &test.given {
        let Some(source) =
            given.source.as_ref().map(|source| &source.value).or_else(|| config.sources.keys().next())
        else {
            continue;
        };
        let first = first_sequence(config, source);
        let next = last.get(&(source, given.stream_id.as_str())).map_or(first, |last| last + 1);
        let sequence = given.sequence.unwrap_or(next);
        last.insert((source, &given.stream_id), sequence);
        let at = given.recorded_at.unwrap_or(recorded_at);
        recorded_at = at.plus_micros(SECOND);
        events.entry(source.clone()).or_default().push(event(given, sequence, at));
    }
    events
}

pub(super) fn first_sequence(config: &Config, source: &Name) -> u64 {
    let mapped = config.sources.get(source).and_then(|source| source.event.sequence.as_ref());
    mapped.map_or(1, |sequence| sequence.first)
}

/// The id of an event that is not given one.
pub(super) fn id_of(stream_id: &str, sequence: u64) -> String {
    format!("{stream_id}/{sequence}")
}

fn event(given: &GivenEvent, sequence: u64, recorded_at: Timestamp) -> Event {
    let id = given.id.clone().unwrap_or_else(|| id_of(&given.stream_id, sequence));
    Event {
        stream_id: StreamId::new(given.stream_id.as_str()),
        sequence: Sequence(sequence),
        id: EventId::new(id),
        event_type: EventType::new(given.event_type.as_str()),
        schema_version: SchemaVersion(given.schema_version),
        recorded_at,
        effective_at: given.effective_at.unwrap_or(recorded_at),
        payload: payload(&given.payload),
        metadata: payload(&given.metadata),
    }
}

fn payload(fields: &Map) -> Payload {
    Payload::new(Bytes::from(Value::from(fields.clone()).to_canonical_json()))
}
