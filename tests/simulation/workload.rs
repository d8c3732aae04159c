//! What a run is about: events, how they travel, and the projections that are made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use foldstream_model::{
    Event, EventId, EventType, OnFailure, Payload, SchemaVersion, Sequence, StreamHash, StreamId, Timestamp,
};
use foldstream_tests::projectors::TYPE;

use crate::projections::Kind;

/// What comes so long after it was stored is counted as late.
const LATE: Duration = Duration::from_secs(3);
/// A record that comes twice within this is near to itself.
const SOON: Duration = Duration::from_millis(100);

/// An event as the oracle knows it.
#[derive(Debug, Clone)]
pub struct Fact {
    pub stream: u64,
    pub sequence: u64,
    /// Milliseconds since the beginning.
    pub stored_at: u64,
    /// Microseconds; clocks may step back.
    pub recorded_at: i64,
    /// None of a type that nobody handles.
    pub n: Option<i64>,
}

impl Fact {
    pub fn event(&self) -> Event {
        let (event_type, payload) = match self.n {
            Some(n) => (TYPE, format!("{{\"n\":{n}}}")),
            None => ("Other", "{}".to_owned()),
        };
        let recorded_at = Timestamp::from_micros(self.recorded_at);
        Event {
            stream_id: StreamId::new(format!("s-{}", self.stream)),
            sequence: Sequence(self.sequence),
            id: EventId::new(format!("{}-{}", self.stream, self.sequence)),
            event_type: EventType::new(event_type),
            schema_version: SchemaVersion(1),
            recorded_at,
            effective_at: recorded_at,
            payload: Payload::new(Bytes::from(payload)),
            metadata: Payload::default(),
        }
    }
}

/// What happens to the source, and what an operator does; a number chooses the projection.
#[derive(Debug, Clone)]
pub enum Action {
    /// The event is stored.
    Store(Fact),
    /// A record of the event arrives.
    Arrive(Fact),
    /// A record of another event with the same sequence arrives.
    Fork(Fact),
    /// A record of no event arrives, among those of a stream.
    NoEvent {
        stream: u64,
        data: Bytes,
    },
    /// What is started now can read every record that is meant to be an event.
    MendMapping,
    /// A number chooses among the open shards.
    Split(u64),
    Merge(u64),
    Pause(u64),
    Resume(u64),
    Rewind {
        number: u64,
        to: RewindTo,
    },
    /// The code can take everything from now on.
    Mend,
    Redrive(u64),
    Discard(u64),
    /// What is missing of a stream is given up.
    GiveUp(u64),
    /// The source forgets records, such as not all have settled if that `loses` some.
    Forget {
        loses: bool,
    },
    /// A lease is taken away from its worker, which freezes for so many milliseconds.
    Release {
        number: u64,
        freezes: u64,
    },
}

impl Action {
    /// Somebody does it who needs the stores.
    pub fn is_operators(&self) -> bool {
        !matches!(
            self,
            Self::Store(_)
                | Self::Arrive(_)
                | Self::Fork(_)
                | Self::NoEvent { .. }
                | Self::MendMapping
                | Self::Split(_)
                | Self::Merge(_)
                | Self::Resume(_)
                | Self::Forget { .. }
        )
    }
}

impl Action {
    /// What it is counted as; none for what happens to an event, or is no harm.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Store(_) | Self::Arrive(_) | Self::Resume(_) | Self::Mend | Self::MendMapping => None,
            Self::Fork(_) => Some("fork"),
            Self::NoEvent { .. } => Some("no event"),
            Self::Split(_) => Some("split"),
            Self::Merge(_) => Some("merge"),
            Self::Pause(_) => Some("pause"),
            Self::Rewind { to, .. } => Some(to.name()),
            Self::Redrive(_) => Some("redrive"),
            Self::Discard(_) => Some("discard"),
            Self::GiveUp(_) => Some("given up"),
            Self::Forget { .. } => Some("records forgotten"),
            Self::Release { .. } => Some("lease released"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum RewindTo {
    Beginning,
    /// The documents are built anew.
    Rebuild,
    /// In each shard, parents and children, to some place or none; a number chooses.
    Places(u64),
    /// To what arrived at some time before; a number chooses.
    Time(u64),
}

impl RewindTo {
    pub fn name(self) -> &'static str {
        match self {
            Self::Beginning => "rewind",
            Self::Rebuild => "rebuild",
            Self::Places(_) => "rewind to places",
            Self::Time(_) => "rewind to a time",
        }
    }
}

pub struct Workload {
    pub kinds: Vec<Kind>,
    pub shards: u32,
    /// There is an event store, from which gaps are filled.
    pub has_store: bool,
    pub facts: Vec<Fact>,
    /// What is done about what cannot be taken, by those projections that meet it.
    pub on_failure: BTreeMap<Kind, OnFailure>,
    /// Stream and sequence of events that cannot be taken by the code of before.
    pub failing: BTreeMap<(u64, u64), Fails>,
    /// Those of them that end the process.
    pub deadly: BTreeSet<(u64, u64)>,
    /// Stream and sequence of events whose records only the mended mapping can read.
    pub garbled: BTreeSet<(u64, u64)>,
    /// Documents that the store refuses until the code is mended.
    pub refuses: Option<Refuses>,
    /// The source forgets records.
    pub forgets: bool,
    /// Stream and sequence of events that never come, and that no store has.
    pub lost: BTreeSet<(u64, u64)>,
    pub actions: Vec<(Duration, Action)>,
    /// Of each stream, the sequences of the events that projections handle.
    pub handled: BTreeMap<String, Vec<u64>>,
    /// How late events come at most, for the order of `global` projections.
    pub lateness: Duration,
}

impl Workload {
    /// Whether there are events of which it cannot be told which documents they touch.
    pub fn has_untold(&self) -> bool {
        self.failing.values().any(|fails| *fails == Fails::Stream)
    }

    /// Whether some projection goes on behind a record that cannot be decoded, or a fork.
    pub fn goes_on(&self) -> bool {
        self.on_failure.values().any(|what| *what != OnFailure::Stop)
    }

    /// How the code of before cannot take an event of the stream `s-1`, if so.
    pub fn fails(&self, kind: Kind, stream: &str, sequence: u64) -> Option<Fails> {
        let failing = self.failing.get(&(self::stream(stream), sequence));
        failing.copied().filter(|_| self.on_failure.contains_key(&kind))
    }

    /// Whether the code of before ends its process; where it is mended some time.
    pub fn kills(&self, kind: Kind, stream: &str, sequence: u64) -> bool {
        self.on_failure.get(&kind) == Some(&OnFailure::Park)
            && self.deadly.contains(&(self::stream(stream), sequence))
    }

    /// Whether the event, or the document that it makes, may not be taken until the code is mended.
    pub fn may_fail(&self, kind: Kind, stream: &str, sequence: u64) -> bool {
        self.refuses_some(kind).is_some() || self.fails(kind, stream, sequence).is_some()
    }

    fn refuses_some(&self, kind: Kind) -> Option<Refuses> {
        self.refuses.filter(|_| self.on_failure.get(&kind).is_some_and(|what| *what != OnFailure::Stop))
    }

    /// Whether the store refuses a document of before the code is mended.
    pub fn refuses(&self, kind: Kind, document: &str) -> bool {
        self.refuses_some(kind).is_some_and(|refuses| match refuses {
            Refuses::Longer(bytes) => document.len() as u64 > bytes,
            Refuses::OneIn(times) => StreamHash::of(document).words()[0].is_multiple_of(times),
        })
    }

    /// How records travel: how often something is not as it was sent.
    pub fn travels(&self) -> BTreeMap<&'static str, u64> {
        let mut seen = BTreeMap::new();
        let mut count = |what, times: usize| *seen.entry(what).or_insert(0) += times as u64;
        let mut came: BTreeMap<(u64, u64), Vec<Duration>> = BTreeMap::new();
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for (at, action) in &self.actions {
            let Action::Arrive(fact) = action else { continue };
            let newest = newest.entry(fact.stream).or_default();
            let times = came.entry((fact.stream, fact.sequence)).or_default();
            count("out of order", usize::from(times.is_empty() && fact.sequence < *newest));
            *newest = fact.sequence.max(*newest);
            times.push(*at);
        }
        let mut recorded: BTreeMap<u64, i64> = BTreeMap::new();
        for fact in &self.facts {
            let before = recorded.insert(fact.stream, fact.recorded_at);
            count("recorded before", usize::from(before.is_some_and(|before| fact.recorded_at < before)));
            let Some(times) = came.get(&(fact.stream, fact.sequence)) else {
                count("never comes", 1);
                continue;
            };
            let stored = Duration::from_millis(fact.stored_at);
            count("comes late", usize::from(times[0] > stored + LATE));
            count("comes twice", times[1..].iter().filter(|at| **at <= times[0] + SOON).count());
            count("comes again later", times[1..].iter().filter(|at| **at > times[0] + SOON).count());
        }
        seen.retain(|_, times| *times > 0);
        seen
    }

    pub fn has_hot_stream(&self) -> bool {
        let of_first = self.facts.iter().filter(|fact| fact.stream == 0).count();
        self.facts.len() > 50 && of_first * 10 >= self.facts.len() * 8
    }
}

/// What fails of an event until the code is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// Its documents cannot take it.
    Document,
    /// It cannot be told which documents it touches, or its stream cannot be folded.
    Stream,
}

impl Fails {
    pub fn name(self) -> &'static str {
        match self {
            Self::Document => "cannot be taken",
            Self::Stream => "cannot be told",
        }
    }
}

/// Documents that a store refuses.
#[derive(Debug, Clone, Copy)]
pub enum Refuses {
    /// Those of more bytes.
    Longer(u64),
    /// One in so many, by what is in it.
    OneIn(u64),
}

/// The number of the stream `s-1`.
pub fn stream(id: &str) -> u64 {
    id.trim_start_matches("s-").parse().expect("a stream")
}

pub fn handled(facts: &[Fact]) -> BTreeMap<String, Vec<u64>> {
    let mut handled: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.n.is_some()) {
        handled.entry(format!("s-{}", fact.stream)).or_default().push(fact.sequence);
    }
    handled
}
