//! A starting configuration from a sample of events, for a team that has events and no configuration yet.
//!
//! Guesses rest on names (how event stores commonly call the parts of an event) and on what the values do: a
//! sequence must rise inside each stream, a time must be one. What neither settles is an error that names the
//! flag to settle it with.

mod part;
mod vocabulary;
mod name;
mod column;
mod numbering;
mod choice;
mod mapping;
mod streams;
mod sampled;
mod yaml_text;
mod read_model;
mod sample_test;
mod document;

#[cfg(test)]
mod tests;

use foldstream_model::Value;

use column::Columns;
use mapping::Guesses;

/// A part of an event that could not be found, or for which several fields stand on a par.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {message}\n  pass --map {part}=FIELD{}", example(.candidates))]
pub struct Unclear {
    /// As it is called in the file: `stream_id`.
    pub part: &'static str,
    pub message: String,
    /// Fields that may hold it.
    pub candidates: Vec<String>,
}

fn example(candidates: &[String]) -> String {
    match candidates {
        [] => String::new(),
        fields => format!(", with one of: {}", fields.join(", ")),
    }
}

/// The text of a `foldstream.yaml` for events like these: the fields in which the parts of an event are
/// found, each guess explained in a comment; the event types; a projection with a document for each stream;
/// and a test of it.
///
/// `given` are parts that need no guess, as (part, field): `("stream_id", "order.id")`; a payload of `*` is
/// all fields that are left. The text passes [`Config::read`](crate::Config::read) and can be run as it is.
pub fn infer(sample: &[Value], given: &[(&str, &str)]) -> Result<String, Vec<Unclear>> {
    let columns = Columns::of(sample);
    let guesses = Guesses::make(&columns, given)?;
    let events = sampled::events(sample, &guesses);
    Ok(document::write(&guesses, &events, sample.len()))
}
