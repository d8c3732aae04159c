//! One document and the workers that write it: caches, delayed, doubled and lost writes, lost answers, redelivery from an
//! older checkpoint, shards handed to and fro, and zombies, which are workers like any other.

use std::collections::BTreeSet;

use foldstream_model::Ordering;
use stateright::{Model, Property};

use crate::store::{Event, SHARDS, Stored, fold};

/// Two workers that may both believe to own any shard, and act in any order.
#[derive(Debug, Clone)]
pub struct Writing {
    pub ordering: Ordering,
    /// How many events each shard has.
    pub events: [u8; SHARDS],
    /// How often a shard is won, each time with all before it forgotten.
    pub wins: u8,
    /// How many answers are lost, writes doubled, and writes given up that are still under way.
    pub faults: u8,
    pub wrong: &'static [Wrong],
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A write is taken whatever is stored.
    NoCondition,
    /// A write is taken iff its guard is greater than the stored one.
    GreaterInsteadOfEqual,
    /// A worker that wins a shard goes on with the documents that it knew before.
    CacheKept,
    /// A write of unknown outcome is believed to be done.
    NoReadBack,
    ConflictTakenForSuccess,
    CheckpointOnRead,
    /// The entry of a closed shard goes out of the guard, and nothing is left of it.
    ClosedEntryDropped,
    /// A shard counts as closed once it was read to its end, settled or not.
    ClosedWhenRead,
    /// All shards below one that is closed count as closed.
    AllBelowClosed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    stored: Option<Stored>,
    checkpoints: [u8; SHARDS],
    under_way: BTreeSet<Write>,
    workers: [Worker; 2],
    wins: u8,
    faults: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// Up to where each shard was read.
    read: [u8; SHARDS],
    /// What was read and is not settled.
    pending: Vec<Event>,
    /// What the document was when it was last seen; the inner none is a document that is not there.
    cache: Option<Option<Stored>>,
    /// The write whose answer is awaited, and how many of the pending events are in it.
    flight: Option<(Write, usize)>,
    /// The shards that it knows to be closed.
    closed: [bool; SHARDS],
}

/// A write on its way. Nobody knows when it arrives, how often, or whether ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write {
    by: usize,
    base: Option<Stored>,
    put: Stored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Win { worker: usize, shard: usize },
    Read { worker: usize, shard: usize },
    Load { worker: usize },
    Write { worker: usize },
    Arrive { write: Write, is_answered: bool, comes_again: bool },
    GiveUpWaiting { worker: usize },
    Checkpoint { worker: usize, shard: usize },
    LearnThatClosed { worker: usize, shard: usize },
}

impl Writing {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong.contains(&wrong)
    }

    pub(crate) fn win(&self, state: &mut State, worker: usize, shard: usize) {
        let won = &mut state.workers[worker];
        won.read[shard] = state.checkpoints[shard];
        won.pending.retain(|event| event.0 != shard);
        won.flight = None;
        if !self.is(Wrong::CacheKept) {
            won.cache = None;
        }
    }

    /// Judges what is pending; sends a write of what is to be applied.
    fn write(&self, state: &mut State, by: usize) {
        let worker = &mut state.workers[by];
        if worker.pending.is_empty() {
            return;
        }
        let Some(base) = worker.cache.clone() else { return };
        let folded = fold(self.ordering, base.as_ref(), &worker.pending, self.closed_for(worker));
        worker.pending.drain(..folded.covered);
        let Some(mut put) = folded.put else { return };
        if self.is(Wrong::ClosedEntryDropped) {
            for shard in (0..SHARDS).filter(|shard| worker.closed[*shard]) {
                put.guard.places[shard] = 0;
            }
        }
        let write = Write { by, base, put };
        worker.flight = Some((write.clone(), worker.pending.len()));
        state.under_way.insert(write);
    }

    fn closed_for(&self, worker: &Worker) -> [bool; SHARDS] {
        if self.is(Wrong::ClosedEntryDropped) {
            return [false; SHARDS];
        }
        let mut closed = worker.closed;
        if self.is(Wrong::AllBelowClosed) && closed[1] {
            closed[0] = true;
        }
        closed
    }

    fn arrive(&self, state: &mut State, write: &Write, is_answered: bool, comes_again: bool) {
        if !comes_again {
            state.under_way.remove(write);
        }
        let is_done = self.is_taken(state.stored.as_ref(), write);
        if is_done {
            state.stored = Some(write.put.clone());
        }
        let worker = &mut state.workers[write.by];
        if is_answered {
            if is_done || self.is(Wrong::ConflictTakenForSuccess) {
                settle(worker);
            } else {
                worker.flight = None;
                worker.cache = Some(state.stored.clone());
            }
        }
    }

    fn is_taken(&self, stored: Option<&Stored>, write: &Write) -> bool {
        if self.is(Wrong::NoCondition) {
            return true;
        }
        let small = stored.map(|stored| stored.guard);
        match self.is(Wrong::GreaterInsteadOfEqual) {
            true => small.is_none_or(|small| {
                (write.put.guard.sequence, write.put.guard.revision) > (small.sequence, small.revision)
            }),
            false => small == write.base.as_ref().map(|base| base.guard),
        }
    }

    fn settled(&self, worker: &Worker, shard: usize) -> u8 {
        let of_shard = worker.pending.iter().filter(|event| event.0 == shard);
        match of_shard.map(|event| event.1 - 1).min() {
            Some(settled) if !self.is(Wrong::CheckpointOnRead) => settled,
            _ => worker.read[shard],
        }
    }

    fn may_learn_that_closed(&self, state: &State, worker: usize, shard: usize) -> bool {
        let is_read =
            self.is(Wrong::ClosedWhenRead) && state.workers[worker].read[shard] == self.events[shard];
        let is_settled = state.checkpoints[shard] == self.events[shard];
        self.ordering == Ordering::Commutative
            && !state.workers[worker].closed[shard]
            && (is_settled || is_read)
    }

    /// Faults stop: one worker wins all shards, nothing is lost any more, and at last all that was delayed arrives.
    fn after_faults(&self, state: &State) -> State {
        let mut state = state.clone();
        (0..SHARDS).for_each(|shard| self.win(&mut state, 0, shard));
        // One round is in vain where the cache is old, one finds everything covered.
        for _ in 0..3 {
            for shard in 0..SHARDS {
                while state.workers[0].read[shard] < self.events[shard] {
                    state.workers[0].read[shard] += 1;
                    let event = (shard, state.workers[0].read[shard]);
                    state.workers[0].pending.push(event);
                }
            }
            if state.workers[0].cache.is_none() {
                state.workers[0].cache = Some(state.stored.clone());
            }
            self.write(&mut state, 0);
            if let Some((write, _)) = state.workers[0].flight.clone() {
                self.arrive(&mut state, &write, true, false);
            }
            for shard in 0..SHARDS {
                state.checkpoints[shard] =
                    state.checkpoints[shard].max(self.settled(&state.workers[0], shard));
            }
        }
        for write in state.under_way.clone() {
            self.arrive(&mut state, &write, false, false);
        }
        state
    }

    /// Whether everything arrives when faults stop.
    pub(crate) fn arrives(&self, state: &State) -> bool {
        self.has_all(&self.after_faults(state))
    }

    pub(crate) fn has_all(&self, state: &State) -> bool {
        let applied = |stored: &Stored| {
            stored.is_fold()
                && (0..SHARDS).all(|shard| stored.applied[shard].len() == usize::from(self.events[shard]))
        };
        state.stored.as_ref().is_some_and(applied) && state.checkpoints == self.events
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let Worker { read, pending, cache, flight, .. } = &state.workers[worker];
        for shard in (0..SHARDS).filter(|shard| self.events[*shard] > 0) {
            if state.wins < self.wins {
                actions.push(Action::Win { worker, shard });
            }
            if read[shard] < self.events[shard] {
                actions.push(Action::Read { worker, shard });
            }
            if self.settled(&state.workers[worker], shard) > state.checkpoints[shard] {
                actions.push(Action::Checkpoint { worker, shard });
            }
            if self.may_learn_that_closed(state, worker, shard) {
                actions.push(Action::LearnThatClosed { worker, shard });
            }
        }
        match flight {
            None if pending.is_empty() => {}
            None if cache.is_none() => actions.push(Action::Load { worker }),
            None => actions.push(Action::Write { worker }),
            Some((write, _)) if !state.under_way.contains(write) || state.faults < self.faults => {
                actions.push(Action::GiveUpWaiting { worker });
            }
            Some(_) => {}
        }
    }
}

impl State {
    pub(crate) fn is_fold(&self) -> bool {
        self.stored.as_ref().is_none_or(Stored::is_fold)
    }

    /// Whether no checkpoint is ahead of the document.
    pub(crate) fn is_behind_document(&self) -> bool {
        let applied = |shard: usize| self.stored.as_ref().map_or(0, |stored| stored.applied[shard].len());
        (0..SHARDS).all(|shard| usize::from(self.checkpoints[shard]) <= applied(shard))
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.faults > 0
    }

    /// Up to where a worker has read a shard.
    pub(crate) fn read(&self, worker: usize, shard: usize) -> u8 {
        self.workers[worker].read[shard]
    }

    /// Whether all that a worker has read is settled.
    pub(crate) fn is_settled(&self, worker: usize) -> bool {
        self.workers[worker].pending.is_empty()
    }

    /// Whether the checkpoint says all that a worker has read.
    pub(crate) fn is_saved(&self, worker: usize, shard: usize) -> bool {
        self.checkpoints[shard] >= self.read(worker, shard)
    }

    /// All that a worker knew is forgotten.
    pub(crate) fn crash(&mut self, worker: usize) {
        self.workers[worker] = Worker { read: self.checkpoints, ..Worker::default() };
    }
}

fn settle(worker: &mut Worker) {
    if let Some((write, taken)) = worker.flight.take() {
        worker.pending.drain(..taken);
        worker.cache = Some(Some(write.put));
    }
}

impl Model for Writing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: None,
            checkpoints: [0; SHARDS],
            under_way: BTreeSet::new(),
            workers: Default::default(),
            wins: 0,
            faults: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..2).for_each(|worker| self.actions_of(state, worker, actions));
        let is_fault_left = state.faults < self.faults;
        for write in &state.under_way {
            let is_awaited =
                state.workers[write.by].flight.as_ref().is_some_and(|(awaited, _)| awaited == write);
            let arrive =
                |is_answered, comes_again| Action::Arrive { write: write.clone(), is_answered, comes_again };
            actions.push(arrive(is_awaited, false));
            if is_fault_left {
                actions.push(arrive(is_awaited, true));
            }
            if is_fault_left && is_awaited {
                actions.push(arrive(false, false));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Win { worker, shard } => {
                state.wins += 1;
                self.win(&mut state, worker, shard);
            }
            Action::Read { worker, shard } => {
                let reader = &mut state.workers[worker];
                reader.read[shard] += 1;
                reader.pending.push((shard, reader.read[shard]));
            }
            Action::Load { worker } => state.workers[worker].cache = Some(state.stored.clone()),
            Action::Write { worker } => self.write(&mut state, worker),
            Action::Arrive { write, is_answered, comes_again } => {
                let is_awaited =
                    state.workers[write.by].flight.as_ref().is_some_and(|(awaited, _)| *awaited == write);
                state.faults += u8::from(comes_again || is_awaited && !is_answered);
                self.arrive(&mut state, &write, is_answered, comes_again);
            }
            Action::GiveUpWaiting { worker } => {
                let waiting = &mut state.workers[worker];
                let is_under_way =
                    waiting.flight.as_ref().is_some_and(|(write, _)| state.under_way.contains(write));
                state.faults += u8::from(is_under_way);
                if self.is(Wrong::NoReadBack) {
                    settle(waiting);
                } else {
                    waiting.flight = None;
                    waiting.cache = None;
                }
            }
            Action::Checkpoint { worker, shard } => {
                state.checkpoints[shard] = self.settled(&state.workers[worker], shard);
            }
            Action::LearnThatClosed { worker, shard } => state.workers[worker].closed[shard] = true,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "the document is a fold of the first events, in order, each once",
                |_, state: &State| state.is_fold(),
            ),
            Property::always("a checkpoint is not ahead of the document", |_, state: &State| {
                state.is_behind_document()
            }),
            Property::always("when faults stop, everything arrives", |model: &Self, state| {
                model.arrives(state)
            }),
            Property::sometimes("everything has arrived", |model: &Self, state| model.has_all(state)),
        ]
    }
}
