//! The `tests:` of a configuration, run in memory, and tests recorded from stored events.

mod given;
mod rehearsal;
mod record;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use foldstream_config::Place;
use foldstream_config::settings::{Config, Expectation, ExpectedDocument, TestCase};
use foldstream_declarative::Compiled;
use foldstream_model::{Document, Map, Value};

pub use record::record;
use rehearsal::Rehearsal;

/// How one test ended: well, if nothing failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub test: String,
    pub place: Place,
    pub failures: Vec<Failure>,
}

/// What was otherwise than expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// A document, named `projection/key`, is not as expected.
    Document {
        document: String,
        place: Place,
        /// the expected fields; none if there should be no such document
        expected: Option<Map>,
        /// the whole document; none if there is none
        actual: Option<Map>,
    },
    /// An event could not be projected.
    Poison { document: String, event: String, error: String },
    /// Something was expected to be parked, and is not.
    NotParked { document: String, place: Place },
}

/// A field of a document that is not as expected; null stands for absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub field: Arc<str>,
    pub expected: Value,
    pub actual: Value,
}

impl Failure {
    /// The fields that differ, for a document that is there and should be.
    pub fn differences(&self) -> Vec<Difference> {
        let Failure::Document { expected: Some(expected), actual: Some(actual), .. } = self else {
            return Vec::new();
        };
        let difference = |(field, expected): (&Arc<str>, &Value)| {
            let actual = actual.get(field).unwrap_or(&Value::Null);
            (actual != expected).then(|| Difference {
                field: Arc::clone(field),
                expected: expected.clone(),
                actual: actual.clone(),
            })
        };
        expected.iter().filter_map(difference).collect()
    }
}

/// Runs all tests of a configuration, each from nothing.
pub fn run(config: &Config, compiled: &Compiled) -> Vec<Outcome> {
    config.tests.iter().map(|test| run_one(config, compiled, test)).collect()
}

fn run_one(config: &Config, compiled: &Compiled, test: &TestCase) -> Outcome {
    let events = given::events(config, test);
    let mut rehearsal = Rehearsal::new(config, compiled);
    for (source, events) in &events {
        rehearsal.play(source, events);
    }
    let mut failures = Vec::new();
    for expected in &test.expect {
        failures.extend(check(expected, &rehearsal.documents));
    }
    let mut parked = rehearsal.parked;
    for expected in &test.parked {
        let document = format!("{}/{}", expected.projection, expected.key);
        if parked.remove(&document).is_none() {
            failures.push(Failure::NotParked { document, place: expected.place });
        }
    }
    let poison = |(document, poison): (String, rehearsal::Poison)| Failure::Poison {
        document,
        event: poison.event,
        error: poison.error,
    };
    failures.extend(parked.into_iter().map(poison));
    Outcome { test: test.name.value.clone(), place: test.name.place, failures }
}

fn check(expected: &ExpectedDocument, documents: &BTreeMap<String, Option<Document>>) -> Option<Failure> {
    let name = format!("{}/{}", expected.document.projection, expected.document.key);
    let actual = documents.get(&name).and_then(Option::as_ref).map(|document| Map::clone(&document.fields));
    let fields = match &expected.expectation {
        Expectation::Absent => None,
        Expectation::Fields(fields) => {
            let fields = fields.iter().map(|(field, value)| (Arc::from(field.as_str()), value.clone()));
            Some(fields.collect::<Map>())
        }
    };
    let failure =
        Failure::Document { document: name, place: expected.document.place, expected: fields, actual };
    match &failure {
        Failure::Document { expected: None, actual: None, .. } => None,
        Failure::Document { expected: Some(_), actual: Some(_), .. } if failure.differences().is_empty() => {
            None
        }
        _ => Some(failure),
    }
}
