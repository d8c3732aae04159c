//! What arrives: events are appended, and shards split and merged, beside whatever is done to the processes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use foldstream::clock::SystemClock;
use foldstream_local::{LocalLog, LocalStore, ShardDescription};
use foldstream_model::{
    Clock, ErrorKind, EventId, EventType, Result, SchemaVersion, Sequence, StreamId, Timestamp,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent},
};

use crate::{
    chance::Chance,
    shop::{self, Fact},
};

/// Shards that are open at once.
const FEWEST: usize = 6;
const MOST: usize = 14;

/// Appends as many events as it is told to, a few at a time.
pub struct Arrivals {
    more: Option<mpsc::Sender<usize>>,
    appended: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Vec<Fact>>>,
}

impl Arrivals {
    pub fn start(store: LocalStore, chance: Chance, reshards: bool) -> Self {
        let (more, told) = mpsc::channel();
        let appended = Arc::new(AtomicUsize::new(0));
        let counted = appended.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut appender = Appender::new(store, chance, counted);
            while let Ok(number) = told.recv() {
                runtime.block_on(appender.append(number, reshards));
            }
            appender.facts
        });
        Self { more: Some(more), appended, thread: Some(thread) }
    }

    pub fn add(&self, number: usize) {
        // It is gone only if it has failed, which `finish` tells.
        let _ = self.more.as_ref().unwrap().send(number);
    }

    /// How many events there are by now.
    pub fn appended(&self) -> usize {
        assert!(!self.thread.as_ref().unwrap().is_finished(), "no more events can be appended");
        self.appended.load(Ordering::Acquire)
    }

    /// Waits for those that were asked for; all events, in the order in which they were appended.
    pub fn finish(mut self) -> Vec<Fact> {
        drop(self.more.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

pub struct Appender {
    store: LocalStore,
    chance: Chance,
    pub facts: Vec<Fact>,
    counted: Arc<AtomicUsize>,
    lengths: BTreeMap<usize, u64>,
    recorded_at: Timestamp,
}

impl Appender {
    pub fn new(store: LocalStore, chance: Chance, counted: Arc<AtomicUsize>) -> Self {
        let (facts, lengths) = (Vec::new(), BTreeMap::new());
        Self { store, chance, facts, counted, lengths, recorded_at: Timestamp::EPOCH }
    }

    async fn append(&mut self, number: usize, reshards: bool) {
        let until = self.facts.len() + number;
        while self.facts.len() < until {
            let length = self.chance.within(1..5).min((until - self.facts.len()) as u64);
            let stream = self.chance.index(shop::STREAMS);
            self.append_to(stream, length).await;
            if reshards && self.chance.one_in(60) {
                self.reshard().await;
            }
            // Events arrive one after another, and not as fast as they can be stored.
            thread::sleep(Duration::from_millis(self.chance.within(0..25)));
        }
    }

    /// So many events of one stream.
    pub async fn append_to(&mut self, stream: usize, length: u64) {
        let before = self.lengths.get(&stream).copied().unwrap_or(0);
        let (mut facts, mut events) = (Vec::new(), Vec::new());
        for n in 0..length {
            let number = self.facts.len() + facts.len();
            let drawn = usize::try_from(self.chance.next() % 1_000_000).unwrap();
            let fact = Fact::drawn(number, stream, before + n, drawn);
            self.recorded_at = SystemClock.now().max(Timestamp::from_micros(self.recorded_at.micros() + 1));
            events.push(NewEvent {
                id: EventId::new(fact.payload.id.as_str()),
                event_type: EventType::new(fact.kind.name()),
                schema_version: SchemaVersion(1),
                recorded_at: self.recorded_at,
                effective_at: self.recorded_at,
                payload: Bytes::from(serde_json::to_vec(&fact.payload).unwrap()),
                metadata: Bytes::new(),
            });
            facts.push(fact);
        }
        let expected = match before {
            0 => ExpectedSequence::Empty { first: Sequence(1) },
            last => ExpectedSequence::Last(Sequence(last)),
        };
        let append = Append { stream: StreamId::new(shop::name(stream)), expected, events };
        self.until_stored(&append, before + length).await;
        self.lengths.insert(stream, before + length);
        self.facts.append(&mut facts);
        self.counted.store(self.facts.len(), Ordering::Release);
    }

    /// Whoever holds the database may be frozen; then it is tried again, until the stream says that it is there.
    async fn until_stored(&self, append: &Append, last: u64) {
        loop {
            match patiently(self.store.events().append(vec![append.clone()]).await) {
                None => {}
                Some(Appended::Done(_)) => return,
                Some(Appended::Conflict { last: stored, .. }) => {
                    assert_eq!(stored, Some(Sequence(last)), "nobody else appends");
                    return;
                }
            }
        }
    }

    async fn reshard(&mut self) {
        let Some(log) = self.store.existing_log(shop::SOURCE).await.unwrap() else { return };
        let mut open = log.describe().await.unwrap().shards;
        open.retain(|shard| shard.closed_at.is_none());
        open.sort_by_key(|shard| shard.range.first);
        let splits = open.len() <= FEWEST || (open.len() < MOST && self.chance.one_in(2));
        match splits {
            true => self.split(&log, &open).await,
            false => self.merge(&log, &open).await,
        }
    }

    async fn split(&mut self, log: &LocalLog, open: &[ShardDescription]) {
        let shard = self.chance.pick(open);
        let half = shard.range.first + (shard.range.last - shard.range.first) / 2;
        if half > shard.range.first {
            patiently(log.split(&shard.id, half).await);
        }
    }

    async fn merge(&mut self, log: &LocalLog, open: &[ShardDescription]) {
        let first = self.chance.index(open.len() - 1);
        patiently(log.merge(&open[first].id, &open[first + 1].id).await);
    }
}

/// None: it is unknown whether it was done.
fn patiently<T>(done: Result<T>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(error) if error.kind() == ErrorKind::Transient => None,
        Err(error) => panic!("{error}"),
    }
}
