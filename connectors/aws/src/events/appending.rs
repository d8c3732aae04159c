//! Appending: the streams are looked at, and what follows is put on condition that its place is free.
//!
//! Events are never removed behind a stream's back, and each is put directly behind one that is there. So a stream whose
//! last event was seen still ends with it while the next place is free, and that is what the write's condition asks.

use std::{collections::BTreeSet, time::Duration};

use foldstream_model::{
    Error, Event, Result, Sequence, StreamId,
    ports::{Append, Appended, ExpectedSequence, Offset},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    ksuid::{Ksuid, Ksuids},
    order::CommitIndex,
    reading::{Found, Reading},
    sending::{Sending, Sent},
    settings::WrittenParts,
    writing,
};
use crate::dynamodb::{Item, item};

/// DynamoDB's limits of one transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_EVENTS: usize = 100;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How often a place is looked for that another writer was faster to take.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Appending<'e> {
    pub reading: &'e Reading,
    pub written: &'e WrittenParts,
    pub index: Option<&'e CommitIndex>,
    pub ksuids: &'e Ksuids,
}

/// Where the events of an append go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    first: Sequence,
    /// The id of the stream's last event.
    behind: Option<Ksuid>,
}

impl Appending<'_> {
    pub(super) async fn append(&self, appends: &[Append]) -> Result<Appended> {
        check(appends)?;
        let mut taken = None;
        for tried in 1..=TRIES {
            let targets = match self.targets(appends).await? {
                Ok(targets) => targets,
                Err(conflict) => return Ok(conflict),
            };
            if taken.as_ref() == Some(&targets) {
                return Err(self.occupied(appends, &targets));
            }
            let begun = Instant::now();
            let (items, last) = self.items(appends, &targets)?;
            let sending = Sending {
                table: &self.reading.table,
                stream: &appends[0].stream,
                items,
                token: self.ksuids.token(),
                until: self.index.map(|index| begun + index.time_to_write()),
            };
            match sending.send().await? {
                Sent::Done => return Ok(Appended::Done(last)),
                Sent::Taken => taken = Some(targets),
                Sent::Busy => tokio::time::sleep((PAUSE * tried).min(LONGEST_PAUSE)).await,
            }
        }
        Err(Error::throttled(format!(
            "others append to the same streams all the time; nothing was appended: table={} stream={} tries={TRIES}",
            self.reading.table.settings.name, appends[0].stream
        )))
    }

    /// Whether it could be written, if its streams stand where they are expected.
    pub(super) fn rehearse(&self, appends: &[Append]) -> Result<()> {
        check(appends)?;
        let first = |append: &Append| match append.expected {
            ExpectedSequence::Empty { first } => Ok(first),
            ExpectedSequence::Last(last) => next(&append.stream, last),
            ExpectedSequence::Any => Ok(self.reading.table.settings.first),
        };
        let target = |append: &Append| Ok(Target { first: first(append)?, behind: None });
        let targets: Vec<Target> = appends.iter().map(target).collect::<Result<_>>()?;
        self.items(appends, &targets).map(drop)
    }

    /// Where each append goes; or the first stream that stands elsewhere than expected.
    async fn targets(&self, appends: &[Append]) -> Result<Result<Vec<Target>, Appended>> {
        let streams: Vec<&StreamId> = appends.iter().map(|append| &append.stream).collect();
        let found = self.reading.last_of(&streams).await?;
        let mut targets = Vec::with_capacity(appends.len());
        for (append, found) in appends.iter().zip(&found) {
            match self.target(append, found.as_ref())? {
                Some(target) => targets.push(target),
                None => {
                    let last = found.as_ref().map(|found| found.event.sequence);
                    return Ok(Err(Appended::Conflict { stream: append.stream.clone(), last }));
                }
            }
        }
        Ok(Ok(targets))
    }

    /// None: the stream stands elsewhere than expected.
    fn target(&self, append: &Append, found: Option<&Found>) -> Result<Option<Target>> {
        let last = found.map(|found| found.event.sequence);
        let first = match (append.expected, last) {
            (ExpectedSequence::Empty { first }, None) => Some(first),
            (ExpectedSequence::Any, None) => Some(self.reading.table.settings.first),
            (ExpectedSequence::Any, Some(last)) => Some(next(&append.stream, last)?),
            (ExpectedSequence::Last(expected), Some(last)) if expected == last => {
                Some(next(&append.stream, last)?)
            }
            _ => None,
        };
        let behind = found.zip(self.index).and_then(|(found, index)| index.id_of(&found.keys));
        Ok(first.map(|first| Target { first, behind }))
    }

    /// The items to be put, in order, and the place of the last one.
    fn items(&self, appends: &[Append], targets: &[Target]) -> Result<(Vec<Item>, Offset)> {
        let count = appends.iter().map(|append| append.events.len()).sum();
        let behind = targets.iter().filter_map(|target| target.behind).max();
        let ids = self.ksuids.make(count, behind);
        let events = events(appends, targets)?;
        let mut items = Vec::with_capacity(count);
        for (event, id) in events.iter().zip(&ids) {
            items.push(writing::item(self.reading, self.written, self.index, event, *id)?);
        }
        let bytes: usize = items.iter().map(item::size).sum();
        if bytes > MAX_BYTES {
            return Err(Error::invalid(format!(
                "one append is larger than a transaction of DynamoDB can be: bytes={bytes} limit={MAX_BYTES} stream={}; append less at once",
                appends[0].stream
            )));
        }
        let last = self.index.and(ids.last()).map(|id| Offset::new(id.to_string()));
        Ok((items, last.unwrap_or_default()))
    }

    fn occupied(&self, appends: &[Append], targets: &[Target]) -> Error {
        let streams: Vec<String> = appends
            .iter()
            .zip(targets)
            .map(|(append, target)| format!("stream={} sequence={}", append.stream, target.first))
            .collect();
        Error::invalid(format!(
            "the key of a next event is taken by an item that is no event, or by an event behind a gap: table={} {}; remove it, or correct `include`",
            self.reading.table.settings.name,
            streams.join(" ")
        ))
    }
}

fn events(appends: &[Append], targets: &[Target]) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for (append, target) in appends.iter().zip(targets) {
        let mut sequence = Some(target.first);
        for new in &append.events {
            let Some(at) = sequence else { return Err(full(&append.stream)) };
            events.push(writing::event(&append.stream, at, new.clone()));
            sequence = at.next();
        }
    }
    Ok(events)
}

fn next(stream: &StreamId, last: Sequence) -> Result<Sequence> {
    last.next().ok_or_else(|| full(stream))
}

fn full(stream: &StreamId) -> Error {
    Error::invalid(format!("sequences end at 64 bits: stream={stream}"))
}

/// `Invalid`: it is no append, or DynamoDB cannot do it at once.
fn check(appends: &[Append]) -> Result<()> {
    let mut named = BTreeSet::new();
    for Append { stream, events, .. } in appends {
        if stream.as_str().is_empty() {
            return Err(Error::invalid("an append to a stream without an id"));
        }
        if events.is_empty() {
            return Err(Error::invalid(format!("an append without events: stream={stream}")));
        }
        if !named.insert(stream) {
            return Err(Error::invalid(format!("one append names a stream twice: stream={stream}")));
        }
        for event in events {
            for (part, json) in [("payload", &event.payload), ("metadata", &event.metadata)] {
                let refused = serde_json::from_slice::<&RawValue>(json).err().filter(|_| !json.is_empty());
                if let Some(error) = refused {
                    return Err(Error::invalid(format!(
                        "the {part} of an event is no JSON: stream={stream} event={} reason={error}",
                        event.id
                    )));
                }
            }
        }
    }
    match appends.iter().map(|append| append.events.len()).sum() {
        0 => Err(Error::invalid("an append without streams")),
        count if count > MAX_EVENTS => Err(Error::invalid(format!(
            "one append has more events than a transaction of DynamoDB can have: events={count} limit={MAX_EVENTS} stream={}; append fewer at once",
            appends[0].stream
        ))),
        _ => Ok(()),
    }
}
