//! Commits as events.
//!
//! Each path is a stream with `FileAdded`, `FileChanged`, `ModeChanged` (nothing but the mode), `FileDeleted` and
//! `FileRestored` (added again); the stream `history` has a `Committed` event per commit, also of one that changes
//! nothing. Sequences count from 1. All events of a commit share [`recorded_at`](clock::RecordedAt) and belong into one
//! append; the file events come first, in git's order of paths, `Committed` last. Everything about an event follows from
//! the repository alone, its id too: `<commit>/<place>`, place 0 being `Committed`.

mod clock;
mod payload;
mod sequences;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use foldstream_model::{
    Error, EventId, EventType, Result, SchemaVersion, Sequence, StreamId, Timestamp,
    ports::{Append, ExpectedSequence, NewEvent},
};
use serde::Serialize;

pub use clock::RecordedAt;
pub use payload::{Committed, FileEvent};

use self::sequences::Sequences;
use super::{
    git::{Change, Commit, Walk},
    resume::Taken,
    stream_id,
};

/// The types of the events, as projections name them.
pub const TYPES: [&str; 6] =
    ["FileAdded", "FileChanged", "FileDeleted", "FileRestored", "ModeChanged", "Committed"];

/// Turns the commits of a walk into appends. `stored` answers where streams stand in the event store; it is asked about
/// streams that earlier runs may have written, in chunks, once each.
pub struct Events<F> {
    walk: Walk,
    sequences: Sequences<F>,
    recorded: RecordedAt,
    /// The commits taken so far, by this run and those before it.
    number: u64,
}

impl<F: FnMut(&[StreamId]) -> Result<Vec<Option<Sequence>>>> Events<F> {
    /// Goes on behind what was taken before, or begins. The walk must begin at the same place.
    pub fn new(walk: Walk, taken: Option<&Taken>, stored: F) -> Self {
        Self {
            walk,
            sequences: Sequences::new(taken.is_some().then_some(stored)),
            recorded: RecordedAt::after(taken.map(|taken| taken.recorded_at)),
            number: taken.map_or(0, |taken| taken.number),
        }
    }

    /// The next commit; none behind the last one. Its appends are to be taken to their end before the next is asked for.
    pub fn next_commit(&mut self) -> Result<Option<CommitEvents<'_, F>>> {
        let Some(commit) = self.walk.next_commit()? else { return Ok(None) };
        self.number += 1;
        let recorded_at = self.recorded.next(commit.committed);
        let totals = Committed::new(&commit, self.number);
        Ok(Some(CommitEvents {
            events: self,
            commit,
            recorded_at,
            totals,
            ready: VecDeque::new(),
            ended: false,
        }))
    }
}

/// The appends of one commit, one stream each, made while they are taken. Collect them into one append.
pub struct CommitEvents<'a, F> {
    events: &'a mut Events<F>,
    commit: Commit,
    recorded_at: Timestamp,
    totals: Committed,
    ready: VecDeque<Append>,
    ended: bool,
}

impl<F: FnMut(&[StreamId]) -> Result<Vec<Option<Sequence>>>> CommitEvents<'_, F> {
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    pub fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    fn fill(&mut self) -> Result<()> {
        let changes = self.events.walk.next_changes()?;
        if changes.is_empty() {
            self.ended = true;
            let append = self.committed()?;
            self.ready.push_back(append);
            return Ok(());
        }
        let streams: Vec<_> = changes.iter().map(|change| stream_id::of_path(&change.path)).collect();
        let last = self.events.sequences.advance(&streams)?;
        for ((change, stream), last) in changes.iter().zip(streams).zip(last) {
            let append = self.file_event(change, stream, last)?;
            self.ready.push_back(append);
        }
        Ok(())
    }

    fn file_event(&mut self, change: &Change, stream: StreamId, last: Option<Sequence>) -> Result<Append> {
        if change.before.is_some() && last.is_none() {
            return Err(foreign(&stream, &self.commit));
        }
        self.totals.count(change.lines);
        let event_type = event_type(change, last.is_some());
        self.append(stream, last, event_type, self.totals.files, &FileEvent::new(change, &self.commit))
    }

    fn committed(&self) -> Result<Append> {
        let last = self.totals.number.checked_sub(1).filter(|before| *before > 0);
        self.append(StreamId::new(stream_id::HISTORY), last.map(Sequence), "Committed", 0, &self.totals)
    }

    fn append(
        &self,
        stream: StreamId,
        last: Option<Sequence>,
        event_type: &str,
        place: u64,
        payload: &impl Serialize,
    ) -> Result<Append> {
        let payload =
            serde_json::to_vec(payload).map_err(|error| Error::internal(format!("payload: {error}")))?;
        let event = NewEvent {
            id: EventId::new(format!("{}/{place}", self.commit.id)),
            event_type: EventType::new(event_type),
            schema_version: SchemaVersion::default(),
            recorded_at: self.recorded_at,
            effective_at: clock::instant(self.commit.authored),
            payload: Bytes::from(payload),
            metadata: Bytes::new(),
        };
        let expected = match last {
            None => ExpectedSequence::Empty { first: Sequence(1) },
            Some(last) => ExpectedSequence::Last(last),
        };
        Ok(Append { stream, expected, events: vec![event] })
    }
}

impl<F: FnMut(&[StreamId]) -> Result<Vec<Option<Sequence>>>> Iterator for CommitEvents<'_, F> {
    type Item = Result<Append>;

    fn next(&mut self) -> Option<Self::Item> {
        let empty = self.ready.is_empty() && !self.ended;
        if empty && let Err(error) = self.fill() {
            self.ended = true;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }
}

fn event_type(change: &Change, known: bool) -> &'static str {
    match (change.before, change.after) {
        (None, _) if known => "FileRestored",
        (None, _) => "FileAdded",
        (Some(_), None) => "FileDeleted",
        (Some(before), Some(after)) if before.blob == after.blob => "ModeChanged",
        (Some(_), Some(_)) => "FileChanged",
    }
}

fn foreign(stream: &StreamId, commit: &Commit) -> Error {
    Error::invalid(format!(
        "a commit changes a file that the event store does not know: commit={} stream={stream}; the stored events are \
         not those of this repository: use another folder with --data",
        commit.id
    ))
}
