//! Cuts of an order state that reads ahead of what is settled.
//!
//! A checkpoint stands at a place behind which more was read already. The log keeps, for each batch behind that, what its
//! changes undid; the state at the place is the present one without them. Of what is settled it only keeps which streams
//! have moved since a cut, each once, so that a cut costs as much as there are such streams.

use std::collections::{BTreeMap, VecDeque, hash_map::Entry};

use foldstream_model::{Cut, CutId, Early, Error, GivenUp, Head, Place, Position, Result, StreamHash};

use super::{Changes, Order, early::Waiting, heads::ByStream};

use crate::planted::{self, Bug};

/// What a cut weighs besides its contents, in heads: reading a chain back costs a round trip for each of its cuts.
const WEIGHT_OF_A_CUT: usize = 1_000;

/// What one reader of a shard needs to write its chain of cuts.
#[derive(Debug)]
pub struct CutLog {
    chain: String,
    /// No state is known before this place: where the reader began, or up to where it has forgotten.
    start: Place,
    /// How many heads were moved up to there.
    forgotten: usize,
    /// The batches behind it.
    batches: VecDeque<Released>,
    /// The heads that these batches moved, and what each was before. In one row, so that taking in a batch and forgetting
    /// many costs next to nothing.
    heads: VecDeque<(StreamHash, Option<Head>)>,
    /// The streams that have moved between the oldest cut below and the start, and the number of each one's last move.
    moved: ByStream<usize>,
    /// The cuts of this chain that others may add to.
    cuts: BTreeMap<Place, Known>,
}

#[derive(Debug)]
struct Released {
    end: Place,
    /// How many heads were moved up to here.
    moved: usize,
    /// The early events that no longer wait.
    let_go: Vec<Waiting>,
}

#[derive(Debug)]
struct Known {
    /// How many heads were moved up to here.
    moved: usize,
    /// What the cuts since the last whole one weigh, this one included; none until it is saved.
    weight: Option<usize>,
}

impl CutLog {
    /// A new chain, of a reader whose order state stands at `start`.
    pub fn new(chain: String, start: Place) -> Self {
        Self {
            chain,
            start,
            forgotten: 0,
            batches: VecDeque::new(),
            heads: VecDeque::new(),
            moved: ByStream::default(),
            cuts: BTreeMap::new(),
        }
    }

    /// The next cut is a whole one, of another chain: those of this one may not be added to any more.
    pub fn begin_chain(&mut self, chain: String) {
        self.chain = chain;
        self.cuts.clear();
        self.moved.clear();
    }

    /// Takes what the batch that ends at `end` has changed. Internal when `end` is not behind the batch before.
    pub fn released(&mut self, end: Place, changes: Changes) -> Result<()> {
        let last = self.batches.back().map_or(&self.start, |batch| &batch.end);
        if end <= *last {
            return Err(Error::internal(format!("a batch was released out of order: end={end} last={last}")));
        }
        self.heads.extend(changes.heads);
        let moved = self.forgotten + self.heads.len();
        self.batches.push_back(Released { end, moved, let_go: changes.let_go });
        Ok(())
    }

    /// The cut of this place, if it is saved.
    pub fn saved_at(&self, place: &Place) -> Option<CutId> {
        self.cuts.get(place)?.weight.map(|_| self.id(place))
    }

    pub fn id(&self, place: &Place) -> CutId {
        CutId { chain: self.chain.clone(), place: place.clone() }
    }

    /// The state at `place`, the end of a batch or the start, for those who stand on these cuts now. Adds to the last saved
    /// cut, if that is one that they stand on or comes behind it: any other may be removed. Whole where this chain has none,
    /// or where those since the last whole one would outweigh it. Internal when the place was forgotten, or is no end.
    pub fn cut(&mut self, place: &Place, stands: &[CutId], order: &Order) -> Result<Cut> {
        let past = Past::new(place, self.begin_cut(place)?, self, order);
        let saved = |(since, known): (&'_ Place, &Known)| Some((since.clone(), known.moved, known.weight?));
        let before = self.cuts.range(..place).rev().find_map(saved);
        let is_kept = |since: &Place| {
            let is_kept =
                |cut: &CutId| *since > cut.place || (*since == cut.place && cut.chain == self.chain);
            stands.iter().all(is_kept)
        };
        let Some((since, moved, weight)) = before.filter(|(since, ..)| is_kept(since)) else {
            return past.whole();
        };
        let cut = past.since(self.id(&since), moved, self)?;
        match weight + weigh(&cut) > WEIGHT_OF_A_CUT + past.streams() {
            true => past.whole(),
            false => Ok(cut),
        }
    }

    /// The whole state at such a place, which adds to no other cut.
    pub fn whole(&mut self, place: &Place, order: &Order) -> Result<Cut> {
        Past::new(place, self.begin_cut(place)?, self, order).whole()
    }

    /// The first record of this shard that brought an event which waits for a missing one at `place`.
    pub fn waits_from(&self, place: &Place, order: &Order) -> Option<Position> {
        let behind = self.batches.iter().filter(|batch| batch.end > *place);
        let let_go = behind.flat_map(|batch| &batch.let_go).chain(&order.changes.let_go);
        let waiting = order.early.iter().chain(let_go).map(|waiting| &waiting.at);
        waiting.filter(|at| **at <= *place && **at != Place::BEGINNING).min().map(|at| at.position.clone())
    }

    /// How many heads were moved up to a place that is to get a cut.
    fn begin_cut(&mut self, place: &Place) -> Result<usize> {
        let Some(moved) = self.moved_up_to(place) else {
            return Err(Error::internal(format!(
                "no state is known at this place: place={place} chain={}",
                self.chain
            )));
        };
        self.cuts.entry(place.clone()).or_insert(Known { moved, weight: None });
        Ok(moved)
    }

    /// How many heads were moved up to the end of a batch or the start.
    fn moved_up_to(&self, place: &Place) -> Option<usize> {
        if *place == self.start {
            return Some(self.forgotten);
        }
        let found = self.batches.binary_search_by(|batch| batch.end.cmp(place)).ok()?;
        self.batches.get(found).map(|batch| batch.moved)
    }

    /// The moves behind the start, from one number up to another.
    fn moves(&self, from: usize, until: usize) -> impl Iterator<Item = &(StreamHash, Option<Head>)> {
        self.heads.range(from.max(self.forgotten) - self.forgotten..until - self.forgotten)
    }

    /// The streams that have moved from one number up to another, which is not before the start; sorted.
    fn streams_moved(&self, from: usize, until: usize) -> Vec<StreamHash> {
        // A busy stream has moved often: sorting what is unique costs little.
        let mut unique: ByStream<()> = ByStream::default();
        unique.extend(self.moved.iter().filter(|(_, last)| **last >= from).map(|(stream, _)| (*stream, ())));
        unique.extend(self.moves(from, until).map(|(stream, _)| (*stream, ())));
        let mut streams: Vec<_> = unique.into_keys().collect();
        streams.sort_unstable();
        streams
    }

    /// Remembers that a cut is durable, so that others may add to it.
    pub fn saved(&mut self, place: &Place, cut: &Cut) {
        let before = cut.since.as_ref().and_then(|since| self.cuts.get(&since.place)?.weight);
        if let Some(known) = self.cuts.get_mut(place) {
            known.weight = Some(before.map_or(0, |weight| weight + weigh(cut)));
        }
    }

    /// No cut before `place` will be asked for any more: drops what only those need.
    pub fn forget(&mut self, place: &Place) {
        let gone = self.batches.partition_point(|batch| batch.end <= *place);
        let Some(last) = self.batches.drain(..gone).next_back() else { return };
        let moved = last.moved - self.forgotten;
        let gone =
            (self.forgotten..).zip(self.heads.drain(..moved)).map(|(number, (stream, _))| (stream, number));
        match self.cuts.is_empty() {
            true => drop(gone),
            false => self.moved.extend(gone),
        }
        self.forgotten = last.moved;
        self.start = last.end;
        self.forget_cuts();
    }

    /// Cuts before the last saved one at or before the start are added to no more.
    fn forget_cuts(&mut self) {
        let saved = |(place, known): (&Place, &Known)| known.weight.map(|_| (place.clone(), known.moved));
        let Some((base, moved)) = self.cuts.range(..=&self.start).rev().find_map(saved) else { return };
        if self.cuts.first_key_value().is_some_and(|(first, _)| *first == base) {
            return;
        }
        self.cuts = self.cuts.split_off(&base);
        let pace = self.moved.len() + self.heads.len();
        self.moved.retain(|_, last| *last >= moved);
        // What a busy time took is given back; what the present pace takes is kept.
        if self.moved.capacity().max(self.heads.capacity()) > 8 * pace {
            self.moved.shrink_to(2 * pace);
            self.heads.shrink_to(2 * pace);
        }
    }
}

fn weigh(cut: &Cut) -> usize {
    WEIGHT_OF_A_CUT + cut.heads.len() + cut.early.len() + cut.given_up.len()
}

/// An order state as it was at a place.
struct Past<'a> {
    place: &'a Place,
    moved: usize,
    order: &'a Order,
    /// The heads at the place of those streams that have moved since.
    heads: ByStream<Option<Head>>,
    /// How many of them were not known at the place.
    newcomers: usize,
    /// The early events that have been let go since.
    let_go: Vec<&'a Waiting>,
}

impl<'a> Past<'a> {
    /// `moved` heads were moved up to the place.
    fn new(place: &'a Place, moved: usize, log: &'a CutLog, order: &'a Order) -> Self {
        let mut past =
            Self { place, moved, order, heads: ByStream::default(), newcomers: 0, let_go: Vec::new() };
        let moves = log.moves(moved, log.forgotten + log.heads.len());
        for (stream, before) in moves.chain(&order.changes.heads) {
            if let Entry::Vacant(then) = past.heads.entry(*stream) {
                past.newcomers += usize::from(before.is_none());
                then.insert(*before);
            }
        }
        let behind = log.batches.iter().filter(|batch| batch.end > *place);
        past.let_go.extend(behind.flat_map(|batch| &batch.let_go));
        past.let_go.extend(&order.changes.let_go);
        past
    }

    fn head(&self, stream: StreamHash, now: Option<Head>) -> Option<Head> {
        self.heads.get(&stream).copied().filter(|_| !planted::is(Bug::CutAtReadPosition)).unwrap_or(now)
    }

    /// How many streams were known. The state at its place alone decides about a cut: taken twice, it is the same cut.
    fn streams(&self) -> usize {
        self.order.heads.len() - self.newcomers
    }

    fn whole(&self) -> Result<Cut> {
        let mut heads = Vec::with_capacity(self.streams());
        heads.extend(self.order.heads.iter().filter_map(|(stream, now)| {
            let then = self.head(stream, Some(now))?;
            Some((stream, then))
        }));
        Ok(Cut { since: None, heads, early: self.early(None)?, given_up: self.given_up(None) })
    }

    /// What it adds to a cut up to which `moved` heads were moved.
    fn since(&self, since: CutId, moved: usize, log: &CutLog) -> Result<Cut> {
        let streams = log.streams_moved(moved, self.moved);
        let heads = streams.into_iter().filter_map(|stream| {
            let head = self.head(stream, self.order.heads.get(stream))?;
            Some((stream, head))
        });
        let heads = heads.collect();
        let (early, given_up) = (self.early(Some(&since.place))?, self.given_up(Some(&since.place)));
        Ok(Cut { since: Some(since), heads, early, given_up })
    }

    /// Whether something that happened at a place belongs to what a cut adds to the one at `since`.
    fn is_new(&self, at: &Place, since: Option<&Place>) -> bool {
        at <= self.place && since.is_none_or(|since| at > since)
    }

    fn early(&self, since: Option<&Place>) -> Result<Vec<Early>> {
        let known = self.order.early.iter().chain(self.let_go.iter().copied());
        let mut known: Vec<_> = known.filter(|waiting| self.is_new(&waiting.at, since)).collect();
        known.sort_unstable_by_key(|waiting| (waiting.hash(), waiting.sequence));
        known.into_iter().map(Waiting::to_early).collect()
    }

    fn given_up(&self, since: Option<&Place>) -> Vec<GivenUp> {
        let known = self.order.given_up.placed().filter(|(_, at)| self.is_new(at, since));
        known.map(|(given_up, _)| given_up).collect()
    }
}
