use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldstream_model::{Map, Path, Value};

/// Parts of events are not nested deeper than this.
const DEEPEST: usize = 3;
/// Maps with data for names would make columns without end.
const MOST_COLUMNS: usize = 2_000;

/// What a sample holds at each path.
pub(super) struct Columns {
    pub events: usize,
    /// The sample is in DynamoDB's JSON, which wraps each value: `"pk": {"S": "ORDER#1"}`.
    pub are_tagged: bool,
    all: BTreeMap<Path, Column>,
}

/// The values at one path; null counts as absent.
pub(super) struct Column {
    /// With the event's index, in the order of the sample.
    pub values: Vec<(usize, Value)>,
}

impl Columns {
    pub fn of(sample: &[Value]) -> Self {
        let mut columns = Self { events: sample.len(), are_tagged: false, all: BTreeMap::new() };
        for (index, event) in sample.iter().enumerate() {
            if let Some(map) = event.as_map() {
                columns.walk(index, map, &mut Vec::new());
            }
        }
        columns.are_tagged = columns.look_tagged();
        columns
    }

    fn walk(&mut self, index: usize, map: &Map, parents: &mut Vec<Arc<str>>) {
        for (name, value) in map {
            parents.push(Arc::clone(name));
            if let Some(path) = Path::new(parents.iter().cloned()).filter(|_| !value.is_null()) {
                self.add(index, path, value);
            }
            if let Some(inner) = value.as_map().filter(|_| parents.len() < DEEPEST) {
                self.walk(index, inner, parents);
            }
            parents.pop();
        }
    }

    fn add(&mut self, index: usize, path: Path, value: &Value) {
        let room = self.all.len() < MOST_COLUMNS;
        match self.all.get_mut(&path) {
            Some(column) => column.values.push((index, value.clone())),
            None if room => {
                self.all.insert(path, Column { values: vec![(index, value.clone())] });
            }
            None => {}
        }
    }

    pub fn get(&self, path: &Path) -> Option<&Column> {
        self.all.get(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Column)> {
        self.all.iter()
    }

    fn look_tagged(&self) -> bool {
        let is_wrapper = |path: &Path, column: &Column| {
            let tags = ["S", "N"];
            let is_tag = path.names().last().is_some_and(|name| tags.contains(&&**name));
            let parent = Path::new(path.names().iter().rev().skip(1).rev().cloned());
            let parent = parent.and_then(|parent| self.all.get(&parent));
            let is_alone = |value: &Value| value.as_map().is_some_and(|map| map.len() == 1);
            is_tag
                && column.all(|value| value.as_text().is_some())
                && parent.is_some_and(|parent| parent.all(is_alone))
        };
        self.all.iter().filter(|(path, column)| is_wrapper(path, column)).count() >= 2
    }

    /// Whether at least this percentage of the events has a value there.
    pub fn covers(&self, column: &Column, percent: usize) -> bool {
        column.values.len() * 100 >= self.events * percent
    }
}

impl Column {
    /// Every value as text, if all are texts that are not empty, or numbers.
    pub fn texts(&self) -> Option<Vec<(usize, String)>> {
        self.values.iter().map(|(index, value)| Some((*index, text_of(value)?))).collect()
    }

    pub fn distinct(&self) -> usize {
        self.values.iter().map(|(_, value)| value).collect::<BTreeSet<_>>().len()
    }

    pub fn all(&self, holds: impl Fn(&Value) -> bool) -> bool {
        self.values.iter().all(|(_, value)| holds(value))
    }

    /// Whether both divide the events into the same groups.
    pub fn groups_as(&self, other: &Self) -> bool {
        let mut pairs = BTreeSet::new();
        let other_values: BTreeMap<usize, &Value> =
            other.values.iter().map(|(index, value)| (*index, value)).collect();
        for (index, value) in &self.values {
            let Some(theirs) = other_values.get(index) else { return false };
            pairs.insert((value, *theirs));
        }
        pairs.len() == self.distinct() && pairs.len() == other.distinct()
    }

    /// What all texts begin with, up to the last `#`, `/`, `:` or `|` in it, leaving something of each.
    pub fn common_prefix(&self) -> Option<String> {
        let texts: Option<Vec<&str>> = self.values.iter().map(|(_, value)| value.as_text()).collect();
        let texts = texts?;
        let first = *texts.first()?;
        let shared = texts.iter().fold(first, |shared, text| {
            let same = shared.char_indices().zip(text.chars()).find(|((_, a), b)| a != b);
            let end = same.map_or(shared.len().min(text.len()), |((at, _), _)| at);
            shared.get(..end).unwrap_or_default()
        });
        let end = shared.rfind(['#', '/', ':', '|'])? + 1;
        let prefix = shared.get(..end)?;
        let is_fit =
            prefix.contains(char::is_alphanumeric) && texts.iter().all(|text| text.len() > prefix.len());
        is_fit.then(|| prefix.to_owned())
    }
}

/// A text that is not empty, or a number as text: what a stream id can be made of.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number that is not negative, also one that is written as text.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    text_of(value).and_then(|text| text.parse().ok())
}
