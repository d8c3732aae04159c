//! Appending: checked and brought into the form of rows before the writer sees it, then all or nothing.

use std::collections::BTreeSet;

use foldstream_model::{
    Error, Result, Sequence, StreamId,
    ports::{Append, Appended, ExpectedSequence, NewEvent, Offset},
};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::FIRST;
use crate::{
    database::{number, sql_integer},
    errors::Failure,
};

const INSERT_EVENT: &str = "INSERT INTO stored_events
     (stream, sequence, id, type, schema_version, recorded_at, effective_at, payload, metadata, ends_append)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// An append that is in order by itself.
pub(super) struct Prepared {
    appends: Vec<Append>,
}

/// What the store knows of a stream.
pub(super) struct Known {
    row: i64,
    pub(super) last: Sequence,
}

/// Where an append's events go.
struct Target {
    row: Option<i64>,
    first: Sequence,
}

impl Prepared {
    pub(super) fn new(appends: Vec<Append>) -> Result<Self> {
        let mut named = BTreeSet::new();
        for append in &appends {
            check(append)?;
            if !named.insert(append.stream.clone()) {
                return Err(Error::invalid(format!(
                    "one append names a stream twice: stream={}",
                    append.stream
                )));
            }
        }
        if appends.is_empty() {
            return Err(Error::invalid("an append without streams"));
        }
        Ok(Self { appends })
    }

    pub(super) fn append(&self, transaction: &Connection) -> Result<Appended, Failure> {
        let mut targets = Vec::with_capacity(self.appends.len());
        for append in &self.appends {
            let known = known(transaction, &append.stream)?;
            match first_sequence(append.expected, known.as_ref()) {
                Some(first) => targets.push(Target { row: known.map(|known| known.row), first }),
                None => {
                    let last = known.map(|known| known.last);
                    return Ok(Appended::Conflict { stream: append.stream.clone(), last });
                }
            }
        }
        let mut left = self.appends.len();
        for (append, target) in self.appends.iter().zip(&targets) {
            left -= 1;
            insert(transaction, append, target, left == 0)?;
        }
        Ok(Appended::Done(Offset::numbered(number(transaction.last_insert_rowid()))))
    }
}

pub(super) fn known(snapshot: &Connection, stream: &StreamId) -> Result<Option<Known>, Failure> {
    let mut statement = snapshot.prepare_cached("SELECT stream, last FROM streams WHERE id = ?1")?;
    let known = statement.query_row([stream.as_str()], |row| {
        Ok(Known { row: row.get(0)?, last: Sequence(number(row.get(1)?)) })
    });
    Ok(known.optional()?)
}

/// The sequence of the first event to be appended; none if the stream stands elsewhere than expected.
fn first_sequence(expected: ExpectedSequence, known: Option<&Known>) -> Option<Sequence> {
    match (expected, known) {
        (ExpectedSequence::Empty { first }, None) => Some(first),
        (ExpectedSequence::Any, None) => Some(FIRST),
        (ExpectedSequence::Any, Some(known)) => known.last.next(),
        (ExpectedSequence::Last(last), Some(known)) if last == known.last => known.last.next(),
        _ => None,
    }
}

fn insert(transaction: &Connection, append: &Append, target: &Target, ends: bool) -> Result<(), Failure> {
    let last = target.first.0.checked_add(append.events.len() as u64 - 1);
    let Some(last) = last.filter(|last| i64::try_from(*last).is_ok()) else {
        return Err(Failure::Refused(Error::invalid(format!(
            "sequences beyond 63 bits cannot be stored: stream={} first={}",
            append.stream, target.first
        ))));
    };
    let stream = match target.row {
        Some(row) => {
            let mut statement =
                transaction.prepare_cached("UPDATE streams SET last = ?2 WHERE stream = ?1")?;
            statement.execute([row, sql_integer(last)])?;
            row
        }
        None => transaction
            .prepare_cached("INSERT INTO streams (id, last) VALUES (?1, ?2)")?
            .insert(params![append.stream.as_str(), sql_integer(last)])?,
    };
    let mut statement = transaction.prepare_cached(INSERT_EVENT)?;
    for (event, sequence) in append.events.iter().zip(target.first.0..) {
        statement.execute(params![
            stream,
            sql_integer(sequence),
            event.id.as_str(),
            event.event_type.as_str(),
            event.schema_version.0,
            event.recorded_at.micros(),
            (event.effective_at != event.recorded_at).then_some(event.effective_at.micros()),
            json(&event.payload),
            json(&event.metadata),
            ends && sequence == last,
        ])?;
    }
    Ok(())
}

fn check(append: &Append) -> Result<()> {
    let stream = &append.stream;
    if stream.as_str().is_empty() {
        return Err(Error::invalid("an append to a stream without an id"));
    }
    if append.events.is_empty() {
        return Err(Error::invalid(format!("an append without events: stream={stream}")));
    }
    for event in &append.events {
        check_json("payload", &event.payload, event, stream)?;
        check_json("metadata", &event.metadata, event, stream)?;
    }
    Ok(())
}

fn check_json(part: &str, bytes: &[u8], event: &NewEvent, stream: &StreamId) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid(format!(
            "the {part} of an event is no JSON: stream={stream} event={} reason={error}",
            event.id
        ))),
    }
}

/// The text that was checked, without white space around it: what an envelope will hold.
fn json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_ascii();
    (!text.is_empty()).then_some(text)
}
