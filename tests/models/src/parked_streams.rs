//! A stream of which events cannot be taken, the readers of the shards that it is in, and the operators who let it back.
//!
//! Any reader may be a zombie: it goes on by what it knew when it began, and by the definition that it began with. One that
//! never acts again has crashed.

use std::collections::BTreeSet;

use foldstream_runtime::journal::Wish;
use stateright::{Model, Property};

use self::reading::{Due, Line, wish};
use crate::{
    checking::Found,
    lot::{Durable, STREAM, SmallOrder},
    shards::{Nth, Shard, SmallEntry, entry_of, hash_key},
};

mod reading;

/// Two readers, each of one shard at a time.
pub struct ParkedStreams {
    shards: Vec<Shard>,
    bounds: Bounds,
    wrong: Option<Wrong>,
    /// Whether everything comes back when faults stop, by what is durable.
    found: Found<State>,
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How often a reader begins a shard, with all before it forgotten.
    pub begins: u8,
    /// How often an operator lets the stream come back.
    pub lets: u8,
    /// The event that may be left out with that.
    pub without: Option<u64>,
    /// How many appends to the lot are given up and arrive later.
    pub faults: u8,
    /// The events of the stream that the definition cannot take before it is mended.
    pub poison: &'static [u64],
    /// They are discarded, not parked.
    pub discards: bool,
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// An event counts as settled before it is durable that it waits.
    SettledBeforeItIsDurable,
    /// What waits is put into the lot before it is a row that the stream is parked.
    LotBeforeTheRow,
    /// Live events are taken while those are still listed that wait.
    LiveBeforeWaiting,
    /// What comes back stands where it stood before.
    OldPlace,
    /// Each child of a shard takes its parked streams over, and an operator may write to any.
    TakenByEveryChild,
    /// No child does.
    TakenByNoChild,
    /// What is in the lot comes back with each entry, whether the stream is parked there or not.
    LotAlone,
    /// Who begins before a stream was parked does not park it there.
    ParkedWhereSaved,
    /// What came back leaves the lot before the checkpoint is behind that.
    RemovedBeforeTheCheckpoint,
    /// Who lets a stream come back does not ask what others have decided there.
    NotLearnt,
    /// Where the stream came back is no row.
    ReturnNotDurable,
    /// What a definition says is put after another one was registered.
    JudgedByTheOlderDefinition,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    durable: Durable,
    /// The definition that is registered can take everything.
    is_mended: bool,
    readers: [Reader; 2],
    /// Appends on their way that nobody waits for.
    under_way: BTreeSet<(SmallOrder, u64)>,
    begins: u8,
    lets: u8,
    faults: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Reader {
    is_mended: bool,
    line: Option<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// By the definition that the process began with, or as a new process by the one that is registered.
    Begin {
        reader: usize,
        shard: u8,
        is_mended: bool,
    },
    /// Takes the next record or entry, or seals the shard.
    Take {
        reader: usize,
    },
    /// Does what is due first.
    Do {
        reader: usize,
    },
    GiveUp {
        reader: usize,
    },
    Arrive {
        order: SmallOrder,
        sequence: u64,
    },
    Write {
        reader: usize,
    },
    Save {
        reader: usize,
    },
    Remove {
        reader: usize,
    },
    Mend,
    LetBack {
        shard: u8,
        without: Option<u64>,
    },
}

impl ParkedStreams {
    pub fn new(shards: Vec<Shard>, bounds: Bounds, wrong: Option<Wrong>) -> Self {
        Self { shards, bounds, wrong, found: Found::default() }
    }

    /// The shard in whose journal an entry about this one is written now; none where that was not begun.
    fn open(&self, durable: &Durable, shard: u8) -> Vec<u8> {
        let journal = &durable.journals[usize::from(shard)];
        if journal.revision == 0 {
            return Vec::new();
        }
        if !journal.sealed {
            return vec![shard];
        }
        let takes = |child: &u8| {
            self.shard(*child).range.contains(hash_key(STREAM)) || self.is(Wrong::TakenByEveryChild)
        };
        self.children(shard).filter(takes).flat_map(|child| self.open(durable, child)).collect()
    }

    /// Where an operator may let the stream come back who has ever seen it parked.
    fn ways_back(&self, durable: &Durable) -> BTreeSet<u8> {
        durable.parked.values().flat_map(|parked| self.open(durable, parked.since.shard)).collect()
    }

    fn let_back(&self, state: &mut State, shard: u8, without: Option<u64>) {
        state.lets += 1;
        let entry = entry_of(SmallEntry::ReEnter(STREAM, state.lets, without));
        wish(&mut state.durable.journals[usize::from(shard)], &Wish::Decide(entry));
    }

    /// Whether everything comes back when faults stop, whoever read before.
    fn comes_back(&self, state: &State) -> bool {
        let state =
            State { is_mended: true, readers: Default::default(), begins: 0, faults: 0, ..state.clone() };
        self.found.or_find(state, |state| self.has_all(&self.after_faults(state)))
    }

    /// Faults stop: one mended reader reads all shards to their ends, an operator lets back what is parked, and at last
    /// all that was delayed arrives.
    fn after_faults(&self, mut state: State) -> State {
        let mut shards: Vec<u8> = (0..self.shards.len() as u8).collect();
        shards.retain(|shard| !state.durable.checkpoints[usize::from(*shard)].1);
        for shard in &shards {
            self.finish(&mut state, *shard);
        }
        if state.durable.parked.values().any(|parked| parked.until.is_none()) {
            let Some(shard) = self.ways_back(&state.durable).first().copied() else { return state };
            self.let_back(&mut state, shard, None);
            self.finish(&mut state, shard);
        }
        for (order, sequence) in std::mem::take(&mut state.under_way) {
            state.durable.append(order, sequence);
        }
        let shards: Vec<u8> =
            shards.into_iter().filter(|shard| self.children(*shard).next().is_none()).collect();
        for shard in shards {
            self.finish(&mut state, shard);
        }
        state
    }

    /// Reads a shard to its end, and saves that.
    fn finish(&self, state: &mut State, shard: u8) {
        self.begin(state, 0, shard, true);
        while let Some(line) = &state.readers[0].line {
            if !line.due.is_empty() {
                self.act(state, 0);
            } else if self.next(&state.durable, line).is_some() {
                self.take_next(state, 0);
            } else {
                break;
            }
        }
        while state.readers[0].line.as_ref().is_some_and(|line| !line.on_its_way.is_empty()) {
            self.write(state, 0);
        }
        self.save(state, 0);
        self.remove(state, 0);
    }

    fn write(&self, state: &mut State, by: usize) {
        if let Some(line) = &mut state.readers[by].line {
            let (_, order, nth) = line.on_its_way.remove(0);
            state.durable.document.take(&order, nth);
        }
    }

    fn remove(&self, state: &mut State, by: usize) {
        if let Some(line) = &mut state.readers[by].line {
            state.durable.lot.retain(|order, _| !line.leaving.contains(order));
            line.leaving.clear();
        }
    }

    /// The events of a stream that are not left out, in order.
    fn kept(&self, state: &State, stream: &'static str) -> impl Iterator<Item = Nth> {
        let of_stream = self.shards.iter().flat_map(|shard| shard.records).filter(move |nth| nth.0 == stream);
        let is_left_out = |nth: &Nth| nth.0 == STREAM && state.durable.left_out.contains(&nth.1);
        of_stream.copied().filter(move |nth| !is_left_out(nth))
    }

    fn is_fold(&self, state: &State) -> bool {
        ["s", "t"].into_iter().all(|stream| {
            let applied: Vec<Nth> =
                state.durable.document.applied.iter().filter(|nth| nth.0 == stream).copied().collect();
            self.kept(state, stream).take(applied.len()).eq(applied.iter().copied())
        })
    }

    fn has_all(&self, state: &State) -> bool {
        let Durable { document, parked, lot, .. } = &state.durable;
        let kept = self.kept(state, "s").chain(self.kept(state, "t")).count();
        let has_come_back = parked.values().all(|parked| parked.until.is_some());
        self.is_fold(state) && document.applied.len() == kept && has_come_back && lot.is_empty()
    }

    /// Whether everything up to the checkpoints is in the document, waits, or is left out.
    fn is_saved(&self, state: &State) -> bool {
        let Durable { document, lot, left_out, checkpoints, .. } = &state.durable;
        self.shards.iter().zip(checkpoints).all(|(shard, (at, _))| {
            shard.records.iter().take(at.0.into()).all(|nth| {
                let is_apart = lot.values().any(|sequence| *sequence == nth.1) || left_out.contains(&nth.1);
                document.applied.contains(nth) || nth.0 == STREAM && is_apart
            })
        })
    }

    fn actions_of(&self, state: &State, by: usize, actions: &mut Vec<Action>) {
        let reader = &state.readers[by];
        let is_open = |shard: &u8| {
            let mut parents = self.shard(*shard).parents.iter();
            parents.all(|parent| state.durable.checkpoints[*parent].1)
        };
        if state.begins < self.bounds.begins {
            for shard in (0..self.shards.len() as u8).filter(is_open) {
                let of_process = (reader.line.is_some() && reader.is_mended != state.is_mended)
                    .then_some(reader.is_mended);
                let begin = |is_mended| Action::Begin { reader: by, shard, is_mended };
                actions.extend(of_process.into_iter().chain([state.is_mended]).map(begin));
            }
        }
        let Some(line) = &reader.line else { return };
        let waits_for_nothing = line.due.is_empty() || self.is(Wrong::LiveBeforeWaiting);
        if waits_for_nothing && self.next(&state.durable, line).is_some() {
            actions.push(Action::Take { reader: by });
        }
        match line.due.front() {
            Some(Due::Append(..)) if state.faults < self.bounds.faults => {
                actions.extend([Action::Do { reader: by }, Action::GiveUp { reader: by }]);
            }
            Some(_) => actions.push(Action::Do { reader: by }),
            None => {}
        }
        if !line.on_its_way.is_empty() {
            actions.push(Action::Write { reader: by });
        }
        actions.push(Action::Save { reader: by });
        if !line.leaving.is_empty() {
            actions.push(Action::Remove { reader: by });
        }
    }
}

impl Model for ParkedStreams {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let number = self.shards.len();
        let durable = Durable {
            journals: vec![Default::default(); number],
            checkpoints: vec![Default::default(); number],
            ..Durable::default()
        };
        vec![State { durable, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..2).for_each(|by| self.actions_of(state, by, actions));
        for (order, sequence) in &state.under_way {
            actions.push(Action::Arrive { order: *order, sequence: *sequence });
        }
        if !state.is_mended {
            actions.push(Action::Mend);
        }
        if state.lets < self.bounds.lets {
            for shard in self.ways_back(&state.durable) {
                let withouts = [None, self.bounds.without]
                    .into_iter()
                    .take(1 + usize::from(self.bounds.without.is_some()));
                actions.extend(withouts.map(|without| Action::LetBack { shard, without }));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin { reader, shard, is_mended } => {
                state.begins += 1;
                self.begin(&mut state, reader, shard, is_mended);
            }
            Action::Take { reader } => self.take_next(&mut state, reader),
            Action::Do { reader } => self.act(&mut state, reader),
            Action::GiveUp { reader } => {
                let Some(Due::Append(order, sequence)) = state.readers[reader].line.as_ref()?.due.front()
                else {
                    return None;
                };
                state.under_way.insert((*order, *sequence));
                state.faults += 1;
            }
            Action::Arrive { order, sequence } => {
                state.under_way.remove(&(order, sequence));
                state.durable.append(order, sequence);
            }
            Action::Write { reader } => self.write(&mut state, reader),
            Action::Save { reader } => self.save(&mut state, reader),
            Action::Remove { reader } => self.remove(&mut state, reader),
            Action::Mend => state.is_mended = true,
            Action::LetBack { shard, without } => self.let_back(&mut state, shard, without),
        }
        // They are alike.
        state.readers.sort();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "the document has the first events of each stream that are not left out, in order, each once",
                Self::is_fold,
            ),
            Property::always("a checkpoint is not ahead of the document and what waits", Self::is_saved),
            Property::always("when faults stop, everything comes back", |model: &Self, state| {
                model.comes_back(state)
            }),
            Property::sometimes("everything came back, or is left out", |model: &Self, state: &State| {
                let Durable { parked, left_out, .. } = &state.durable;
                model.has_all(state) && !(parked.is_empty() && left_out.is_empty())
            }),
        ]
    }
}
