//! Leases: workers whose clocks run as they like, so that each judges at any moment that a lease has run out; writes that
//! arrive late, twice or never, and answers that are lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldstream_model::{Lease, LeaseKey, ShardId, WorkerId};
use foldstream_runtime::invariants;
use foldstream_runtime::leases::{Change, Holding, Leases, Offer};
use stateright::{Model, Property};

const LASTS: Duration = Duration::from_secs(4);
/// A list is asked for a little later than an answer came in.
const MOMENT: Duration = Duration::from_micros(1);
const NAMES: [&str; 2] = ["a", "b"];
/// In so many looks of the survivors everything finds its place.
const ROUNDS: usize = 16;

/// Two workers that share shards. Each may stop acting for ever, or for as long as it likes.
#[derive(Debug, Clone)]
pub struct Sharing {
    pub shards: usize,
    /// How many workers have shared all work when it begins; the others join.
    pub joined: usize,
    /// How often a clock goes on: by an interval, or by so much that all that its worker knew of has run out.
    pub looks: u8,
    /// Whether the first worker may leave.
    pub leaves: bool,
    /// How many answers are lost, writes doubled, and writes given up that are still under way.
    pub faults: u8,
    pub wrong: Option<Wrong>,
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A write is taken whatever is stored.
    NoCondition,
    /// A write is taken iff the holder and the owner are those that it expects.
    CounterNotCompared,
    /// A write of unknown outcome is believed to be done.
    NoReadBack,
    /// An answer is waited for until it comes.
    WaitsForEver,
    /// What is to be passed on counts as drained while it is worked on.
    PassedOnBeforeDrained,
    /// Work begins as soon as it is offered.
    BegunWhenOffered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    stored: BTreeMap<LeaseKey, Lease>,
    under_way: Vec<Write>,
    workers: [Worker; 2],
    looks: u8,
    faults: u8,
    /// What was seen to go wrong.
    broken: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Worker {
    leases: Leases,
    now: Duration,
    began: Duration,
    /// The work that it does.
    works: BTreeSet<LeaseKey>,
    /// That it has drained, as the owner of the work has told the leasing, which has not heard it yet.
    told: BTreeMap<LeaseKey, Offer>,
    /// The writes whose answers it waits for.
    waits: Vec<Change>,
}

/// A write on its way. Nobody knows when it arrives, how often, or whether ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    by: usize,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Time passes for one worker.
    Pass {
        worker: usize,
        time: Duration,
    },
    /// Lists the leases and writes what is to be written.
    Look {
        worker: usize,
    },
    /// Works as the leases say; what is to be passed on has drained.
    Follow {
        worker: usize,
    },
    Hear {
        worker: usize,
        key: LeaseKey,
    },
    Arrive {
        write: Box<Write>,
        is_answered: bool,
        comes_again: bool,
    },
    GiveUpWaiting {
        worker: usize,
        key: LeaseKey,
    },
    Leave {
        worker: usize,
    },
}

impl Worker {
    fn new(name: &str, shards: usize) -> Self {
        let mut leases = Leases::new(WorkerId::new(name), LASTS);
        let work = (0..shards).map(|number| LeaseKey::Shard(ShardId::new(number.to_string()))).collect();
        leases.needed(Duration::ZERO, work);
        Self {
            leases,
            now: Duration::ZERO,
            began: Duration::ZERO,
            works: BTreeSet::new(),
            told: BTreeMap::new(),
            waits: Vec::new(),
        }
    }

    /// Whether nothing can have run out for it.
    fn is_young(&self) -> bool {
        self.now < self.began + LASTS
    }
}

impl Sharing {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn look(&self, state: &mut State, by: usize) {
        let worker = &mut state.workers[by];
        let now = worker.now;
        worker.leases.listed(now + MOMENT, now, state.stored.values().cloned().collect());
        for change in worker.leases.changes(now) {
            let write = Write { by, change };
            // A worker's own place tells who takes part; nothing that is safe hangs on it.
            if matches!(write.change.key, LeaseKey::Worker(_)) {
                if state.stored.get(&write.change.key) == write.change.expected.as_ref() {
                    put(&mut state.stored, &write.change);
                }
                let stored = state.stored.get(&write.change.key).cloned();
                state.workers[by].leases.answered(now, &write.change.key, stored);
            } else {
                state.workers[by].waits.push(write.change.clone());
                state.under_way.push(write);
            }
        }
        state.under_way.sort_by(|a, b| a.order().cmp(&b.order()));
        state.under_way.dedup();
    }

    fn follow(&self, state: &mut State, by: usize) {
        let worker = &mut state.workers[by];
        let holdings = worker.leases.holdings(worker.now);
        worker.works.retain(|key| holdings.contains_key(key));
        for (key, holding) in holdings {
            match holding {
                Holding::Work => {
                    worker.works.insert(key);
                }
                Holding::PassOn(offer) => {
                    if !self.is(Wrong::PassedOnBeforeDrained) {
                        worker.works.remove(&key);
                    }
                    worker.told.insert(key, offer);
                }
            }
        }
        if self.is(Wrong::BegunWhenOffered) {
            let me = WorkerId::new(NAMES[by]);
            let owned = state.stored.values().filter(|lease| lease.owner.as_ref() == Some(&me));
            let owned = owned.map(|lease| lease.key.clone()).filter(|key| matches!(key, LeaseKey::Shard(_)));
            worker.works.extend(owned);
        }
    }

    fn arrive(&self, state: &mut State, write: &Write, is_answered: bool, comes_again: bool) {
        if !comes_again {
            state.under_way.retain(|known| known != write);
        }
        let Write { by, change } = write;
        let before = state.stored.get(&change.key).cloned();
        let is_done = match self.wrong {
            Some(Wrong::NoCondition) => true,
            Some(Wrong::CounterNotCompared) => {
                let pair = |lease: &Lease| (lease.owner.clone(), lease.from.clone());
                before.as_ref().map(pair) == change.expected.as_ref().map(pair)
            }
            _ => before == change.expected,
        };
        if is_done {
            put(&mut state.stored, change);
            self.look_at(state, *by, before.as_ref(), change.lease.as_ref());
        }
        if is_answered {
            let stored = state.stored.get(&change.key).cloned();
            self.answered(state, *by, &change.key, stored);
        }
    }

    fn look_at(&self, state: &mut State, by: usize, before: Option<&Lease>, after: Option<&Lease>) {
        let (Some(before), Some(after)) = (before, after) else { return };
        let me = Some(WorkerId::new(NAMES[by]));
        if invariants::lease_moves_on(before, after).is_err() {
            state.broken = Some("a lease changes hands without its condition");
        } else if before.from == me
            && after.holder() != me.as_ref()
            && state.workers[by].works.contains(&after.key)
        {
            state.broken = Some("it is passed on by one that has not drained");
        }
    }

    fn answered(&self, state: &mut State, by: usize, key: &LeaseKey, stored: Option<Lease>) {
        let worker = &mut state.workers[by];
        worker.waits.retain(|waits| waits.key != *key);
        worker.leases.answered(worker.now, key, stored);
        let believes = worker.leases.holdings(worker.now).contains_key(key);
        let holder = state.stored.get(key).and_then(Lease::holder);
        if believes && holder != Some(&WorkerId::new(NAMES[by])) {
            state.broken = Some("one is told that it holds what another does");
        }
    }

    fn give_up(&self, state: &mut State, by: usize, key: &LeaseKey) {
        let asked = state.workers[by].waits.iter().find(|change| change.key == *key).cloned();
        let stored = match asked {
            Some(change) if self.is(Wrong::NoReadBack) => change.lease,
            _ => state.stored.get(key).cloned(),
        };
        self.answered(state, by, key, stored);
    }

    /// A look of one worker with all that comes of it, without any fault.
    fn round(&self, state: &mut State, by: usize) {
        let worker = &mut state.workers[by];
        worker.now += worker.leases.interval();
        for (key, offer) in std::mem::take(&mut worker.told) {
            worker.leases.drained(key, offer);
        }
        if !self.is(Wrong::WaitsForEver) {
            for change in state.workers[by].waits.clone() {
                self.give_up(state, by, &change.key);
            }
        }
        let late = std::mem::take(&mut state.under_way);
        self.look(state, by);
        for write in std::mem::take(&mut state.under_way) {
            self.arrive(state, &write, true, false);
        }
        state.under_way = late;
        self.follow(state, by);
    }

    /// Some survive, and faults stop; at last all that was delayed arrives. Whether then each shard is worked on by one.
    fn is_shared_by(&self, state: &State, survivors: &[usize]) -> bool {
        let mut state = state.clone();
        if survivors.iter().all(|by| state.workers[*by].leases.is_leaving()) {
            return true;
        }
        let first = self.settle(&mut state, survivors);
        for write in std::mem::take(&mut state.under_way) {
            self.arrive(&mut state, &write, false, false);
        }
        first && self.settle(&mut state, survivors)
    }

    fn settle(&self, state: &mut State, survivors: &[usize]) -> bool {
        for _ in 0..ROUNDS {
            survivors.iter().for_each(|by| self.round(state, *by));
            if self.is_shared(state, survivors) {
                return true;
            }
        }
        false
    }

    fn is_shared(&self, state: &State, survivors: &[usize]) -> bool {
        let works = |lease: &Lease| {
            let mut at_work = survivors.iter().filter(|by| state.workers[**by].works.contains(&lease.key));
            let is_held = lease.from.is_none()
                && at_work.next().is_some_and(|by| lease.owner.as_ref() == Some(&WorkerId::new(NAMES[*by])));
            is_held && at_work.next().is_none()
        };
        let mut shards = state.stored.values().filter(|lease| matches!(lease.key, LeaseKey::Shard(_)));
        let held = shards.by_ref().filter(|lease| works(lease)).count();
        held == self.shards
    }

    fn actions_of(&self, state: &State, by: usize, actions: &mut Vec<Action>) {
        let worker = &state.workers[by];
        if state.looks < self.looks {
            for time in [worker.leases.interval(), LASTS] {
                actions.push(Action::Pass { worker: by, time });
            }
        }
        actions.push(Action::Look { worker: by });
        actions.push(Action::Follow { worker: by });
        actions.extend(worker.told.keys().map(|key| Action::Hear { worker: by, key: key.clone() }));
        for change in &worker.waits {
            let is_under_way = state.under_way.iter().any(|write| write.by == by && write.change == *change);
            if !is_under_way || state.faults < self.faults {
                actions.push(Action::GiveUpWaiting { worker: by, key: change.key.clone() });
            }
        }
        if by == 0 && self.leaves && !worker.leases.is_leaving() {
            actions.push(Action::Leave { worker: by });
        }
    }
}

impl Write {
    fn order(&self) -> (usize, &LeaseKey, u64) {
        (self.by, &self.change.key, self.change.lease.as_ref().map_or(0, |lease| lease.counter))
    }
}

fn put(stored: &mut BTreeMap<LeaseKey, Lease>, change: &Change) {
    match &change.lease {
        Some(lease) => stored.insert(change.key.clone(), lease.clone()),
        None => stored.remove(&change.key),
    };
}

impl Model for Sharing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let workers = NAMES.map(|name| Worker::new(name, self.shards));
        let mut state = State {
            stored: BTreeMap::new(),
            under_way: Vec::new(),
            workers,
            looks: 0,
            faults: 0,
            broken: None,
        };
        let joined: Vec<usize> = (0..self.joined).collect();
        let right = Self { wrong: None, ..self.clone() };
        for _ in 0..2 {
            right.settle(&mut state, &joined);
        }
        for worker in &mut state.workers {
            worker.began = worker.now;
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..NAMES.len()).for_each(|by| self.actions_of(state, by, actions));
        let is_fault_left = state.faults < self.faults;
        for write in &state.under_way {
            let is_awaited = state.workers[write.by].waits.contains(&write.change);
            let arrive = |is_answered, comes_again| Action::Arrive {
                write: Box::new(write.clone()),
                is_answered,
                comes_again,
            };
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
            Action::Pass { worker, time } => {
                state.looks += 1;
                state.workers[worker].now += time;
            }
            Action::Look { worker } => self.look(&mut state, worker),
            Action::Follow { worker } => self.follow(&mut state, worker),
            Action::Hear { worker, key } => {
                let hears = &mut state.workers[worker];
                if let Some(offer) = hears.told.remove(&key) {
                    hears.leases.drained(key, offer);
                }
            }
            Action::Arrive { write, is_answered, comes_again } => {
                let is_awaited = state.workers[write.by].waits.contains(&write.change);
                state.faults += u8::from(comes_again || is_awaited && !is_answered);
                self.arrive(&mut state, &write, is_answered, comes_again);
            }
            Action::GiveUpWaiting { worker, key } => {
                let is_under_way =
                    state.under_way.iter().any(|write| write.by == worker && write.change.key == key);
                state.faults += u8::from(is_under_way);
                self.give_up(&mut state, worker, &key);
            }
            Action::Leave { worker } => state.workers[worker].leases.leave(),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is broken", |_, state: &State| state.broken.is_none()),
            Property::always("before any lease has run out, no two work at once", |_, state: &State| {
                let [a, b] = &state.workers;
                !(a.is_young() && b.is_young()) || a.works.is_disjoint(&b.works)
            }),
            Property::always("when faults stop, each shard is worked on by one", |model: &Self, state| {
                [&[0, 1][..], &[0], &[1]].iter().all(|survivors| model.is_shared_by(state, survivors))
            }),
            Property::sometimes("the second works on something", |_, state: &State| {
                !state.workers[1].works.is_empty()
            }),
        ]
    }
}
