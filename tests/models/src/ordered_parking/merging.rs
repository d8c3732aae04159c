//! A worker with its merge: what it has read, and what it asks for in turn.

use std::collections::BTreeSet;

use foldstream_model::ShardPlaces;
use foldstream_runtime::guard::Judgement;

use super::{
    OrderedParking, Wrong,
    durable::{Condition, Durable, Event, Request, Stored, judge, origin, places_of, stands},
};
use crate::store::SHARDS;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub read: [u8; SHARDS],
    /// What was read and is not settled, in its order.
    pub pending: BTreeSet<Event>,
    /// What the document was when it was last seen.
    pub cache: Option<Option<Stored>>,
    /// Of the pending ones those that have arrived in the lot, and under which mark.
    in_lot: (u8, BTreeSet<Event>),
    /// A mark that it knows to be closed.
    known_closed: u8,
    /// It runs the mended code.
    is_mended: bool,
}

impl Worker {
    pub fn new(is_mended: bool) -> Self {
        Self { is_mended, ..Self::default() }
    }

    /// Begins anew: it knows what the checkpoints say, and nothing else.
    pub fn crash(&mut self, durable: &Durable) {
        *self = Self { read: durable.checkpoints, ..Self::new(self.is_mended) };
    }

    pub fn read(&mut self, model: &OrderedParking, shard: usize) {
        self.pending.insert(model.events[shard][usize::from(self.read[shard])]);
        self.read[shard] += 1;
    }

    /// Begins to read one shard again, at its checkpoint; its lane stays as it is.
    pub fn begin(&mut self, model: &OrderedParking, durable: &Durable, shard: usize) {
        self.read[shard] = durable.checkpoints[shard];
        self.pending.retain(|event| stands(&model.events, *event).0 != shard);
    }

    /// Up to here the shard is settled.
    pub fn settled(&self, model: &OrderedParking, shard: usize) -> u8 {
        let is_early =
            |event: &Event| model.is(Wrong::SettledBeforeTheReach) && self.in_lot.1.contains(event);
        let waiting = self.pending.iter().filter(|event| !is_early(event));
        let waiting = waiting.map(|event| stands(&model.events, *event)).filter(|(of, _)| *of == shard);
        waiting.map(|(_, at)| at - 1).min().unwrap_or(self.read[shard])
    }

    /// Settles what the base covers. When nothing is left, what is known of the document is forgotten.
    pub fn settle_covered(&mut self, model: &OrderedParking) {
        let covered = self.judged(model, Judgement::Duplicate);
        self.settle(&covered);
        if self.pending.is_empty() {
            let cache = self.cache.take().filter(|_| model.caches);
            *self = Self { read: self.read, cache, ..Self::new(self.is_mended) };
        }
    }

    /// What it asks for when so many of the pending events are due, and which of them settle with that.
    pub fn turn(&self, model: &OrderedParking, due: usize) -> Option<(Request, BTreeSet<Event>)> {
        let base = self.cache.clone()?;
        let late = self.judged(model, Judgement::Late);
        if !late.is_empty() {
            return Some((Request::RecordLate(late.clone()), late));
        }
        let judged = judge(base.as_ref());
        let is_behind = judged.is_ahead_of(&places_of(&self.read), &ShardPlaces::default());
        if is_behind && !model.is(Wrong::WrittenBehindTheGuard) {
            return None;
        }
        let due: Vec<_> = self.pending.iter().copied().take(due).collect();
        let first = *due.first()?;
        let is_refused = |event| event == model.poison && !self.is_mended;
        match judged.mark().map(|mark| mark.0 as u8) {
            Some(mark) if mark == self.known_closed => Some((self.unparked(model, base.as_ref()), [].into())),
            Some(mark) => self.park(model, base.as_ref(), mark, &due),
            None if is_refused(first) => {
                let mut marked = judged;
                marked.set_mark();
                Some((self.put(base.as_ref(), Stored::of(base.as_ref(), marked, &self.read, &[])), [].into()))
            }
            None => {
                let taken: Vec<_> = due.into_iter().take_while(|event| !is_refused(*event)).collect();
                let mut applied = judged;
                taken.iter().for_each(|event| applied.advance(&origin(&model.events, *event)));
                let put = Stored::of(base.as_ref(), applied, &self.read, &taken);
                Some((self.put(base.as_ref(), put), taken.into_iter().collect()))
            }
        }
    }

    /// The pending events of which the base says this.
    fn judged(&self, model: &OrderedParking, judgement: Judgement) -> BTreeSet<Event> {
        let Some(mut base) = self.cache.clone() else { return BTreeSet::new() };
        if model.is(Wrong::JudgedByTheDocument)
            && let Some(base) = &mut base
        {
            base.guard.parked = None;
        }
        let judge = judge(base.as_ref());
        let of = |event: &Event| judge.judge(&origin(&model.events, *event)).expect("no stream is refused");
        self.pending.iter().copied().filter(|event| of(event) == judgement).collect()
    }

    fn put(&self, base: Option<&Stored>, put: Stored) -> Request {
        Request::Put(Condition::GuardIs(base.map(|base| base.guard)), put)
    }

    fn unparked(&self, model: &OrderedParking, base: Option<&Stored>) -> Request {
        let cleared = model.cleared(base.expect("it carries a mark"), &self.read);
        self.put(base, cleared)
    }

    fn park(
        &self,
        model: &OrderedParking,
        base: Option<&Stored>,
        mark: u8,
        due: &[Event],
    ) -> Option<(Request, BTreeSet<Event>)> {
        let (under, in_lot) = &self.in_lot;
        let in_lot = due.iter().take_while(|event| *under == mark && in_lot.contains(event));
        let in_lot: BTreeSet<_> = in_lot.copied().collect();
        let Some(last) = in_lot.last() else {
            return Some((Request::Append(mark, due.iter().copied().collect()), [].into()));
        };
        let mut judged = judge(base);
        judged.park(&origin(&model.events, *last));
        let put = Stored::of(base, judged, &self.read, &[]);
        let request = match model.is(Wrong::ReachMovedWithoutCondition) {
            true => Request::Put(Condition::None, put),
            false => self.put(base, put),
        };
        Some((request, in_lot))
    }

    /// What it makes of the answer.
    pub fn answered(
        &mut self,
        (request, taken): (&Request, &BTreeSet<Event>),
        is_done: bool,
        durable: &Durable,
    ) {
        match request {
            Request::Put(..) if !is_done => self.cache = Some(durable.stored.clone()),
            Request::Put(_, put) => self.cache = Some(Some(put.clone())),
            Request::Append(mark, _) if !is_done => self.known_closed = *mark,
            Request::Append(mark, events) => self.in_lot = (*mark, events.clone()),
            Request::RecordLate(_) | Request::Remove(_) | Request::Close(_) => {}
        }
        if is_done {
            self.settle(taken);
        }
    }

    /// Nobody hears the answer. A write is read back, all else is asked for again.
    pub fn unheard(&mut self, request: &Request) {
        if matches!(request, Request::Put(..)) {
            self.cache = None;
        }
    }

    fn settle(&mut self, events: &BTreeSet<Event>) {
        self.pending.retain(|event| !events.contains(event));
        self.in_lot.1.retain(|event| !events.contains(event));
    }
}
