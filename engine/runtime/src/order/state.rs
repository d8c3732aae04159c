//! Where order state comes from: cuts, and the final states of a shard's parents.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldstream_model::{
    Cut, Early, EarlyEvent, Error, ErrorKind, Event, GivenUp, HashKeyRange, Head, Place, Result, Sequence,
    SpilledEvent, StreamHash,
};

use super::{
    Gaps, Order, OrderOptions, Prepare,
    early::{Held, Waiting},
};

use crate::planted::{self, Bug};

/// What has changed in an order state: what it takes to find the state before again, and to know what has moved.
#[derive(Debug, Default)]
pub struct Changes {
    /// Each stream whose head moved, and its head before. Oldest first; a stream may be named often.
    pub(super) heads: Vec<(StreamHash, Option<Head>)>,
    /// The early events that no longer wait.
    pub(super) let_go: Vec<Waiting>,
}

/// What was given up, by stream and first sequence, and the places where that was done.
#[derive(Debug, Clone, Default)]
pub(super) struct GivenUpRanges(BTreeMap<(StreamHash, Sequence), (Sequence, Place)>);

impl GivenUpRanges {
    pub fn insert(&mut self, given_up: GivenUp, at: Place) {
        self.0.entry((given_up.stream, given_up.first)).or_insert((given_up.last, at));
    }

    pub fn first_kept(&self, stream: StreamHash, from: Sequence) -> Sequence {
        let mut first = from;
        let before = |first| self.0.range((stream, Sequence(0))..=(stream, first)).next_back();
        while let Some((_, (last, _))) = before(first).filter(|(_, (last, _))| first <= *last) {
            let Some(next) = last.next() else { break };
            first = next;
        }
        first
    }

    pub fn iter(&self) -> impl Iterator<Item = GivenUp> + '_ {
        self.placed().map(|(given_up, _)| given_up)
    }

    pub fn placed(&self) -> impl Iterator<Item = (GivenUp, &Place)> {
        self.0.iter().map(|((stream, first), (last, at))| {
            (GivenUp { stream: *stream, first: *first, last: *last }, at)
        })
    }
}

impl Order {
    /// The state at a cut: a whole one, then those that add to it, each to the one before. Invalid when gaps are no
    /// longer waited for and events still wait; internal when the cuts are no such chain.
    pub fn restore(options: OrderOptions, prepare: Prepare, cuts: &[Cut]) -> Result<Self> {
        let mut order = Self::new(options, prepare);
        for (index, cut) in cuts.iter().enumerate() {
            if cut.since.is_none() != (index == 0) {
                return Err(Error::internal(format!(
                    "cuts were read that are no chain: index={index} of={}",
                    cuts.len()
                )));
            }
            for (stream, head) in &cut.heads {
                order.heads.set(*stream, *head);
            }
            for given_up in &cut.given_up {
                order.given_up.insert(*given_up, Place::BEGINNING);
            }
        }
        for early in cuts.iter().flat_map(|cut| &cut.early) {
            order.restore_early(early)?;
        }
        if order.options.gaps == Gaps::Allow && !order.early.is_empty() {
            return Err(Error::invalid(format!(
                "gaps are allowed now, but events still wait for missing ones: events={}; set `gaps: refuse` again until \
                 they are filled or given up, or build the projections anew",
                order.early.len()
            )));
        }
        Ok(order)
    }

    fn restore_early(&mut self, early: &Early) -> Result<()> {
        let (at, partition_key) = (early.at.clone(), early.partition_key.as_str().into());
        let waiting = match &early.event {
            EarlyEvent::Envelope(envelope) => {
                let event = Event::from_envelope(&Bytes::copy_from_slice(envelope.as_bytes()));
                let mut event = event.map_err(|error| error.context(&early.at))?;
                let refused = match (self.prepare)(&mut event) {
                    Err(error) if error.kind() == ErrorKind::Poison => true,
                    prepared => prepared.map(|()| false)?,
                };
                let mut waiting = Waiting::new(event.into(), at, partition_key, early.since);
                if refused {
                    waiting.event = Held::Refused(envelope.as_str().into());
                }
                waiting
            }
            EarlyEvent::Spilled(SpilledEvent { shard, stream, sequence }) => Waiting {
                at,
                partition_key,
                since: early.since,
                stream: stream.clone(),
                sequence: *sequence,
                event: Held::Spilled(shard.clone()),
            },
        };
        self.inherit(waiting);
        Ok(())
    }

    /// The state that a shard begins with: the union of its parents' final states.
    ///
    /// The higher head counts, and early events at or below it are done; what is next behind it is for [`Order::begin`]
    /// to release. Those that wait go to the child whose range
    /// holds their partition key; to every child where ranges are unknown.
    pub fn child(
        options: OrderOptions,
        prepare: Prepare,
        parents: &[&Self],
        range: Option<HashKeyRange>,
        hash_key: &dyn Fn(&str) -> u128,
    ) -> Self {
        let mut child = Self::new(options, prepare);
        for parent in parents {
            child.heads.raise_to(&parent.heads);
            for given_up in parent.given_up.iter() {
                child.given_up.insert(given_up, Place::BEGINNING);
            }
        }
        for waiting in parents.iter().flat_map(|parent| parent.early.iter()) {
            let is_here = range.is_none_or(|range| range.contains(hash_key(&waiting.partition_key)));
            if (is_here && !planted::is(Bug::EarlyNotInherited)) || planted::is(Bug::EarlyToEveryChild) {
                child.inherit(Waiting { at: Place::BEGINNING, ..waiting.clone() });
            }
        }
        child
    }

    /// Lets an event wait, if it still has to.
    fn inherit(&mut self, waiting: Waiting) {
        let stream = waiting.hash();
        if self.heads.get(stream).is_none_or(|head| waiting.sequence > head.sequence) {
            self.early.insert(stream, waiting);
        }
    }
}
