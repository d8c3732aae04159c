//! Events that came before one that is missing.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use foldstream_model::{
    Early, EarlyEvent, Error, Event, Place, Result, Sequence, ShardId, SpilledEvent, StreamHash, StreamId,
    Timestamp,
};

/// An early event and what brought it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub at: Place,
    pub partition_key: Arc<str>,
    pub since: Timestamp,
    pub stream: StreamId,
    pub sequence: Sequence,
    pub event: Held,
}

/// Where an early event is.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Here(Arc<Event>),
    /// The envelope of one that is poison now, as a cut kept it.
    Refused(Arc<str>),
    /// In a row of this shard.
    Spilled(ShardId),
}

/// Missing events of a stream, and what waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub stream: StreamId,
    /// Of a record of the stream.
    pub partition_key: Arc<str>,
    pub first_missing: Sequence,
    pub last_missing: Sequence,
    /// When the first of those that wait came.
    pub since: Timestamp,
    /// How many events of the stream wait.
    pub waiting: usize,
    /// All of them came in a parent of this shard. Where shards have no key ranges, their other child holds them too,
    /// and only a child that had a record of the stream itself may fill the gap.
    pub is_inherited: bool,
}

/// A larger event is spilled however much room there is: cuts hold those in memory, and a cut's page must fit a row.
pub(super) const LARGEST_IN_A_CUT: usize = 64 * 1024;

/// All early events of a shard, by stream and sequence. Those that are here weigh so many bytes at most, once what is
/// beyond was spilled.
#[derive(Debug, Clone, Default)]
pub(super) struct EarlyEvents {
    waiting: BTreeMap<(StreamHash, Sequence), Waiting>,
    limit: usize,
    bytes: usize,
    /// Those that came when the limit was passed; some may have gone since.
    beyond: Vec<(StreamHash, Sequence)>,
    /// Those that are too large for a cut; some may have gone since.
    large: Vec<(StreamHash, Sequence)>,
    /// How many are not here as events.
    absent: usize,
    /// Those of them that were read for the next record or entry.
    brought: BTreeMap<(StreamHash, Sequence), Arc<Event>>,
}

impl Waiting {
    pub fn new(event: Arc<Event>, at: Place, partition_key: Arc<str>, since: Timestamp) -> Self {
        let (stream, sequence) = (event.stream_id.clone(), event.sequence);
        Self { at, partition_key, since, stream, sequence, event: Held::Here(event) }
    }

    pub fn hash(&self) -> StreamHash {
        self.stream.hash()
    }

    /// What it weighs in memory besides a constant.
    pub fn size_in_bytes(&self) -> usize {
        match &self.event {
            Held::Here(event) => self.size_besides_event() + event.size_in_bytes(),
            Held::Refused(envelope) => self.size_besides_event() + envelope.len(),
            Held::Spilled(_) => 0,
        }
    }

    fn size_besides_event(&self) -> usize {
        size_of::<(StreamHash, Sequence, Self)>() + self.partition_key.len()
    }

    fn is_here(&self) -> bool {
        matches!(self.event, Held::Here(_))
    }

    /// The name of its row in a shard.
    pub fn spilled_in(&self, shard: &ShardId) -> SpilledEvent {
        SpilledEvent { shard: shard.clone(), stream: self.stream.clone(), sequence: self.sequence }
    }

    /// What there is of the event.
    pub fn kept(&self) -> Result<EarlyEvent> {
        match &self.event {
            Held::Here(event) => envelope(event).map(EarlyEvent::Envelope),
            Held::Refused(envelope) => Ok(EarlyEvent::Envelope(envelope.to_string())),
            Held::Spilled(shard) => Ok(EarlyEvent::Spilled(self.spilled_in(shard))),
        }
    }

    /// The form that cuts keep.
    pub fn to_early(&self) -> Result<Early> {
        Ok(Early {
            at: self.at.clone(),
            partition_key: self.partition_key.to_string(),
            since: self.since,
            event: self.kept()?,
        })
    }
}

/// The form in which cuts and rows keep an event.
fn envelope(event: &Event) -> Result<String> {
    String::from_utf8(event.to_envelope()?)
        .map_err(|error| Error::internal(format!("an envelope is no text: {error}")))
}

impl EarlyEvents {
    pub fn within(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// An event that is here, or was brought here.
    pub fn event(&self, stream: StreamHash, sequence: Sequence) -> Option<Arc<Event>> {
        match &self.waiting.get(&(stream, sequence))?.event {
            Held::Here(event) => Some(event.clone()),
            Held::Refused(_) | Held::Spilled(_) => self.brought.get(&(stream, sequence)).cloned(),
        }
    }

    /// Holds an event, unless one of its stream and sequence is held already.
    pub fn insert(&mut self, stream: StreamHash, waiting: Waiting) {
        let (key, bytes) = ((stream, waiting.sequence), waiting.size_in_bytes());
        let (is_here, is_spilled) = (waiting.is_here(), matches!(waiting.event, Held::Spilled(_)));
        let btree_map::Entry::Vacant(place) = self.waiting.entry(key) else { return };
        place.insert(waiting);
        self.bytes += bytes;
        self.absent += usize::from(!is_here);
        if bytes > LARGEST_IN_A_CUT {
            self.large.push(key);
        } else if !is_spilled && self.bytes > self.limit {
            self.beyond.push(key);
        }
    }

    pub fn remove(&mut self, stream: StreamHash, sequence: Sequence) -> Option<Waiting> {
        let waiting = self.waiting.remove(&(stream, sequence))?;
        self.bytes -= waiting.size_in_bytes();
        self.absent -= usize::from(!waiting.is_here());
        Some(waiting)
    }

    /// There are some that must be brought before they are let go or compared.
    pub fn has_absent(&self) -> bool {
        self.absent > 0
    }

    /// Those that are in memory and must not be, at most `limit` of them.
    pub fn next_spills(&mut self, limit: usize) -> Vec<&Waiting> {
        let (mut spills, mut excess) = (Vec::new(), self.bytes.saturating_sub(self.limit));
        while spills.len() < limit {
            let beyond = || self.beyond.pop().filter(|_| excess > 0);
            let Some(key) = self.large.pop().or_else(beyond) else { break };
            if let Some(waiting) = self.waiting.get(&key).filter(|waiting| waiting.size_in_bytes() > 0) {
                excess = excess.saturating_sub(waiting.size_in_bytes());
                spills.push(waiting);
            }
        }
        if excess == 0 {
            self.beyond.clear();
        }
        spills
    }

    /// The event is durable in a row of this shard.
    pub fn spill(&mut self, stream: StreamHash, sequence: Sequence, shard: &ShardId) {
        let Some(waiting) = self.waiting.get_mut(&(stream, sequence)) else { return };
        self.bytes -= waiting.size_in_bytes();
        self.absent += usize::from(waiting.is_here());
        waiting.event = Held::Spilled(shard.clone());
    }

    /// An event was read that is not here.
    pub fn bring(&mut self, event: Event) {
        self.brought.insert((event.stream_id.hash(), event.sequence), event.into());
    }

    pub fn forget_brought(&mut self) {
        self.brought.clear();
    }

    /// What there is of an event, if it is neither here nor brought.
    pub fn lacking_one(&self, stream: StreamHash, sequence: Sequence) -> Result<Option<EarlyEvent>> {
        let key = (stream, sequence);
        let absent = self.waiting.get(&key).filter(|waiting| !waiting.is_here());
        absent.filter(|_| !self.brought.contains_key(&key)).map(Waiting::kept).transpose()
    }

    /// Those up to a sequence that are neither here nor brought.
    pub fn lacking(&self, stream: StreamHash, up_to: Sequence) -> Result<Vec<EarlyEvent>> {
        let up_to = self.of_stream(stream).take_while(|(sequence, _)| *sequence <= up_to);
        up_to.filter_map(|(sequence, _)| self.lacking_one(stream, sequence).transpose()).collect()
    }

    /// The first few that are neither here nor brought of those that wait without a hole from a sequence on.
    pub fn lacking_run(&self, stream: StreamHash, from: Sequence, limit: usize) -> Result<Vec<EarlyEvent>> {
        let of_run = (from.0..).zip(self.of_stream(stream)).take_while(|(next, (found, _))| *next == found.0);
        let lacking = of_run.filter_map(|(_, (sequence, _))| self.lacking_one(stream, sequence).transpose());
        lacking.take(limit).collect()
    }

    pub fn is_waiting(&self, stream: StreamHash, sequence: Sequence) -> bool {
        self.waiting.contains_key(&(stream, sequence))
    }

    /// Of the first of the stream that waits.
    pub fn partition_key(&self, stream: StreamHash) -> Option<Arc<str>> {
        self.of_stream(stream).next().map(|(_, waiting)| waiting.partition_key.clone())
    }

    /// The lowest sequence of the stream that waits.
    pub fn first_of(&self, stream: StreamHash) -> Option<Sequence> {
        self.of_stream(stream).next().map(|(sequence, _)| sequence)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// The streams in which events wait, sorted.
    pub fn streams(&self) -> Vec<StreamHash> {
        let mut streams: Vec<_> = self.waiting.keys().map(|(stream, _)| *stream).collect();
        streams.dedup();
        streams
    }

    /// The first gap of a stream, which lacks `first_missing` first; none where nothing waits for it.
    pub fn gap(&self, stream: StreamHash, first_missing: Sequence) -> Option<Gap> {
        let mut of_stream = self.of_stream(stream);
        let (sequence, first) = of_stream.next()?;
        let mut gap = Gap {
            stream: first.stream.clone(),
            partition_key: first.partition_key.clone(),
            first_missing,
            last_missing: Sequence(sequence.0.saturating_sub(1)),
            since: first.since,
            waiting: 1,
            is_inherited: first.at == Place::BEGINNING,
        };
        for (_, waiting) in of_stream {
            gap.waiting += 1;
            gap.since = gap.since.min(waiting.since);
            gap.is_inherited &= waiting.at == Place::BEGINNING;
        }
        // What lacks nothing, as after a merge, goes at the shard's beginning.
        (gap.first_missing <= gap.last_missing).then_some(gap)
    }

    fn of_stream(&self, stream: StreamHash) -> impl Iterator<Item = (Sequence, &Waiting)> {
        let of_stream = self.waiting.range((stream, Sequence(0))..=(stream, Sequence(u64::MAX)));
        of_stream.map(|((_, sequence), waiting)| (*sequence, waiting))
    }
}
