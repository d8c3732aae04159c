//! The projection that a sample leads to: a document for each stream, with the fields of the payloads.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{Decimal, Map, Value};

use super::{mapping::Guesses, name, part::Part, sampled::Sampled};

/// A document with more fields is no starting point.
const MOST_FIELDS: usize = 40;

pub(super) struct ReadModel {
    /// What the streams are, judged by their types: `orders`.
    pub name: String,
    /// In the order in which the sample has them first.
    pub types: Vec<String>,
    pub fields: BTreeMap<String, Vec<Field>>,
    /// Of each type the fields of its payload with numbers that documents cannot hold: they are not set.
    pub not_set: BTreeMap<String, Vec<String>>,
    /// Fields that are kept of every event: how many there were, and what was the last.
    pub counters: Vec<Counter>,
}

/// A field of a document that an event of a type sets.
pub(super) struct Field {
    /// In the document.
    pub target: String,
    /// In the payload.
    pub source: String,
    /// Some events of the type do not have it: then what the document has stays.
    pub is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Events,
    LastType,
    LastAt,
}

impl Counter {
    pub fn field(self) -> &'static str {
        match self {
            Self::Events => "event_count",
            Self::LastType => "last_event",
            Self::LastAt => "last_event_at",
        }
    }
}

impl ReadModel {
    pub fn of(guesses: &Guesses, events: &[Sampled]) -> Self {
        let mut types: Vec<String> = Vec::new();
        for event in events {
            if !types.contains(&event.event_type) {
                types.push(event.event_type.clone());
            }
        }
        let fields: BTreeMap<String, Vec<Field>> =
            types.iter().map(|event_type| (event_type.clone(), fields_of(event_type, events))).collect();
        let taken: BTreeSet<&str> = fields.values().flatten().map(|field| field.target.as_str()).collect();
        let counters = [Counter::Events, Counter::LastType, Counter::LastAt];
        let counters = counters.into_iter().filter(|counter| !taken.contains(counter.field())).collect();
        let not_set =
            types.iter().map(|event_type| (event_type.clone(), not_set(event_type, events))).collect();
        Self { name: model_name(guesses, &types), counters, fields, not_set, types }
    }

    /// The document of these events of one stream, as the projection makes it; times aside.
    pub fn fold(&self, events: &[&Sampled]) -> Map {
        let mut document = Map::new();
        for (index, event) in events.iter().enumerate() {
            for counter in &self.counters {
                let value = match counter {
                    Counter::Events => {
                        Value::Number(Decimal::from(i64::try_from(index + 1).unwrap_or(i64::MAX)))
                    }
                    Counter::LastType => Value::from(event.event_type.as_str()),
                    Counter::LastAt => continue,
                };
                document.insert(counter.field().into(), value);
            }
            for field in self.fields.get(&event.event_type).into_iter().flatten() {
                let value = event.payload.get(field.source.as_str()).filter(|value| !value.is_null());
                match value {
                    Some(value) => {
                        document.insert(field.target.as_str().into(), value.clone());
                    }
                    None if field.is_optional => {}
                    None => {
                        document.remove(field.target.as_str());
                    }
                }
            }
        }
        document
    }
}

fn fields_of(event_type: &str, events: &[Sampled]) -> Vec<Field> {
    let events: Vec<&Sampled> = events.iter().filter(|event| event.event_type == event_type).collect();
    let names: BTreeSet<&str> =
        events.iter().flat_map(|event| event.payload.keys()).map(|name| &**name).collect();
    let mut fields: Vec<Field> = Vec::new();
    for source in names {
        let values: Vec<&Value> = events
            .iter()
            .filter_map(|event| event.payload.get(source))
            .filter(|value| !value.is_null())
            .collect();
        let target = source.replace('.', "_");
        let is_optional = events.iter().any(|event| !event.payload.contains_key(source));
        let is_new = !fields.iter().any(|field| field.target == target);
        if !target.is_empty() && is_new && values.iter().all(|value| can_be_stored(value)) {
            fields.push(Field { target, source: source.to_owned(), is_optional });
        }
    }
    fields.truncate(MOST_FIELDS);
    fields
}

fn not_set(event_type: &str, events: &[Sampled]) -> Vec<String> {
    let events = events.iter().filter(|event| event.event_type == event_type);
    let fields = events.flat_map(|event| &event.payload).filter(|(_, value)| !can_be_stored(value));
    let names: BTreeSet<&str> = fields.map(|(name, _)| &**name).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Events may hold numbers that documents cannot.
fn can_be_stored(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.fits_document().is_ok(),
        Value::List(items) => items.iter().all(can_be_stored),
        Value::Map(map) => map.values().all(can_be_stored),
        _ => true,
    }
}

/// What the streams are, as a plural: from what all ids begin with (`ORDER#7`), else from the field of the
/// ids (`orderId`), else from the word with which most types begin (`OrderPlaced`).
fn model_name(guesses: &Guesses, types: &[String]) -> String {
    let stream = guesses.get(Part::StreamId);
    let prefix = stream.and_then(|guess| guess.strip_prefix.as_deref()).map(name::words).unwrap_or_default();
    let field = stream.and_then(|guess| guess.path.as_ref()).and_then(|path| path.names().last());
    let mut of_field = field.map(|name| name::words(name)).unwrap_or_default();
    let is_id = of_field.pop().is_some_and(|last| matches!(last.as_str(), "id" | "uuid" | "guid" | "key"));
    let generic =
        ["stream", "aggregate", "entity", "root", "source", "subject", "persistence", "partition", "sort"];
    if !is_id || of_field.iter().any(|word| generic.contains(&word.as_str())) {
        of_field.clear();
    }
    let of_types = most_common_beginning(types).into_iter().collect();
    let words = [prefix, of_field, of_types].into_iter().find(|words: &Vec<String>| is_name(words));
    words.map_or_else(|| "streams".to_owned(), |words| plural(&words.join("_")))
}

fn is_name(words: &[String]) -> bool {
    let length: usize = words.iter().map(String::len).sum();
    let is_word = |word: &String| word.chars().all(|c| c.is_ascii_lowercase());
    (2..40).contains(&length) && words.len() <= 3 && words.iter().all(is_word)
}

fn most_common_beginning(types: &[String]) -> Option<String> {
    let mut beginnings: BTreeMap<String, usize> = BTreeMap::new();
    for event_type in types {
        let local = event_type.rsplit(['.', '/', ':']).next().unwrap_or(event_type);
        let is_one_word = name::words(local).len() < 2;
        let named = if is_one_word { event_type } else { local };
        if let Some(first) = name::words(named).into_iter().next() {
            *beginnings.entry(first).or_default() += 1;
        }
    }
    let most = beginnings.into_iter().max_by_key(|(_, number)| *number);
    most.filter(|(_, number)| number * 2 > types.len()).map(|(word, _)| word)
}

fn plural(word: &str) -> String {
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if word.ends_with('s') => word.to_owned(),
        _ => format!("{word}s"),
    }
}
