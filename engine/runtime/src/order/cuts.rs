//! Cuts of an order state that reads ahead of what is settled.
//!
//! A checkpoint stands at a place behind which more was read already. The log keeps, for each batch since, what its
//! changes undid; the state at the place is the present one without them.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::Entry},
    ops::Range,
};

use foldstream_model::{Cut, CutId, Early, Error, GivenUp, Head, Place, Result, StreamHash};

use super::{Changes, Order, early::Waiting, heads::ByStream};

/// What a cut weighs besides its contents, in heads: reading a chain back costs a round trip for each of its cuts.
const WEIGHT_OF_A_CUT: usize = 1_000;

/// What one reader of a shard needs to write its chain of cuts.
#[derive(Debug)]
pub struct CutLog {
    chain: String,
    /// Where the reader began.
    start: Place,
    batches: VecDeque<Released>,
    /// The heads that these batches moved, and what each was before. In one row, so that taking in a batch and forgetting
    /// many costs next to nothing.
    heads: VecDeque<(StreamHash, Option<Head>)>,
    /// How many were moved by batches that are forgotten.
    forgotten: usize,
    /// The cuts of this chain that are saved, and what those since the last whole one weigh.
    saved: BTreeMap<Place, usize>,
}

#[derive(Debug)]
struct Released {
    end: Place,
    /// How many heads were moved up to here.
    moved: usize,
    /// The early events that no longer wait.
    let_go: Vec<Waiting>,
}

impl CutLog {
    /// A new chain, of a reader whose order state stands at `start`.
    pub fn new(chain: String, start: Place) -> Self {
        let (batches, heads) = (VecDeque::new(), VecDeque::new());
        Self { chain, start, batches, heads, forgotten: 0, saved: BTreeMap::new() }
    }

    /// Takes what the batch that ends at `end` has changed. Internal when `end` is not behind the batch before.
    pub fn released(&mut self, end: Place, mut changes: Changes) -> Result<()> {
        let last = self.batches.back().map_or(&self.start, |batch| &batch.end);
        if end <= *last {
            return Err(Error::internal(format!("a batch was released out of order: end={end} last={last}")));
        }
        changes.heads.sort_by_key(|(stream, _)| *stream);
        changes.heads.dedup_by_key(|(stream, _)| *stream);
        self.heads.extend(changes.heads);
        let moved = self.forgotten + self.heads.len();
        self.batches.push_back(Released { end, moved, let_go: changes.let_go });
        Ok(())
    }

    /// The batches that end behind one place and not behind the other.
    fn batches_between(&self, after: &Place, until: Option<&Place>) -> Range<usize> {
        let behind = |place: &Place| self.batches.partition_point(|batch| batch.end <= *place);
        behind(after)..until.map_or(self.batches.len(), behind)
    }

    fn heads_of(&self, batches: &Range<usize>) -> impl Iterator<Item = &(StreamHash, Option<Head>)> {
        let moved_before = |batch: usize| match batch.checked_sub(1).and_then(|last| self.batches.get(last)) {
            Some(last) => last.moved - self.forgotten,
            None => 0,
        };
        self.heads.range(moved_before(batches.start)..moved_before(batches.end))
    }

    /// The cut of this place, if it is saved.
    pub fn saved_at(&self, place: &Place) -> Option<CutId> {
        self.saved.contains_key(place).then(|| self.id(place))
    }

    pub fn id(&self, place: &Place) -> CutId {
        CutId { chain: self.chain.clone(), place: place.clone() }
    }

    /// The state at `place`, the end of a batch or the start. Adds to the last saved cut that is not before `oldest`;
    /// whole where this chain has none, or where those since the last whole one would outweigh it. Internal when the
    /// place was forgotten, or is no end.
    pub fn cut(&self, place: &Place, oldest: &Place, order: &Order) -> Result<Cut> {
        let is_end =
            *place == self.start || self.batches.binary_search_by(|batch| batch.end.cmp(place)).is_ok();
        if !is_end {
            return Err(Error::internal(format!(
                "no state is known at this place: place={place} chain={}",
                self.chain
            )));
        }
        let past = Past::new(place, self, order);
        let Some((since, weight)) =
            self.saved.range(..place).next_back().filter(|(since, _)| *since >= oldest)
        else {
            return past.whole();
        };
        let cut = past.since(self.id(since), self)?;
        match weight + weigh(&cut) > WEIGHT_OF_A_CUT + past.streams() {
            true => past.whole(),
            false => Ok(cut),
        }
    }

    /// Remembers that a cut is durable, so that others may add to it.
    pub fn saved(&mut self, place: &Place, cut: &Cut) {
        let before = cut.since.as_ref().and_then(|since| self.saved.get(&since.place));
        let weight = before.map_or(0, |weight| weight + weigh(cut));
        self.saved.insert(place.clone(), weight);
    }

    /// No cut before `place` will be asked for any more: drops what only those need.
    pub fn forget(&mut self, place: &Place) {
        let saved = self.saved.range(..=place).next_back().map(|(base, _)| base);
        let end = || {
            let found = self.batches.binary_search_by(|batch| batch.end.cmp(place)).ok()?;
            self.batches.get(found).map(|batch| &batch.end)
        };
        let Some(base) = saved.or_else(end).cloned() else { return };
        self.saved = self.saved.split_off(&base);
        let gone = self.batches_between(&Place::BEGINNING, Some(&base));
        let moved = self.heads_of(&gone).count();
        self.heads.drain(..moved);
        if self.heads.capacity() > 8 * (moved + self.heads.len()) {
            // What a busy time took is given back; what the present pace takes is kept.
            self.heads.shrink_to(2 * (moved + self.heads.len()));
        }
        self.forgotten += moved;
        self.batches.drain(gone);
        self.start = base;
    }
}

fn weigh(cut: &Cut) -> usize {
    WEIGHT_OF_A_CUT + cut.heads.len() + cut.early.len() + cut.given_up.len()
}

/// An order state as it was at a place.
struct Past<'a> {
    place: &'a Place,
    order: &'a Order,
    /// The heads at the place of those streams that have moved since.
    heads: ByStream<Option<Head>>,
    /// How many of them were not known at the place.
    newcomers: usize,
    /// The early events that have been let go since.
    let_go: Vec<&'a Waiting>,
}

impl<'a> Past<'a> {
    fn new(place: &'a Place, log: &'a CutLog, order: &'a Order) -> Self {
        let mut past = Self { place, order, heads: ByStream::default(), newcomers: 0, let_go: Vec::new() };
        let since = log.batches_between(place, None);
        for (stream, before) in log.heads_of(&since).chain(&order.changes.heads) {
            if let Entry::Vacant(then) = past.heads.entry(*stream) {
                past.newcomers += usize::from(before.is_none());
                then.insert(*before);
            }
        }
        past.let_go.extend(log.batches.range(since).flat_map(|batch| &batch.let_go));
        past.let_go.extend(&order.changes.let_go);
        past
    }

    fn head(&self, stream: StreamHash, now: Option<Head>) -> Option<Head> {
        self.heads.get(&stream).copied().unwrap_or(now)
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

    fn since(&self, since: CutId, log: &CutLog) -> Result<Cut> {
        let moved = log.batches_between(&since.place, Some(self.place));
        // A busy stream has moved in many batches: sorting what is unique costs little.
        let mut unique: ByStream<()> = ByStream::default();
        unique.extend(log.heads_of(&moved).map(|(stream, _)| (*stream, ())));
        let mut streams: Vec<_> = unique.into_keys().collect();
        streams.sort_unstable();
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
