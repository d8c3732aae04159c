//! One `global` document of which an event cannot be taken: merges that have not read the same, and redrives that go by
//! what the guard says is parked.
//!
//! A merge takes as many of the events that it has read for due as it likes: when its watermark moves makes an event
//! late, and nothing else. The workers run the code that cannot take the event to the end; a redrive runs the mended
//! one. Each request is done at once, or arrives at any time after its sender gave it up.

mod durable;
mod merging;
mod redriving;

use std::collections::BTreeSet;

use stateright::{Model, Property};

use self::{
    durable::{Durable, Request, SmallGuard, Stored, judge, stands},
    merging::Worker,
    redriving::{Redrive, Step},
};
use crate::{checking::Found, store::SHARDS};

pub use durable::{Event, Events};

#[derive(Debug)]
pub struct OrderedParking {
    pub events: Events,
    /// The event that no worker can take.
    pub poison: Event,
    /// Two at most.
    pub workers: usize,
    /// One of them runs the mended code, too.
    pub mended: bool,
    /// A worker keeps what it knows of the document when nothing of it is left to be done.
    pub caches: bool,
    pub redrives: usize,
    /// How many rows a redrive lists at once.
    pub page: usize,
    /// How often a worker begins anew, at the checkpoints.
    pub crashes: u8,
    /// How often a worker begins one shard again, at its checkpoint.
    pub begins: u8,
    /// How many requests arrive after their sender gave them up.
    pub faults: u8,
    /// How many marks the document gets at most: redrives and workers could go on for ever.
    pub marks: u8,
    pub wrong: &'static [Wrong],
    /// Whether everything is redriven when faults stop.
    pub found: Found<(Durable, BTreeSet<Request>)>,
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// An event counts as settled once it is in the lot.
    SettledBeforeTheReach,
    /// A redrive takes rows that the guard does not say are parked.
    TakenBehindTheReach,
    /// A redrive applies rows that were not read by whoever moved the reach over them.
    OvertakenApplied,
    /// A redrive does not ask whether an event is on record as late.
    RecordNotAsked,
    /// A redrive asks that before it reads the document.
    RecordAskedFirst,
    /// With the mark the reach is taken off, and the document does not take it over.
    ReachForgotten,
    /// Live events are judged by what the document has.
    JudgedByTheDocument,
    /// A merge that has read less than the guard says does not wait.
    WrittenBehindTheGuard,
    ReachMovedWithoutCondition,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    durable: Durable,
    workers: [Worker; 2],
    redrives: Vec<Redrive>,
    /// What nobody waits for.
    under_way: BTreeSet<Request>,
    crashes: u8,
    begins: u8,
    faults: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Crash { worker: usize },
    Begin { worker: usize, shard: usize },
    Read { worker: usize, shard: usize },
    Load { worker: usize },
    Work { worker: usize, due: usize },
    WorkAndGiveUp { worker: usize, due: usize },
    Checkpoint { worker: usize, shard: usize },
    Redrive { redrive: usize },
    RedriveAndGiveUp { redrive: usize },
    Forget { redrive: usize },
    Arrive { request: Request },
}

impl State {
    /// Each write raises the revision, so what was read and is not stored any more never comes back. Which of the old
    /// revisions it had is forgotten, and so is what is under way and does nothing.
    fn forget_history(&mut self) {
        let State { durable, workers, redrives, under_way, .. } = self;
        under_way.retain(|request| !durable.is_spent(request));
        let Some(stored) = &mut durable.stored else { return };
        let is = stored.guard;
        stored.guard.revision = 1;
        let known = workers.iter_mut().filter_map(|worker| worker.cache.as_mut()?.as_mut());
        for base in known.chain(redrives.iter_mut().filter_map(Redrive::base)) {
            base.guard.revision = u8::from(base.guard == is);
        }
        *under_way = std::mem::take(under_way).into_iter().map(Request::of_first_revision).collect();
    }
}

impl OrderedParking {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong.contains(&wrong)
    }

    /// The document with its mark taken off.
    fn cleared(&self, base: &Stored, read: &[u8; SHARDS]) -> Stored {
        let forgotten = SmallGuard { parked: None, ..base.guard };
        let guard = if self.is(Wrong::ReachForgotten) { forgotten } else { base.guard };
        let base = Stored { guard, ..base.clone() };
        let mut judge = judge(Some(&base));
        judge.clear_mark();
        Stored::of(Some(&base), judge, read, &[])
    }

    fn work(&self, state: &mut State, by: usize, due: usize, is_given_up: bool) {
        let worker = &mut state.workers[by];
        let Some((request, taken)) = worker.turn(self, due) else { return };
        if is_given_up {
            worker.unheard(&request);
            state.under_way.insert(request);
            state.faults += 1;
        } else {
            let is_done = state.durable.take(&request);
            worker.answered((&request, &taken), is_done, &state.durable);
        }
    }

    fn redrive(&self, state: &mut State, index: usize, is_given_up: bool) {
        state.redrives[index] = match state.redrives[index].step(self, &state.durable) {
            Step::Ask(request, ..) if is_given_up => {
                state.under_way.insert(request);
                state.faults += 1;
                Redrive::AtRest
            }
            Step::Ask(request, done, refused) => {
                if state.durable.take(&request) {
                    done
                } else {
                    refused
                }
            }
            Step::To(redrive) => redrive,
        };
    }

    /// Whether everything is redriven when faults stop.
    fn is_redriven(&self, state: &State) -> bool {
        let known = (state.durable.clone(), state.under_way.clone());
        self.found.or_find(known, |(durable, under_way)| self.has_all(&self.after_faults(durable, under_way)))
    }

    /// Faults stop: what was delayed arrives, a worker begins at the checkpoints and parks what it cannot take, then
    /// what waits is redriven.
    fn after_faults(&self, mut durable: Durable, under_way: BTreeSet<Request>) -> Durable {
        for request in under_way {
            durable.take(&request);
        }
        let mut state = State { durable, redrives: vec![Redrive::AtRest], ..self.init() };
        state.workers[0].crash(&state.durable);
        for shard in 0..SHARDS {
            while usize::from(state.workers[0].read[shard]) < self.events[shard].len() {
                state.workers[0].read(self, shard);
            }
        }
        for _ in 0..16 {
            state.workers[0].cache = Some(state.durable.stored.clone());
            state.workers[0].settle_covered(self);
            self.work(&mut state, 0, usize::MAX, false);
        }
        state.workers[0].settle_covered(self);
        for shard in 0..SHARDS {
            let settled = state.workers[0].settled(self, shard);
            state.durable.checkpoints[shard] = state.durable.checkpoints[shard].max(settled);
        }
        (0..48).for_each(|_| self.redrive(&mut state, 0, false));
        state.durable
    }

    fn has_all(&self, durable: &Durable) -> bool {
        let is_unmarked = durable.stored.as_ref().is_none_or(|stored| stored.mark().is_none());
        let applied = durable.stored.iter().flat_map(|stored| stored.applied.iter().copied());
        let there: Vec<_> = applied.chain(durable.late.iter().copied()).collect();
        let is_there = |event: &Event| there.iter().filter(|found| *found == event).count() == 1;
        let has_ended = |shard: usize| usize::from(durable.checkpoints[shard]) == self.events[shard].len();
        let is_over = durable.lot.is_empty() && is_unmarked && (0..SHARDS).all(has_ended);
        is_over && self.events.iter().flat_map(|events| events.iter()).all(is_there)
    }

    /// Whether what a checkpoint is past is in the document, on record, or in the lot.
    fn is_kept(&self, durable: &Durable) -> bool {
        let past = |event: &Event| {
            let (shard, at) = stands(&self.events, *event);
            at <= durable.checkpoints[shard]
        };
        let is_kept = |event: &Event| {
            let is_applied = durable.stored.as_ref().is_some_and(|stored| stored.applied.contains(event));
            is_applied || durable.late.contains(event) || durable.lot.contains(event)
        };
        self.events.iter().flat_map(|events| events.iter()).filter(|event| past(event)).all(is_kept)
    }

    fn init(&self) -> State {
        State {
            durable: Durable::default(),
            workers: [Worker::new(false), Worker::new(self.mended)],
            redrives: vec![Redrive::AtRest; self.redrives],
            under_way: BTreeSet::new(),
            crashes: 0,
            begins: 0,
            faults: 0,
        }
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let acting = &state.workers[worker];
        if state.crashes < self.crashes {
            actions.push(Action::Crash { worker });
        }
        for shard in 0..SHARDS {
            if state.begins < self.begins {
                actions.push(Action::Begin { worker, shard });
            }
            if usize::from(acting.read[shard]) < self.events[shard].len() {
                actions.push(Action::Read { worker, shard });
            }
            if acting.settled(self, shard) > state.durable.checkpoints[shard] {
                actions.push(Action::Checkpoint { worker, shard });
            }
        }
        if acting.pending.is_empty() {
            return;
        }
        actions.push(Action::Load { worker });
        for due in (1..=acting.pending.len()).filter(|_| acting.cache.is_some()) {
            actions.push(Action::Work { worker, due });
            if state.faults < self.faults {
                actions.push(Action::WorkAndGiveUp { worker, due });
            }
        }
    }
}

impl Model for OrderedParking {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.init()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..self.workers).for_each(|worker| self.actions_of(state, worker, actions));
        actions.extend(state.under_way.iter().map(|request| Action::Arrive { request: request.clone() }));
        for redrive in 0..self.redrives {
            actions.push(Action::Redrive { redrive });
            if state.redrives[redrive] == Redrive::AtRest {
                continue;
            }
            actions.push(Action::Forget { redrive });
            if state.faults < self.faults {
                actions.push(Action::RedriveAndGiveUp { redrive });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Crash { worker } => {
                state.crashes += 1;
                state.workers[worker].crash(&state.durable);
            }
            Action::Begin { worker, shard } => {
                state.begins += 1;
                state.workers[worker].begin(self, &state.durable, shard);
            }
            Action::Read { worker, shard } => state.workers[worker].read(self, shard),
            Action::Load { worker } => state.workers[worker].cache = Some(state.durable.stored.clone()),
            Action::Work { worker, due } => self.work(&mut state, worker, due, false),
            Action::WorkAndGiveUp { worker, due } => self.work(&mut state, worker, due, true),
            Action::Checkpoint { worker, shard } => {
                state.durable.checkpoints[shard] = state.workers[worker].settled(self, shard);
            }
            Action::Redrive { redrive } => self.redrive(&mut state, redrive, false),
            Action::RedriveAndGiveUp { redrive } => self.redrive(&mut state, redrive, true),
            Action::Forget { redrive } => state.redrives[redrive] = Redrive::AtRest,
            Action::Arrive { request } => {
                state.under_way.remove(&request);
                state.durable.take(&request);
            }
        }
        for (worker, before) in state.workers.iter_mut().zip(&last.workers) {
            if worker != before {
                worker.settle_covered(self);
            }
        }
        state.forget_history();
        state.redrives.sort();
        // Workers, too, are alike where both act.
        if self.workers == 2 {
            state.workers.sort();
        }
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let mark = state.durable.stored.as_ref().and_then(|stored| stored.guard.mark);
        mark.map_or(0, |(number, _)| number) <= self.marks
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the document has each event once, in their order", |_, state: &State| {
                let is_sorted = |stored: &Stored| stored.applied.is_sorted_by(|a, b| a < b);
                state.durable.stored.as_ref().is_none_or(is_sorted)
            }),
            Property::always("no event is in the document and on record as late", |_, state: &State| {
                let mut applied = state.durable.stored.iter().flat_map(|stored| stored.applied.iter());
                !applied.any(|event| state.durable.late.contains(event))
            }),
            Property::always(
                "a checkpoint is not ahead of the document, the lot and the record",
                |model: &Self, state: &State| model.is_kept(&state.durable),
            ),
            // What a wrong rule does to a guard is not asked, but what comes of that.
            Property::always("a guard only moves on", |model: &Self, state: &State| {
                !state.durable.goes_back || !model.wrong.is_empty()
            }),
            Property::always("when faults stop, everything is redriven", |model: &Self, state| {
                model.is_redriven(state)
            }),
            Property::sometimes("everything was redriven", |model: &Self, state: &State| {
                model.has_all(&state.durable) && state.durable.closed > 0
            }),
            Property::sometimes("an event is late", |_, state: &State| !state.durable.late.is_empty()),
        ]
    }
}
