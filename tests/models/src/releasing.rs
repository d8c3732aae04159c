//! Two readers of shards that agree by journals: what they release, and where. One of them may be a zombie of the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use foldstream_model::{Place, Position};
use foldstream_runtime::journal::Wish;
use stateright::{Model, Property};

use crate::shards::{
    Nth, Run, Shard, SmallEntry, SmallJournal, Step, WrongOrder, entry_of, hash_key, run, small_entry,
};

/// Two readers, each of one shard at a time.
pub struct Releasing {
    shards: Vec<Shard>,
    /// How often a reader begins a shard anew.
    restarts: u8,
    /// How many puts of a journal are given up that are still under way, or lose their answer.
    faults: u8,
    /// An operator gives up what is missing of this stream up to a sequence, once.
    gives_up: Option<Nth>,
    wrong: Option<Wrong>,
    known: Mutex<BTreeMap<Known, Arc<Run>>>,
}

type Known = (usize, Vec<Step>, Vec<Option<Vec<Step>>>);

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A journal is put whatever is stored.
    NoCompareAndSet,
    ReleasedBeyondTheHorizon,
    /// An entry stands a record before the horizon that it was appended at.
    EntryBeforeTheHorizon,
    /// A released event stands where its own record does.
    OwnPlace,
    /// A merge takes the order state of its last parent.
    LastParentsHead,
    /// Both children of a split inherit an early event.
    EarlyToBothChildren,
    /// Neither does.
    EarlyToNoChild,
    /// A merge takes the early events of its last parent alone.
    EarlyOfTheLastParent,
    /// What is missing is given up in a child that does not take its stream.
    GivenUpAnywhere,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    journals: Vec<SmallJournal>,
    /// By what steps each shard ended.
    finals: Vec<Option<Vec<Step>>>,
    under_way: BTreeSet<Put>,
    readers: [Reader; 2],
    restarts: u8,
    faults: u8,
    has_given_up: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Reader {
    shard: usize,
    steps: Vec<Step>,
    view: SmallJournal,
    awaits: Option<Put>,
}

/// A journal on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Put {
    by: usize,
    shard: usize,
    expects: u64,
    journal: SmallJournal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Begin { reader: usize, shard: usize },
    Step { reader: usize, step: Step },
    Send(Put),
    Arrive { put: Put, is_answered: bool },
    ReadBack { reader: usize },
    End { reader: usize },
    GiveUp { shard: usize },
}

impl Reader {
    fn read(&self) -> u64 {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Record(position) => *position,
                Step::Entry { .. } => 0,
            })
            .max()
            .unwrap_or(0)
    }

    fn place(&self) -> Place {
        self.steps.last().map_or(Place::BEGINNING, Step::place)
    }
}

impl Releasing {
    pub fn new(shards: Vec<Shard>, wrong: Option<Wrong>) -> Self {
        Self { shards, restarts: 1, faults: 1, gives_up: None, wrong, known: Mutex::default() }
    }

    #[must_use]
    pub fn without_faults(self) -> Self {
        Self { restarts: 0, faults: 0, ..self }
    }

    #[must_use]
    pub fn giving_up(self, nth: Nth) -> Self {
        Self { gives_up: Some(nth), ..self }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn run(&self, shard: usize, steps: &[Step], finals: &[Option<Vec<Step>>]) -> Arc<Run> {
        // Only what came before can matter.
        let before: Vec<_> = finals.iter().take(shard).cloned().collect();
        let mut known = self.known.lock().expect("nobody panics while it is held");
        let wrong = WrongOrder {
            last_parents_head: self.is(Wrong::LastParentsHead),
            early_to_both_children: self.is(Wrong::EarlyToBothChildren),
            early_to_no_child: self.is(Wrong::EarlyToNoChild),
            early_of_the_last_parent: self.is(Wrong::EarlyOfTheLastParent),
            own_place: self.is(Wrong::OwnPlace),
        };
        let of = known.entry((shard, steps.to_vec(), before));
        of.or_insert_with(|| Arc::new(run(&self.shards, shard, steps, finals, wrong))).clone()
    }

    fn has_children(&self, shard: usize) -> bool {
        self.shards.iter().any(|other| other.parents.contains(&shard))
    }

    /// What takes effect next, entries before records.
    fn next_step(&self, reader: &Reader) -> Option<Step> {
        let view = reader.view.view();
        let (place, next) = (reader.place(), reader.read() + 1);
        let record = Position::new(next.into());
        let is_record_there = next <= self.shards[reader.shard].records.len() as u64;
        let may_release =
            is_record_there && (self.is(Wrong::ReleasedBeyondTheHorizon) || view.may_release(&record));
        let effective = match may_release {
            true => view.entries_before(&place, &record).next(),
            false => view.entries_after(&place).next(),
        };
        let entry = effective.map(|effective| Step::Entry {
            after: effective.position.as_u64().unwrap_or(0),
            number: effective.number,
            entry: small_entry(effective.entry),
        });
        entry.or(may_release.then_some(Step::Record(next)))
    }

    fn wishes(&self, reader: &Reader, finals: &[Option<Vec<Step>>]) -> Vec<Wish> {
        let (read, last) = (reader.read(), self.shards[reader.shard].records.len() as u64);
        let mut wishes = Vec::new();
        if read < last {
            wishes.push(Wish::Raise(Position::new((read + 1).into())));
        }
        let gaps = &self.run(reader.shard, &reader.steps, finals).gaps;
        for gap in gaps {
            wishes.push(Wish::Append { entry: entry_of(*gap), read: Position::new(read.into()) });
        }
        // Without children, nobody could decide later.
        if read == last && (gaps.is_empty() || self.has_children(reader.shard)) {
            wishes.push(Wish::Seal(Position::new(last.into())));
        }
        wishes
    }

    fn put(&self, by: usize, reader: &Reader, wish: &Wish) -> Option<Put> {
        let expects = reader.view.revision;
        let mut journal = match (reader.view.view().next(wish), wish) {
            (Ok(journal), _) => SmallJournal::of(&journal?, expects + 1),
            (Err(_), _) => return None,
        };
        if let (Wish::Append { read, .. }, true) = (wish, self.is(Wrong::EntryBeforeTheHorizon)) {
            let last = journal.entries.last_mut()?;
            last.0 = read.as_u64()?.saturating_sub(1);
        }
        journal.revision = expects + 1;
        Some(Put { by, shard: reader.shard, expects, journal })
    }

    fn is_at_end(&self, reader: &Reader) -> bool {
        reader.view.sealed
            && reader.read() == self.shards[reader.shard].records.len() as u64
            && self.next_step(reader).is_none()
    }

    /// What came of every reading and every ended shard.
    fn runs(&self, state: &State) -> Vec<(usize, Arc<Run>)> {
        let ended =
            state.finals.iter().enumerate().filter_map(|(shard, steps)| Some((shard, steps.as_ref()?)));
        let reading = state.readers.iter().map(|reader| (reader.shard, &reader.steps));
        let run = |(shard, steps): (usize, &Vec<Step>)| (shard, self.run(shard, steps, &state.finals));
        ended.chain(reading).map(run).collect()
    }

    /// Where each event was released.
    fn places(&self, state: &State) -> BTreeMap<Nth, BTreeSet<(usize, Place)>> {
        let mut places: BTreeMap<Nth, BTreeSet<_>> = BTreeMap::new();
        for (shard, run) in self.runs(state) {
            for (place, nth) in &run.released {
                places.entry(*nth).or_default().insert((shard, place.clone()));
            }
        }
        places
    }

    fn given_up(&self, state: &State) -> BTreeSet<Nth> {
        self.runs(state).iter().flat_map(|(_, run)| run.given_up.clone()).collect()
    }

    fn agree(&self, state: &State) -> bool {
        let [a, b] = &state.readers;
        if a.shard != b.shard {
            return true;
        }
        let until = a.place().min(b.place());
        let [a, b] = [a, b].map(|reader| self.run(reader.shard, &reader.steps, &state.finals));
        let up_to = |run: &Run| -> Vec<_> {
            run.released.iter().filter(|(place, _)| *place <= until).cloned().collect()
        };
        up_to(&a) == up_to(&b)
    }

    fn places_rise(&self, state: &State) -> bool {
        state.readers.iter().all(|reader| {
            let run = self.run(reader.shard, &reader.steps, &state.finals);
            run.released.windows(2).all(|pair| pair[0].0 < pair[1].0)
        })
    }

    fn nothing_is_lost(&self, state: &State) -> bool {
        let expected = self.shards.iter().flat_map(|shard| shard.records);
        let has_ended = state.finals.iter().all(Option::is_some);
        let (places, given_up) = (self.places(state), self.given_up(state));
        !has_ended || expected.into_iter().all(|nth| places.contains_key(nth) || given_up.contains(nth))
    }
}

impl Model for Releasing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            journals: vec![SmallJournal::default(); self.shards.len()],
            finals: vec![None; self.shards.len()],
            under_way: BTreeSet::new(),
            readers: Default::default(),
            restarts: 0,
            faults: 0,
            has_given_up: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (by, reader) in state.readers.iter().enumerate() {
            for (shard, next) in self.shards.iter().enumerate() {
                let is_open = next.parents.iter().all(|parent| state.finals[*parent].is_some());
                let is_new = shard > reader.shard && state.finals[shard].is_none();
                let is_restart =
                    shard == reader.shard && !reader.steps.is_empty() && state.restarts < self.restarts;
                if is_open && (is_new || is_restart) {
                    actions.push(Action::Begin { reader: by, shard });
                }
            }
            if let Some(step) = self.next_step(reader) {
                actions.push(Action::Step { reader: by, step });
            }
            if state.finals[reader.shard].is_none() && self.is_at_end(reader) {
                actions.push(Action::End { reader: by });
            }
            match &reader.awaits {
                None => {
                    let wishes = self.wishes(reader, &state.finals);
                    actions.extend(
                        wishes.iter().filter_map(|wish| self.put(by, reader, wish)).map(Action::Send),
                    );
                }
                Some(put) if !state.under_way.contains(put) || state.faults < self.faults => {
                    actions.push(Action::ReadBack { reader: by });
                }
                Some(_) => {}
            }
        }
        if let Some((stream, _)) = self.gives_up.filter(|_| !state.has_given_up) {
            let takes = |shard: &usize| {
                let journal = &state.journals[*shard];
                let is_its = self.shards[*shard].range.contains(hash_key(stream));
                journal.revision > 0 && !journal.sealed && (is_its || self.is(Wrong::GivenUpAnywhere))
            };
            actions.extend((0..self.shards.len()).filter(takes).map(|shard| Action::GiveUp { shard }));
        }
        for put in &state.under_way {
            let is_answered = state.readers[put.by].awaits.as_ref() == Some(put);
            actions.push(Action::Arrive { put: put.clone(), is_answered });
            if is_answered && state.faults < self.faults {
                actions.push(Action::Arrive { put: put.clone(), is_answered: false });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin { reader, shard } => {
                state.restarts += u8::from(last.readers[reader].shard == shard);
                let view = state.journals[shard].clone();
                state.readers[reader] = Reader { shard, view, ..Reader::default() };
            }
            Action::Step { reader, step } => state.readers[reader].steps.push(step),
            Action::Send(put) => {
                state.readers[put.by].awaits = Some(put.clone());
                state.under_way.insert(put);
            }
            Action::Arrive { put, is_answered } => {
                let stored = &mut state.journals[put.shard];
                if stored.revision == put.expects || self.is(Wrong::NoCompareAndSet) {
                    *stored = put.journal.clone();
                }
                let reader = &mut state.readers[put.by];
                if is_answered {
                    reader.awaits = None;
                    reader.view = stored.clone();
                } else {
                    state.faults += u8::from(reader.awaits.as_ref() == Some(&put));
                }
                state.under_way.remove(&put);
            }
            Action::ReadBack { reader } => {
                let reader = &mut state.readers[reader];
                let put = reader.awaits.take()?;
                state.faults += u8::from(state.under_way.contains(&put));
                reader.view = state.journals[reader.shard].clone();
            }
            Action::GiveUp { shard } => {
                let (stream, up_to) = self.gives_up?;
                let journal = &mut state.journals[shard];
                let wish = Wish::Decide(entry_of(SmallEntry::GiveUp(stream, up_to)));
                *journal = SmallJournal::of(&journal.view().next(&wish).ok()??, journal.revision + 1);
                state.has_given_up = true;
            }
            Action::End { reader } => {
                let reader = &state.readers[reader];
                state.finals[reader.shard] = Some(reader.steps.clone());
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("readers release the same events at the same places", Self::agree),
            Property::always("no event is released at two places", |model: &Self, state| {
                model.places(state).values().all(|places| places.len() == 1)
            }),
            Property::always("what is given up is released nowhere", |model: &Self, state| {
                let places = model.places(state);
                !model.given_up(state).iter().any(|nth| places.contains_key(nth))
            }),
            Property::always("an entry fits where it takes effect", |model: &Self, state: &State| {
                let refused =
                    |reader: &Reader| model.run(reader.shard, &reader.steps, &state.finals).has_refused;
                !state.readers.iter().any(refused)
            }),
            Property::always("places rise", Self::places_rise),
            Property::always("no event is lost", Self::nothing_is_lost),
            Property::sometimes("all shards end", |_, state: &State| {
                state.finals.iter().all(Option::is_some)
            }),
        ]
    }
}
