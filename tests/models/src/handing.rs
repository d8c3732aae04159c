//! A shard that is handed over: the old owner drains, checkpoints and passes on, the new one begins at the checkpoint.
//! Documents are written as in [`crate::writing`], and any worker may crash, be taken for dead, or wake up late.

use stateright::{Model, Property};

use crate::writing::{self, Writing};

/// The only shard.
const SHARD: usize = 0;

/// Two workers, one shard, and one lease that says who reads it.
#[derive(Debug, Clone)]
pub struct Handing {
    /// Without wins: who begins at the checkpoint is said by the lease.
    pub writing: Writing,
    /// How often the shard is handed over.
    pub offers: u8,
    /// How often a worker crashes, or its lease is taken while it lives.
    pub troubles: u8,
    pub wrong: Option<Wrong>,
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The lease is passed on when nothing more is read, settled or not.
    PassedOnBeforeSettled,
    /// The lease is passed on when all is settled, before the checkpoint says so.
    PassedOnBeforeCheckpoint,
    /// Who is offered the shard does not wait until it is passed on.
    BegunWhenOffered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    writing: writing::State,
    owner: Option<usize>,
    from: Option<usize>,
    stages: [Stage; 2],
    /// The last event that anybody has read.
    read: u8,
    /// An event was read again, though nothing had gone wrong.
    repeats: bool,
    offers: u8,
    troubles: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Away,
    Works,
    /// It settles what it has read, and reads nothing more.
    Drains,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Begin {
        worker: usize,
    },
    Offer {
        worker: usize,
    },
    Drain {
        worker: usize,
    },
    PassOn {
        worker: usize,
    },
    /// A lease has run out, as this worker believes.
    Take {
        worker: usize,
    },
    /// It notices that it has lost the lease.
    Leave {
        worker: usize,
    },
    Crash {
        worker: usize,
    },
    Write(writing::Action),
}

impl State {
    fn holder(&self) -> Option<usize> {
        self.from.or(self.owner)
    }

    fn is_troubled(&self) -> bool {
        self.troubles > 0 || self.writing.has_faults()
    }
}

impl Handing {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn may_begin(&self, state: &State, worker: usize) -> bool {
        let is_early = self.is(Wrong::BegunWhenOffered) && state.owner == Some(worker);
        state.stages[worker] == Stage::Away && (state.holder() == Some(worker) || is_early)
    }

    fn has_drained(&self, state: &State, worker: usize) -> bool {
        let is_settled = self.is(Wrong::PassedOnBeforeSettled) || state.writing.is_settled(worker);
        let is_saved = self.is(Wrong::PassedOnBeforeSettled)
            || self.is(Wrong::PassedOnBeforeCheckpoint)
            || state.writing.is_saved(worker, SHARD);
        is_settled && is_saved
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let stage = state.stages[worker];
        let holds = state.holder() == Some(worker);
        if self.may_begin(state, worker) {
            actions.push(Action::Begin { worker });
        }
        if stage == Stage::Works && holds && state.from.is_none() && state.offers < self.offers {
            actions.push(Action::Offer { worker });
        }
        if stage == Stage::Works && state.from == Some(worker) {
            actions.push(Action::Drain { worker });
        }
        if stage == Stage::Drains && state.from == Some(worker) && self.has_drained(state, worker) {
            actions.push(Action::PassOn { worker });
        }
        if stage != Stage::Away && !holds {
            actions.push(Action::Leave { worker });
        }
        let is_trouble_left = state.troubles < self.troubles;
        if state.holder().is_none() || (!holds && is_trouble_left) {
            actions.push(Action::Take { worker });
        }
        if stage != Stage::Away && is_trouble_left {
            actions.push(Action::Crash { worker });
        }
    }

    fn change(&self, state: &mut State, action: Action) {
        match action {
            Action::Begin { worker } => {
                state.stages[worker] = Stage::Works;
                self.writing.win(&mut state.writing, worker, SHARD);
            }
            Action::Offer { worker } => {
                state.offers += 1;
                (state.from, state.owner) = (Some(worker), Some(1 - worker));
            }
            Action::Drain { worker } => state.stages[worker] = Stage::Drains,
            Action::PassOn { worker } => {
                state.from = None;
                state.stages[worker] = Stage::Away;
            }
            Action::Take { worker } => {
                state.troubles += u8::from(state.holder().is_some());
                (state.from, state.owner) = (None, Some(worker));
            }
            Action::Leave { worker } => state.stages[worker] = Stage::Away,
            Action::Crash { worker } => {
                state.troubles += 1;
                state.stages[worker] = Stage::Away;
                state.writing.crash(worker);
                // Another life has another name: what it held runs out.
                if state.holder() == Some(worker) {
                    (state.from, state.owner) = (None, None);
                }
            }
            Action::Write(_) => {}
        }
    }
}

impl Model for Handing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let begin = |writing| State {
            writing,
            owner: Some(0),
            from: None,
            stages: [Stage::Works, Stage::Away],
            read: 0,
            repeats: false,
            offers: 0,
            troubles: 0,
        };
        self.writing.init_states().into_iter().map(begin).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..2).for_each(|worker| self.actions_of(state, worker, actions));
        let mut writes = Vec::new();
        self.writing.actions(&state.writing, &mut writes);
        let is_allowed = |action: &writing::Action| match action {
            writing::Action::Read { worker, .. } => state.stages[*worker] == Stage::Works,
            _ => true,
        };
        actions.extend(writes.into_iter().filter(is_allowed).map(Action::Write));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let Action::Write(write) = action else {
            self.change(&mut state, action);
            return Some(state);
        };
        let reader = match write {
            writing::Action::Read { worker, .. } => Some(worker),
            _ => None,
        };
        state.writing = self.writing.next_state(&last.writing, write)?;
        if let Some(reader) = reader {
            let read = state.writing.read(reader, SHARD);
            state.repeats |= read <= state.read && !state.is_troubled();
            state.read = state.read.max(read);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "the document is a fold of the first events, in order, each once",
                |_, state: &State| state.writing.is_fold(),
            ),
            Property::always("a checkpoint is not ahead of the document", |_, state: &State| {
                state.writing.is_behind_document()
            }),
            Property::always(
                "a hand-over repeats nothing where nothing has gone wrong",
                |_, state: &State| !state.repeats,
            ),
            Property::always("when faults stop, everything arrives", |model: &Self, state: &State| {
                model.writing.arrives(&state.writing)
            }),
            Property::sometimes("the second has settled the last event", |model: &Self, state: &State| {
                state.stages == [Stage::Away, Stage::Works]
                    && !state.is_troubled()
                    && model.writing.has_all(&state.writing)
            }),
        ]
    }
}
