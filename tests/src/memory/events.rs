//! Events in a list.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    Error, Event, Payload, Result, Sequence, StreamId,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent, Offset},
};

/// All events in the order of their commits.
#[derive(Default)]
pub struct MemoryEvents {
    all: Mutex<Vec<Event>>,
}

impl MemoryEvents {
    fn all(&self) -> MutexGuard<'_, Vec<Event>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every event so far, at once.
    pub fn everything(&self) -> Vec<Event> {
        self.all().clone()
    }
}

fn last(all: &[Event], stream: &StreamId) -> Option<Sequence> {
    all.iter().rev().find(|event| event.stream_id == *stream).map(|event| event.sequence)
}

/// The sequence of the first event appended; none is a conflict.
fn first(expected: ExpectedSequence, last: Option<Sequence>) -> Option<u64> {
    match (expected, last) {
        (ExpectedSequence::Any, last) => Some(last.map_or(1, |last| last.0 + 1)),
        (ExpectedSequence::Empty { first }, None) => Some(first.0),
        (ExpectedSequence::Last(expected), Some(last)) if expected == last => Some(last.0 + 1),
        _ => None,
    }
}

fn event(stream: &StreamId, sequence: u64, new: NewEvent) -> Event {
    Event {
        stream_id: stream.clone(),
        sequence: Sequence(sequence),
        id: new.id,
        event_type: new.event_type,
        schema_version: new.schema_version,
        recorded_at: new.recorded_at,
        effective_at: new.effective_at,
        payload: Payload::new(new.payload),
        metadata: Payload::new(new.metadata),
    }
}

fn check(appends: &[Append]) -> Result<()> {
    let streams: BTreeSet<_> = appends.iter().map(|append| &append.stream).collect();
    let is_empty = |append: &Append| append.events.is_empty() || append.stream.as_str().is_empty();
    if appends.is_empty() || streams.len() < appends.len() || appends.iter().any(is_empty) {
        return Err(Error::invalid("an append names each of its streams once, and has events for each"));
    }
    Ok(())
}

#[async_trait]
impl EventStore for MemoryEvents {
    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        check(&appends)?;
        let mut all = self.all();
        let mut appended = Vec::new();
        for append in appends {
            let last = last(&all, &append.stream);
            let Some(first) = first(append.expected, last) else {
                return Ok(Appended::Conflict { stream: append.stream, last });
            };
            let events = (first..).zip(append.events);
            appended.extend(events.map(|(sequence, new)| event(&append.stream, sequence, new)));
        }
        all.extend(appended);
        Ok(Appended::Done(Offset::numbered(all.len() as u64)))
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        let all = self.all();
        let found = all.iter().filter(|event| event.stream_id == *stream && event.sequence >= from);
        Ok(found.take(limit).cloned().collect())
    }

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        let all = self.all();
        let numbered = (1u64..).map(Offset::numbered).zip(all.iter().cloned());
        Ok(numbered.filter(|(offset, _)| offset > after).take(limit).collect())
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        let all = self.all();
        Ok(streams.iter().map(|stream| last(&all, stream)).collect())
    }
}
