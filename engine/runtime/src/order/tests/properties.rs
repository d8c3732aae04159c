//! Records with duplicates, disorder and gaps, and the journal's entries between them.

use foldstream_model::CutId;
use proptest::prelude::*;

use super::{naive::Naive, *};

pub const STREAMS: [&str; 3] = ["r", "s", "t"];

/// What comes in a shard, in its order.
#[derive(Debug, Clone)]
pub enum Input {
    Record(usize, u64),
    Fill(usize, u64),
    GiveUp(usize, u64),
}

pub fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        20 => (0..STREAMS.len(), 1u64..9).prop_map(|(stream, sequence)| Input::Record(stream, sequence)),
        1 => (0..STREAMS.len(), 1u64..9).prop_map(|(stream, up_to)| Input::Fill(stream, up_to)),
        2 => (0..STREAMS.len(), 1u64..9).prop_map(|(stream, up_to)| Input::GiveUp(stream, up_to)),
    ];
    prop::collection::vec(input, 0..60)
}

/// An input at its place.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub position: u128,
    pub number: u32,
    pub what: Result<(usize, u64), Entry>,
}

impl Arrival {
    pub fn end(&self) -> Place {
        Place::end(Position::new(self.position), self.number)
    }
}

type Entry = foldstream_model::Entry;

/// Gives places to inputs, and fills the events that are missing where a fill takes effect, a few known ones with them.
pub fn arrivals(inputs: &[Input]) -> (Vec<Arrival>, Naive, Releases) {
    let mut naive = Naive::default();
    let (mut position, mut number) = (0, 0);
    let (mut arrivals, mut releases) = (Vec::new(), Releases::new());
    for input in inputs {
        (position, number) = match input {
            Input::Record(..) => (position + 1, 0),
            _ => (position, number + 1),
        };
        let (stream, what, released) = match *input {
            Input::Record(stream, sequence) => {
                (stream, Ok((stream, sequence)), naive.record(STREAMS[stream], sequence))
            }
            Input::Fill(stream, up_to) => {
                let known = naive.head(STREAMS[stream]).saturating_sub(1).max(1);
                let entry = fill(STREAMS[stream], known..=up_to);
                (stream, Err(entry), naive.fill(STREAMS[stream], up_to))
            }
            Input::GiveUp(stream, up_to) => {
                (stream, Err(give_up(STREAMS[stream], up_to)), naive.give_up(STREAMS[stream], up_to))
            }
        };
        arrivals.push(Arrival { position, number, what });
        releases.extend((0..).zip(released).map(|(ordinal, sequence)| {
            (Place::new(Position::new(position), number, ordinal), STREAMS[stream].into(), sequence)
        }));
    }
    (arrivals, naive, releases)
}

impl Stage {
    pub fn arrive(&mut self, arrival: &Arrival) {
        match &arrival.what {
            Ok((stream, sequence)) => {
                self.record(arrival.position, event(STREAMS[*stream], *sequence));
            }
            Err(entry) => assert!(self.entry(arrival.position, arrival.number, entry).is_empty()),
        }
    }
}

/// What a disturbed reader does after each input.
#[derive(Debug, Clone)]
pub enum Act {
    Nothing,
    /// Takes the changes so far as one batch.
    EndBatch,
    /// Saves a cut at one of the batches that are not forgotten; or fails to save it.
    Cut(prop::sample::Index, bool),
    /// Cuts no more before one of its places.
    Forget(prop::sample::Index),
    /// Dies, and begins a new chain on one of the cuts.
    Crash(prop::sample::Index),
}

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => Just(Act::Nothing),
        8 => Just(Act::EndBatch),
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.8)).prop_map(|(at, saved)| Act::Cut(at, saved)),
        4 => any::<prop::sample::Index>().prop_map(Act::Forget),
        1 => any::<prop::sample::Index>().prop_map(Act::Crash),
    ];
    prop::collection::vec(act, 0..80)
}

/// A reader, the cuts that it and those before it have saved as rows, and the places at which it may still cut.
pub struct Reader {
    pub stage: Stage,
    log: CutLog,
    rows: BTreeMap<String, Bytes>,
    saved: Vec<CutId>,
    ends: Vec<Place>,
    chains: usize,
}

impl Reader {
    pub fn new(order: Order) -> Self {
        Self {
            stage: Stage::of(order),
            log: CutLog::new("chain-0".into(), Place::BEGINNING),
            rows: BTreeMap::new(),
            saved: Vec::new(),
            ends: vec![Place::BEGINNING],
            chains: 0,
        }
    }

    pub fn end_batch(&mut self, end: Place) {
        if *self.ends.last().unwrap() < end {
            self.log.released(end.clone(), self.stage.order.take_changes()).unwrap();
            self.ends.push(end);
        }
    }

    /// Cuts at one of its places, and returns which.
    pub fn cut(&mut self, at: &prop::sample::Index, is_saved: bool) -> Option<(Place, Cut)> {
        let place = at.get(&self.ends).clone();
        if self.log.saved_at(&place).is_some() {
            return None;
        }
        let cut = self.log.cut(&place, &[], &self.stage.order).unwrap();
        let id = self.log.id(&place);
        if is_saved {
            self.rows.extend(cut_rows::encode(&id, &cut).unwrap().map(Result::unwrap));
            self.log.saved(&place, &cut);
            self.saved.push(id);
        }
        Some((place, cut))
    }

    pub fn forget(&mut self, at: &prop::sample::Index) {
        let place = at.get(&self.ends).clone();
        self.log.forget(&place);
        self.ends.retain(|end| *end >= place);
    }

    /// The cuts that lead to this one, the whole one first.
    pub fn chain_to(&self, id: &CutId) -> Vec<Cut> {
        let body = |page| cut_rows::decode(&self.rows[&cut_rows::sort_key(id, page)]).unwrap();
        let cut = cut_rows::join((0..body(0).of).map(body)).unwrap();
        let mut chain = cut.since.as_ref().map_or(Vec::new(), |since| self.chain_to(since));
        chain.push(cut);
        chain
    }

    /// Begins again on one of the saved cuts, or at the beginning; returns where.
    pub fn crash(&mut self, at: &prop::sample::Index, beginning: Order) -> Place {
        let pick = at.index(self.saved.len() + 1);
        let (order, place) = match self.saved.get(pick) {
            None => (beginning, Place::BEGINNING),
            Some(id) => {
                let chain = self.chain_to(id);
                (Order::restore(beginning.options, beginning.prepare, &chain).unwrap(), id.place.clone())
            }
        };
        self.stage = Stage::beside(order, &self.stage.rows);
        self.chains += 1;
        self.log = CutLog::new(format!("chain-{}", self.chains), place.clone());
        self.ends = vec![place.clone()];
        place
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_released_where_is_what_the_book_says(inputs in inputs(), options in within_bounds()) {
        let (arrivals, naive, releases) = arrivals(&inputs);
        let mut stage = Stage::new(options.clone());
        for arrival in &arrivals {
            stage.arrive(arrival);
        }
        prop_assert_eq!(stage.releases(), releases);
        prop_assert_eq!(Naive::of(&stage.order, &STREAMS), naive.clone());
        let gaps = stage.order.gaps().into_iter().map(|gap| {
            (gap.stream.to_string(), gap.first_missing.0, gap.last_missing.0, gap.waiting)
        });
        let expected = naive.early.iter().map(|(stream, early)| {
            (stream.clone(), naive.head(stream) + 1, early.first().unwrap() - 1, early.len())
        });
        prop_assert_eq!(gaps.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
        let weight: usize = stage.order.early.iter().map(Waiting::size_in_bytes).sum();
        prop_assert_eq!(stage.order.early_bytes(), weight);
        prop_assert!(weight <= options.max_early_bytes);
    }

    #[test]
    fn crashes_and_restores_at_any_cut_change_neither_releases_nor_places_nor_state(
        inputs in inputs(),
        acts in acts(),
        options in within_bounds(),
    ) {
        let (arrivals, naive, expected) = arrivals(&inputs);
        let mut reader = Reader::new(Order::new(options.clone(), as_it_is()));
        let mut began = Place::BEGINNING;
        let (mut next, mut acts) = (0, acts.into_iter());
        while let Some(arrival) = arrivals.get(next) {
            reader.stage.arrive(arrival);
            next += 1;
            match acts.next().unwrap_or(Act::Nothing) {
                Act::Nothing => {}
                Act::EndBatch => reader.end_batch(arrival.end()),
                Act::Cut(at, is_saved) => drop(reader.cut(&at, is_saved)),
                Act::Forget(at) => reader.forget(&at),
                Act::Crash(at) => {
                    let behind = |place: &Place| *place > began && *place <= arrival.end();
                    let before: Releases = expected.iter().filter(|(place, ..)| behind(place)).cloned().collect();
                    prop_assert_eq!(reader.stage.releases(), before);
                    began = reader.crash(&at, Order::new(options.clone(), as_it_is()));
                    next = arrivals.iter().take_while(|arrival| arrival.end() <= began).count();
                }
            }
        }
        let after: Releases = expected.iter().filter(|(place, ..)| *place > began).cloned().collect();
        prop_assert_eq!(reader.stage.releases(), after);
        prop_assert_eq!(Naive::of(&reader.stage.order, &STREAMS), naive);
    }

    #[test]
    fn where_gaps_are_allowed_sequences_rise_and_nothing_waits(inputs in inputs()) {
        let mut stage = Stage::new(OrderOptions { gaps: Gaps::Allow, ..options() });
        let mut heads = BTreeMap::new();
        let mut expected = Releases::new();
        for (position, input) in (1..).zip(&inputs) {
            let Input::Record(stream, sequence) = *input else { continue };
            stage.record(position, event(STREAMS[stream], sequence));
            let head = heads.entry(stream).or_insert(0);
            if sequence > *head {
                *head = sequence;
                expected.push((Place::new(Position::new(position), 0, 0), STREAMS[stream].into(), sequence));
            }
        }
        prop_assert_eq!(stage.releases(), expected);
        prop_assert!(!stage.order.has_gaps());
    }
}
