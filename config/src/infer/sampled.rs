use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{Map, Path, Value};

use super::{
    choice::parse_json,
    column::{text_of, whole_number},
    mapping::{Guess, Guesses},
    part::Part,
};

/// An event of the sample as its mapping has it.
pub(super) struct Sampled {
    pub stream_id: String,
    /// `None` if events are numbered in the order of the lines.
    pub sequence: Option<u64>,
    pub event_type: String,
    pub schema_version: u64,
    pub payload: Map,
}

/// The events that have all that is needed, in the order of the sample.
pub(super) fn events(sample: &[Value], guesses: &Guesses) -> Vec<Sampled> {
    sample.iter().filter_map(|event| sampled(event.as_map()?, guesses)).collect()
}

/// How many events stand behind a later one of their stream. One that is there twice is not out of order.
pub(super) fn out_of_order(events: &[Sampled]) -> usize {
    let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut late = 0;
    for event in events {
        let Some(sequence) = event.sequence else { continue };
        let seen = seen.entry(&event.stream_id).or_default();
        let is_behind = seen.last().is_some_and(|last| sequence < *last);
        late += usize::from(seen.insert(sequence) && is_behind);
    }
    late
}

fn sampled(event: &Map, guesses: &Guesses) -> Option<Sampled> {
    let text = |part| guesses.get(part).and_then(|guess| part_text(event, guess));
    let sequence = match guesses.get(Part::Sequence) {
        Some(guess) => Some(part_text(event, guess)?.parse().ok()?),
        None => None,
    };
    let version = guesses.get(Part::SchemaVersion).and_then(|guess| value_at(event, guess));
    Some(Sampled {
        stream_id: text(Part::StreamId)?,
        sequence,
        event_type: text(Part::Type)?,
        schema_version: version.and_then(whole_number).unwrap_or(1),
        payload: payload(event, guesses)?,
    })
}

fn value_at<'e>(event: &'e Map, guess: &Guess) -> Option<&'e Value> {
    guess.path.as_ref()?.get(event).filter(|value| !value.is_null())
}

fn part_text(event: &Map, guess: &Guess) -> Option<String> {
    let text = text_of(value_at(event, guess)?)?;
    match &guess.strip_prefix {
        Some(prefix) => text.strip_prefix(prefix.as_str()).map(str::to_owned),
        None => Some(text),
    }
}

fn payload(event: &Map, guesses: &Guesses) -> Option<Map> {
    let guess = guesses.get(Part::Payload)?;
    if guess.path.is_none() {
        let taken: Vec<&Path> = guesses.parts.values().filter_map(|guess| guess.path.as_ref()).collect();
        let is_left =
            |name: &str| !taken.iter().any(|path| path.names().first().is_some_and(|first| **first == *name));
        let left = event.iter().filter(|(name, _)| is_left(name));
        return Some(left.map(|(name, value)| (name.clone(), value.clone())).collect());
    }
    match value_at(event, guess) {
        None => Some(Map::new()),
        Some(Value::Text(text)) if guess.is_json => parse_json(text)?.as_map().cloned(),
        Some(value) => value.as_map().cloned(),
    }
}
