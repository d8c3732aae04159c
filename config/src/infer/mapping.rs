use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::Path;

use super::{
    Unclear,
    choice::{self, Candidate},
    column::{Column, Columns},
    part::Part,
};

/// Where each part of an event is found. A part that is not in the map is absent.
pub(super) struct Guesses {
    pub parts: BTreeMap<Part, Guess>,
    /// Why a part that one would expect is absent.
    pub absent: BTreeMap<Part, String>,
    /// Top-level fields of which no part takes anything.
    pub left_out: Vec<String>,
}

pub(super) struct Guess {
    /// `None`: all top-level fields of which no other part takes anything.
    pub path: Option<Path>,
    pub strip_prefix: Option<String>,
    /// Of a sequence.
    pub first: u64,
    /// Of a payload: it is a text that holds JSON.
    pub is_json: bool,
    pub why: String,
}

impl Guess {
    pub fn new(path: &Path, why: String) -> Self {
        Self { path: Some(path.clone()), strip_prefix: None, first: 1, is_json: false, why }
    }
}

/// The guesses while they are made, the surest first.
pub(super) struct Making<'c> {
    pub columns: &'c Columns,
    pub parts: BTreeMap<Part, Guess>,
    pub absent: BTreeMap<Part, String>,
    pub unclear: Vec<Unclear>,
    given: BTreeSet<Part>,
}

impl Guesses {
    pub fn make(columns: &Columns, given: &[(&str, &str)]) -> Result<Self, Vec<Unclear>> {
        let mut making = Making {
            columns,
            parts: BTreeMap::new(),
            absent: BTreeMap::new(),
            unclear: Vec::new(),
            given: BTreeSet::new(),
        };
        if columns.events == 0 {
            let message = "the sample holds no events".to_owned();
            return Err(vec![Unclear { part: Part::StreamId.name(), message, candidates: Vec::new() }]);
        }
        making.take_given(given);
        making.payload_by_name();
        making.event_type();
        making.stream_and_sequence();
        making.times();
        making.event_id();
        making.schema_version();
        making.metadata();
        making.payload_otherwise();
        if making.unclear.is_empty() {
            let left_out = making.left_out();
            Ok(Self { parts: making.parts, absent: making.absent, left_out })
        } else {
            Err(making.unclear)
        }
    }

    pub fn get(&self, part: Part) -> Option<&Guess> {
        self.parts.get(&part)
    }
}

impl<'c> Making<'c> {
    fn take_given(&mut self, given: &[(&str, &str)]) {
        for (name, field) in given {
            let Some(part) = Part::of_name(name) else {
                let message = format!("an event has no part `{name}`");
                self.unclear.push(Unclear { part: "unknown", message, candidates: Vec::new() });
                continue;
            };
            self.given.insert(part);
            if part == Part::Payload && *field == "*" {
                self.take_rest("as given".to_owned());
                continue;
            }
            let path = field.parse::<Path>().ok();
            match path.and_then(|path| Some((self.columns.get(&path)?, path))) {
                Some((column, path)) => self.take_field(part, &path, column),
                None => {
                    let message = format!("no event of the sample has a value in the field `{field}`");
                    self.unclear.push(Unclear { part: part.name(), message, candidates: Vec::new() });
                }
            }
        }
    }

    /// A part that was given: its field is certain, what its values look like is still to be seen.
    fn take_field(&mut self, part: Part, path: &Path, column: &Column) {
        let mut guess = Guess::new(path, "as given".to_owned());
        match part {
            Part::StreamId => guess.strip_prefix = column.common_prefix(),
            Part::Payload | Part::Metadata => guess.is_json = choice::is_json(column),
            _ => {}
        }
        self.parts.insert(part, guess);
    }

    fn take_rest(&mut self, why: String) {
        let guess = Guess { path: None, strip_prefix: None, first: 1, is_json: false, why };
        self.parts.insert(Part::Payload, guess);
    }

    pub fn is_free(&self, path: &Path) -> bool {
        self.parts.values().all(|guess| guess.path.as_ref() != Some(path))
    }

    pub fn is_in_payload(&self, path: &Path) -> bool {
        let payload = self.parts.get(&Part::Payload).and_then(|guess| guess.path.as_ref());
        payload.is_some_and(|payload| payload.covers(path))
    }

    pub fn is_outside(&self, path: &Path) -> bool {
        self.is_free(path) && !self.is_in_payload(path)
    }

    pub fn wanted(&self, part: Part) -> bool {
        !self.given.contains(&part) && !self.parts.contains_key(&part)
    }

    pub fn settle(&mut self, part: Part, sorted: &[Candidate<'c>]) -> Option<(&'c Path, &'c Column)> {
        match choice::best(part, sorted) {
            Ok(best) => best,
            Err(unclear) => {
                self.unclear.push(unclear);
                None
            }
        }
    }

    pub fn missing(&mut self, part: Part, message: &str) {
        if self.unclear.iter().all(|unclear| unclear.part != part.name()) {
            self.unclear.push(Unclear {
                part: part.name(),
                message: message.to_owned(),
                candidates: Vec::new(),
            });
        }
    }

    fn payload_by_name(&mut self) {
        if !self.wanted(Part::Payload) {
            return;
        }
        let mut found = choice::maps(self.columns, Part::Payload, &|path| self.is_free(path));
        found.retain(|candidate| self.columns.covers(candidate.column, 50));
        // An object in which another candidate lies is a wrapper of the event, not its payload.
        let paths: Vec<&Path> =
            found.iter().filter(|c| c.score > 60).map(|candidate| candidate.path).collect();
        found.retain(|candidate| {
            candidate.score > 60
                || !paths.iter().any(|inner| *inner != candidate.path && candidate.path.covers(inner))
        });
        if let Some((path, column)) = self.settle(Part::Payload, &found) {
            self.take_payload(path, column, "by its name".to_owned());
        }
    }

    fn take_payload(&mut self, path: &Path, column: &Column, why: String) {
        let is_json = choice::is_json(column);
        let why = if is_json { format!("{why}; a text that holds JSON") } else { why };
        self.parts.insert(Part::Payload, Guess { is_json, ..Guess::new(path, why) });
    }

    /// An object that nothing else accounts for, or all fields that are left.
    fn payload_otherwise(&mut self) {
        if !self.wanted(Part::Payload) || self.unclear.iter().any(|unclear| unclear.part == "payload") {
            return;
        }
        let left = self.left();
        match left.as_slice() {
            [(path, column)] if choice::is_map(column) || choice::is_json(column) => {
                self.take_payload(path, column, "the only object that is left".to_owned());
            }
            _ => self.take_rest(
                "all fields that no other part takes: no field holds the payload alone".to_owned(),
            ),
        }
    }

    /// The top-level fields of which no part takes anything.
    fn left(&self) -> Vec<(&'c Path, &'c Column)> {
        let is_taken = |path: &Path| {
            self.parts.values().filter_map(|guess| guess.path.as_ref()).any(|taken| path.covers(taken))
        };
        let top_level = self.columns.iter().filter(|(path, _)| path.names().len() == 1);
        top_level.filter(|(path, _)| !is_taken(path)).collect()
    }

    fn left_out(&self) -> Vec<String> {
        let takes_rest = self.parts.get(&Part::Payload).is_some_and(|guess| guess.path.is_none());
        if takes_rest { Vec::new() } else { self.left().iter().map(|(path, _)| path.to_string()).collect() }
    }

    fn event_type(&mut self) {
        if !self.wanted(Part::Type) {
            return;
        }
        let mut found = choice::types(self.columns, &|path| self.is_outside(path));
        if found.is_empty() {
            found = choice::types(self.columns, &|path| self.is_free(path));
        }
        if found.is_empty() {
            found = choice::types_by_value(self.columns, &|path| self.is_outside(path));
        }
        match self.settle(Part::Type, &found) {
            Some((path, column)) => {
                let why = format!(
                    "{} in {}",
                    count(column.distinct(), "type"),
                    count(column.values.len(), "event")
                );
                self.parts.insert(Part::Type, Guess::new(path, why));
            }
            None => self.missing(Part::Type, "no field looks like the type of an event"),
        }
    }

    fn times(&mut self) {
        let of = |making: &Self, part| choice::times(making.columns, part, &|path| making.is_outside(path));
        if self.wanted(Part::EffectiveAt) {
            let found = of(self, Part::EffectiveAt);
            if let Some((path, _)) = self.settle(Part::EffectiveAt, &found) {
                self.parts
                    .insert(Part::EffectiveAt, Guess::new(path, "when it was true, by its name".to_owned()));
            }
        }
        if self.wanted(Part::RecordedAt) {
            let found = of(self, Part::RecordedAt);
            if let Some((path, column)) = self.settle(Part::RecordedAt, &found) {
                let why = self.time_note("when it was stored, by its name", column);
                self.parts.insert(Part::RecordedAt, Guess::new(path, why));
            } else if let Some(only) =
                self.parts.remove(&Part::EffectiveAt).filter(|_| !self.given.contains(&Part::EffectiveAt))
            {
                self.parts
                    .insert(Part::RecordedAt, Guess { why: "the only time of an event".to_owned(), ..only });
            } else {
                let why = "no field holds a time for every event; the time of the import stands for it";
                self.absent.insert(Part::RecordedAt, why.to_owned());
            }
        }
    }

    fn time_note(&self, why: &str, column: &Column) -> String {
        match self.columns.events - column.values.len() {
            0 => why.to_owned(),
            without => {
                format!("{why}; {} without it: the time of the import stands for it", count(without, "event"))
            }
        }
    }

    fn event_id(&mut self) {
        if !self.wanted(Part::Id) {
            return;
        }
        let mut found = choice::candidates(self.columns, Part::Id, &|path| self.is_outside(path));
        found.retain(|candidate| {
            let is_unique = candidate.column.distinct() == candidate.column.values.len();
            is_unique && candidate.column.texts().is_some() && self.columns.covers(candidate.column, 100)
        });
        if let Some(candidate) = found.first() {
            let why = "different in every event".to_owned();
            self.parts.insert(Part::Id, Guess::new(candidate.path, why));
        }
    }

    fn schema_version(&mut self) {
        if !self.wanted(Part::SchemaVersion) {
            return;
        }
        let mut found = choice::candidates(self.columns, Part::SchemaVersion, &|path| self.is_outside(path));
        let is_small = |value: &_| super::column::whole_number(value).is_some_and(|number| number <= 1_000);
        found.retain(|candidate| candidate.column.all(is_small));
        if let Some(candidate) = found.first() {
            let why = "the version of the event's schema, by its name".to_owned();
            self.parts.insert(Part::SchemaVersion, Guess::new(candidate.path, why));
        }
    }

    fn metadata(&mut self) {
        if !self.wanted(Part::Metadata) {
            return;
        }
        let found = choice::maps(self.columns, Part::Metadata, &|path| self.is_outside(path));
        let contains_payload = |path: &Path| {
            let payload = self.parts.get(&Part::Payload).and_then(|guess| guess.path.as_ref());
            payload.is_some_and(|payload| path.covers(payload))
        };
        if let Some(candidate) = found.iter().find(|candidate| !contains_payload(candidate.path)) {
            let is_json = choice::is_json(candidate.column);
            let guess = Guess { is_json, ..Guess::new(candidate.path, "by its name".to_owned()) };
            self.parts.insert(Part::Metadata, guess);
        }
    }
}

/// `1 event`, `2 events`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
