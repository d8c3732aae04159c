use std::collections::{BTreeMap, HashMap};

use foldstream_declarative::decoder::Parts;
use foldstream_model::{
    Event, EventId, Result, Sequence, StreamHash, StreamId, Timestamp, Value,
    ports::{Append, EventStore, ExpectedSequence, NewEvent},
};
use xxhash_rust::xxh3::xxh3_128;

/// What becomes of an event of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is new, and is appended with the batch.
    Take,
    /// It is stored already.
    Skip,
    /// It is no event of the source.
    LeaveOut,
    Refuse(String),
}

const PAGE: usize = 1_000;

/// Judges events against what is stored, and gathers those to append.
pub struct Judge<'a> {
    store: &'a dyn EventStore,
    first: Sequence,
    /// Goes before the ids that are made for lines without one.
    tag: &'a str,
    ids: &'a mut KnownIds,
    last: BTreeMap<StreamId, Option<Sequence>>,
    appends: BTreeMap<StreamId, Append>,
}

/// The ids of events in streams whose lines have no sequence, by the hashes of both: how such a line is recognised.
pub type KnownIds = HashMap<StreamHash, HashMap<u128, Sequence>>;

impl<'a> Judge<'a> {
    /// A judge who knows where these streams stand.
    pub async fn new(
        store: &'a dyn EventStore,
        first: Sequence,
        tag: &'a str,
        ids: &'a mut KnownIds,
        streams: Vec<StreamId>,
    ) -> Result<Self> {
        let last = store.last_sequences(&streams).await?;
        let last = streams.into_iter().zip(last).collect();
        Ok(Self { store, first, tag, ids, last, appends: BTreeMap::new() })
    }

    /// What to append so that every event that was taken is stored.
    pub fn into_appends(self) -> Vec<Append> {
        self.appends.into_values().collect()
    }

    pub async fn judge(
        &mut self,
        line: u64,
        text_hash: u64,
        event: &Parts,
        now: Timestamp,
    ) -> Result<Verdict> {
        match event.sequence {
            Some(sequence) => self.judge_sequence(sequence, event, now).await,
            None => {
                let made = || format!("{}-{line}-{text_hash:016x}", self.tag);
                self.judge_id(event.id.clone().unwrap_or_else(|| EventId::new(made())), event, now).await
            }
        }
    }

    async fn judge_sequence(&mut self, sequence: Sequence, event: &Parts, now: Timestamp) -> Result<Verdict> {
        let stream = &event.stream_id;
        let last = self.last_of(stream);
        let Some(next) = last.map_or(Some(self.first), Sequence::next) else {
            return Ok(Verdict::Refuse(format!("stream {stream} is full")));
        };
        if sequence == next {
            let id = event.id.clone().unwrap_or_else(|| EventId::new(format!("{stream}/{sequence}")));
            self.take(id, next, event, now);
            return Ok(Verdict::Take);
        }
        if sequence > next {
            let stands = last.map_or("has no events".to_owned(), |last| format!("ends with {last}"));
            let help = "if it is further down, import the file again, or sort it by sequence";
            let missing =
                format!("sequence {sequence} of stream {stream}, which {stands}: {next} is missing; {help}");
            return Ok(Verdict::Refuse(missing));
        }
        match self.known(stream, sequence).await? {
            Some(known) => Ok(compare(event, &known, &format!("sequence {sequence} of stream {stream}"))),
            None => {
                let first = if last.is_none() { self.first } else { self.beginning_of(stream).await? };
                let begins = format!("sequence {sequence} of stream {stream}, which begins with {first}");
                Ok(Verdict::Refuse(begins))
            }
        }
    }

    async fn judge_id(&mut self, id: EventId, event: &Parts, now: Timestamp) -> Result<Verdict> {
        let stream = &event.stream_id;
        let (stream_hash, id_hash) = (stream.hash(), xxh3_128(id.as_str().as_bytes()));
        if !self.ids.contains_key(&stream_hash) {
            let ids = self.stored_ids(stream, event.id.is_some()).await?;
            self.ids.insert(stream_hash, ids);
        }
        let known = self.ids.get(&stream_hash).and_then(|ids| ids.get(&id_hash)).copied();
        if let Some(sequence) = known {
            let known = self.known(stream, sequence).await?;
            return Ok(known.map_or(Verdict::Skip, |known| {
                compare(event, &known, &format!("event {id} of stream {stream}"))
            }));
        }
        let Some(next) = self.last_of(stream).map_or(Some(self.first), Sequence::next) else {
            return Ok(Verdict::Refuse(format!("stream {stream} is full")));
        };
        self.ids.entry(stream_hash).or_default().insert(id_hash, next);
        self.take(id, next, event, now);
        Ok(Verdict::Take)
    }

    /// The ids of a stream that a line could have: all, or those that were made for lines of this file.
    async fn stored_ids(&self, stream: &StreamId, all: bool) -> Result<HashMap<u128, Sequence>> {
        let mut ids = HashMap::new();
        if self.last_of(stream).is_none() {
            return Ok(ids);
        }
        let mut from = Sequence(0);
        loop {
            let page = self.store.read_stream(stream, from, PAGE).await?;
            let could_be = |event: &&Event| all || event.id.as_str().starts_with(self.tag);
            ids.extend(
                page.iter()
                    .filter(could_be)
                    .map(|event| (xxh3_128(event.id.as_str().as_bytes()), event.sequence)),
            );
            match page.last().and_then(|event| event.sequence.next()) {
                Some(next) if page.len() == PAGE => from = next,
                _ => return Ok(ids),
            }
        }
    }

    fn last_of(&self, stream: &StreamId) -> Option<Sequence> {
        self.last.get(stream).copied().flatten()
    }

    fn take(&mut self, id: EventId, sequence: Sequence, event: &Parts, now: Timestamp) {
        let expected = match self.last_of(&event.stream_id) {
            Some(last) => ExpectedSequence::Last(last),
            None => ExpectedSequence::Empty { first: sequence },
        };
        let empty = || Append { stream: event.stream_id.clone(), expected, events: Vec::new() };
        let append = self.appends.entry(event.stream_id.clone()).or_insert_with(empty);
        let recorded_at = event.recorded_at.unwrap_or(now);
        append.events.push(NewEvent {
            id,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            recorded_at,
            effective_at: event.effective_at.unwrap_or(recorded_at),
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
        });
        self.last.insert(event.stream_id.clone(), Some(sequence));
    }

    /// The event of this sequence, stored or about to be.
    async fn known(&self, stream: &StreamId, sequence: Sequence) -> Result<Option<NewEvent>> {
        if let Some(append) = self.appends.get(stream) {
            let begin = match append.expected {
                ExpectedSequence::Last(last) => last.0.saturating_add(1),
                ExpectedSequence::Empty { first } => first.0,
                ExpectedSequence::Any => 0,
            };
            if let Some(index) = sequence.0.checked_sub(begin) {
                return Ok(usize::try_from(index).ok().and_then(|index| append.events.get(index)).cloned());
            }
        }
        let stored = self.store.read_stream(stream, sequence, 1).await?.into_iter().next();
        Ok(stored.filter(|event| event.sequence == sequence).map(as_new))
    }

    async fn beginning_of(&self, stream: &StreamId) -> Result<Sequence> {
        let first = self.store.read_stream(stream, Sequence(0), 1).await?;
        Ok(first.first().map_or(self.first, |event| event.sequence))
    }
}

fn as_new(event: Event) -> NewEvent {
    NewEvent {
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        recorded_at: event.recorded_at,
        effective_at: event.effective_at,
        payload: event.payload.raw,
        metadata: event.metadata.raw,
    }
}

/// Whether a line says what is known, as far as it says anything.
fn compare(event: &Parts, known: &NewEvent, what: &str) -> Verdict {
    let differs = if event.event_type != known.event_type {
        "type"
    } else if event.schema_version != known.schema_version {
        "schema version"
    } else if event.recorded_at.is_some_and(|at| at != known.recorded_at) {
        "recorded-at"
    } else if event.effective_at.is_some_and(|at| at != known.effective_at) {
        "effective-at"
    } else if !is_same_json(&event.payload, &known.payload) {
        "payload"
    } else if !is_same_json(&event.metadata, &known.metadata) {
        "metadata"
    } else {
        return Verdict::Skip;
    };
    Verdict::Refuse(format!("{what} is stored already, with another {differs}"))
}

fn is_same_json(left: &[u8], right: &[u8]) -> bool {
    left == right
        || matches!((Value::parse(left), Value::parse(right)), (Ok(left), Ok(right)) if left == right)
}
