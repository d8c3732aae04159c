//! streams: which streams of a shard a projection has parked.
//!
//! Of an event that cannot be read, lifted or folded, or whose documents cannot be told, no document is known that could be
//! parked. So its stream is, for the one projection: this event and all that follow wait, and everything else goes on. From
//! where a stream is parked up to where it comes back is decided once, is durable before anything behind it goes on, and
//! is the same for everybody who ever reads there.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    Error, HashKeyRange, ParkedOrder, ParkedStream, Place, Position, Sequence, ShardNumber, StreamHash,
    Timestamp,
};

use crate::{
    fold::LeftOut,
    order::{Order, Placed},
    planted::{self, Bug},
};

#[cfg(test)]
mod tests;

/// A shard, and what it takes over from those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory {
    pub shard: ShardNumber,
    /// The shards that it descends from.
    pub ancestors: BTreeSet<ShardNumber>,
    pub range: Option<HashKeyRange>,
}

impl Territory {
    /// Whether a stream that was parked in one of these shards is parked here, if it has not come back.
    pub fn takes(&self, parked: &ParkedStream, hash_key: u128) -> bool {
        let begun_in = parked.since.shard;
        let inherits = || self.ancestors.contains(&begun_in);
        begun_in == self.shard || inherits() && self.range.is_none_or(|range| range.contains(hash_key))
    }
}

/// What one projection has parked where it stands in a shard.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    shard: Option<ShardNumber>,
    parked: BTreeMap<StreamHash, ParkedStream>,
    /// Streams that somebody has parked who has read further than was saved.
    ahead: BTreeMap<Known, ParkedStream>,
    /// Forks at which somebody has decided that the stream goes on.
    void: BTreeSet<(Known, Sequence)>,
    left_out: BTreeSet<(StreamHash, Sequence)>,
}

/// A stream, and the record or entry by which the event was released that it was parked at.
type Known = (StreamHash, Position, u32);

fn known(stream: StreamHash, place: &Place) -> Known {
    (stream, place.position.clone(), place.entry)
}

/// Where an event stands that comes back at an entry: the same for whoever comes there, with all that waits or behind somebody
/// who has taken out of the lot already what is settled. By that a document, or the lot of one, knows the event again.
pub fn place_in(entry: &Place, sequence: Sequence) -> Place {
    Place::new(entry.position.clone(), entry.entry, sequence.0)
}

/// What becomes of an event before it is asked what it touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is taken, if it can be.
    Take,
    /// It waits with its stream.
    Wait,
    /// It has no effect on anything.
    LeaveOut,
}

impl Streams {
    /// What is parked at a place of a shard, of all that it takes over or has parked itself, wherever that began and
    /// ended.
    pub fn at(
        shard: ShardNumber,
        place: &Place,
        parked: impl IntoIterator<Item = ParkedStream>,
        left_out: BTreeSet<(StreamHash, Sequence)>,
    ) -> Self {
        let here = ParkedOrder { key: None, shard, place: place.clone() };
        let mut streams = Self { shard: Some(shard), left_out, ..Self::default() };
        for parked in parked {
            let is_ahead = parked.since > here;
            if is_ahead && planted::is(Bug::ParkedWhereSaved) {
                continue;
            }
            if is_ahead {
                streams.expect(parked);
            } else if parked.until.as_ref().is_none_or(|until| *until > here) {
                streams.parked.insert(parked.stream.hash(), parked);
            }
        }
        streams
    }

    /// Nothing is parked, or was.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.ahead.is_empty() && self.left_out.is_empty()
    }

    /// Whether any stream is parked, or will be further on.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty() || !self.ahead.is_empty()
    }

    /// The next event, in the order of places.
    pub fn turn(&mut self, placed: &Placed) -> Turn {
        if self.is_empty() {
            return Turn::Take;
        }
        let (stream, sequence) = (placed.event.stream_id.hash(), placed.event.sequence);
        self.meet_before(stream, &placed.place);
        self.meet(stream, &placed.place, sequence);
        match (self.parked.contains_key(&stream), self.left_out.contains(&(stream, sequence))) {
            (true, _) => Turn::Wait,
            (false, true) => Turn::LeaveOut,
            (false, false) => Turn::Take,
        }
    }

    /// The stream is parked from here on if somebody has parked it before this record or entry.
    fn meet_before(&mut self, stream: StreamHash, at: &Place) {
        let (begin, here) = (known(stream, &Place::BEGINNING), known(stream, at));
        while let Some((since, _)) = self.ahead.range(begin.clone()..here.clone()).next() {
            let since = since.clone();
            self.parked.extend(self.ahead.remove(&since).map(|parked| (stream, parked)));
        }
    }

    /// The same, if somebody has parked it here, and at no later event of the same record or entry. That event itself may be
    /// gone from what comes back, when another has taken it.
    fn meet(&mut self, stream: StreamHash, at: &Place, sequence: Sequence) {
        let here = known(stream, at);
        if self.ahead.get(&here).is_some_and(|parked| parked.sequence <= sequence) {
            self.parked.extend(self.ahead.remove(&here).map(|parked| (stream, parked)));
        }
    }

    /// Parks the stream of an event that could not be taken; to be made durable before anything behind it goes on.
    pub fn park(&mut self, placed: &Placed, error: &Error, at: Timestamp) -> ParkedStream {
        let parked = self.parked_at(placed, error, at);
        self.parked.insert(parked.stream.hash(), parked.clone());
        parked
    }

    /// What this one would decide about the stream of a fork; none if that is decided, or the stream is parked or left out
    /// there anyway. An operator's word on the fork comes at any time, between two readings of it, too: so what becomes of
    /// the stream is made durable by the first of them, to be told to [`Streams::expect`].
    pub fn at_fork(
        &mut self,
        fork: &Placed,
        error: &Error,
        at: Timestamp,
        parks: bool,
    ) -> Option<ParkedStream> {
        let here = (known(fork.event.stream_id.hash(), &fork.place), fork.event.sequence);
        let is_passed = !parks && planted::is(Bug::ForkPassedUnsaid);
        if is_passed || self.void.contains(&here) || self.turn(fork) != Turn::Take {
            return None;
        }
        let parked = self.parked_at(fork, error, at);
        let until = (!parks).then(|| parked.since.clone());
        Some(ParkedStream { is_fork: true, until, ..parked })
    }

    /// Somebody has decided this about a place further on, or about the one to be read next.
    pub fn expect(&mut self, parked: ParkedStream) {
        let since = known(parked.stream.hash(), &parked.since.place);
        if parked.is_void() {
            self.void.insert((since, parked.sequence));
        } else if self.ahead.get(&since).is_none_or(|other| parked.sequence < other.sequence) {
            self.ahead.insert(since, parked);
        }
    }

    fn parked_at(&self, placed: &Placed, error: &Error, at: Timestamp) -> ParkedStream {
        let event = &placed.event;
        ParkedStream {
            stream: event.stream_id.clone(),
            partition_key: placed.partition_key.to_string(),
            since: self.order_of(&placed.place),
            sequence: event.sequence,
            event_type: event.event_type.clone(),
            error: error.to_string(),
            parked_at: at,
            is_fork: false,
            until: None,
        }
    }

    /// The stream comes back at this place; what was parked of it, until then. None: it is not parked.
    pub fn re_enter(&mut self, stream: StreamHash, at: &Place) -> Option<ParkedStream> {
        self.meet_before(stream, at);
        let until = Some(self.order_of(at));
        self.parked.remove(&stream).map(|parked| ParkedStream { until, ..parked })
    }

    /// What others have decided of a stream that comes back at this place. To be asked after what waits was listed: of what they
    /// have taken out of the lot by then, everything is known.
    pub fn learn(
        &mut self,
        stream: StreamHash,
        at: &Place,
        parked: impl IntoIterator<Item = ParkedStream>,
        left_out: impl IntoIterator<Item = (StreamHash, Sequence)>,
    ) {
        self.left_out.extend(left_out.into_iter().filter(|(of, _)| *of == stream));
        for parked in parked {
            let since = known(stream, &parked.since.place);
            let is_here = parked.stream.hash() == stream && Some(parked.since.shard) == self.shard;
            if is_here && since >= known(stream, at) {
                self.expect(parked);
            }
        }
    }

    /// The event has no effect on anything from now on; to be made durable before anything behind it goes on.
    pub fn leave_out(&mut self, stream: StreamHash, sequence: Sequence) {
        self.left_out.insert((stream, sequence));
    }

    /// Whether events of the stream were left out, so that its states are the projection's own.
    pub fn is_apart(&self, stream: StreamHash) -> bool {
        self.left_out.range((stream, Sequence(0))..=(stream, Sequence(u64::MAX))).next().is_some()
    }

    /// Whether any stream is.
    pub fn has_apart(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// Where an event of this shard stands among all that is parked.
    pub fn order_of(&self, place: &Place) -> ParkedOrder {
        ParkedOrder { key: None, shard: self.shard.unwrap_or(ShardNumber(0)), place: place.clone() }
    }

    fn first_not_left_out(&self, stream: StreamHash, from: Sequence) -> Sequence {
        let mut first = from;
        while self.left_out.contains(&(stream, first)) && !planted::is(Bug::LeftOutFolded) {
            first = Sequence(first.0.saturating_add(1));
        }
        first
    }
}

/// What was given up is passed over by every projection's folds.
impl LeftOut for Order {
    fn first_kept(&self, stream: StreamHash, from: Sequence) -> Sequence {
        Order::first_kept(self, stream, from)
    }
}

/// What is passed over by the folds of one projection alone.
pub struct OfProjection<'a> {
    pub order: &'a Order,
    pub streams: &'a Streams,
}

impl LeftOut for OfProjection<'_> {
    fn first_kept(&self, stream: StreamHash, from: Sequence) -> Sequence {
        let mut first = from;
        loop {
            let next = self.order.first_kept(stream, self.streams.first_not_left_out(stream, first));
            if next == first {
                return first;
            }
            first = next;
        }
    }
}
