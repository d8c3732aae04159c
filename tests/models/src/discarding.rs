//! One document that the store refuses where it ends with a certain event, workers that discard what they cannot write, and
//! what is on record of that.
//!
//! A write that holds the event together with the next one is taken; so whether the event is discarded depends on who is
//! faster. Writes of the document are one step: that they arrive late or never, `writing` knows.

use foldstream_runtime::guard::Judgement;
use stateright::{Model, Property};

use crate::store::{Event, SHARDS, Stored, judged, reguarded};

#[derive(Debug, Clone)]
pub struct Discarding {
    /// How many events each shard has.
    pub events: [u8; SHARDS],
    /// The event that no document may end with.
    pub refused: Event,
    /// How often a shard is won, each time with all before it forgotten.
    pub wins: u8,
    pub wrong: &'static [Wrong],
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The event is recorded as discarded, and the document moved past it afterwards.
    RecordedUndecided,
    /// What the document was moved past settles whether it is on record or not.
    SettledUnrecorded,
    /// It goes out of the guard, and is recorded afterwards.
    TakenOutUnrecorded,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    stored: Option<Stored>,
    is_recorded: bool,
    checkpoints: [u8; SHARDS],
    workers: [Worker; 2],
    wins: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Worker {
    read: [u8; SHARDS],
    /// What was read and is not settled.
    pending: Vec<Event>,
    /// What the document was when it was last seen.
    cache: Option<Option<Stored>>,
    /// It has recorded the discard.
    has_recorded: bool,
    /// It has the discard still to record.
    owes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Win {
        worker: usize,
        shard: usize,
    },
    Read {
        worker: usize,
        shard: usize,
    },
    Load {
        worker: usize,
    },
    /// With so many of the pending events in a write at most.
    Work {
        worker: usize,
        most: usize,
    },
    Checkpoint {
        worker: usize,
        shard: usize,
    },
}

impl Discarding {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong.contains(&wrong)
    }

    /// The shards that are settled to their ends.
    fn ended(&self, state: &State) -> [bool; SHARDS] {
        std::array::from_fn(|shard| state.checkpoints[shard] == self.events[shard])
    }

    fn work(&self, state: &mut State, by: usize, most: usize) {
        let ended = self.ended(state);
        let worker = &mut state.workers[by];
        let Some(base) = worker.cache.clone() else { return };
        if worker.owes {
            (worker.owes, state.is_recorded) = (false, true);
            return worker.pending.retain(|event| *event != self.refused);
        }
        let judged = |event: &Event| match judged(base.as_ref(), *event) {
            Judgement::Unrecorded if self.is(Wrong::SettledUnrecorded) => Judgement::Duplicate,
            judged => judged,
        };
        worker.pending.retain(|event| judged(event) != Judgement::Duplicate);
        worker.pending.sort_by_key(|event| judged(event) != Judgement::Unrecorded);
        let Some(first) = worker.pending.first().copied() else { return };
        let is_unrecorded = judged(&first) == Judgement::Unrecorded;
        let is_refused = first == self.refused && most == 1 && !is_unrecorded;
        let is_first_recorded = self.is(Wrong::RecordedUndecided) && is_refused;
        let is_due = is_unrecorded && !self.is(Wrong::TakenOutUnrecorded);
        if (is_due || is_first_recorded) && !worker.has_recorded {
            (worker.has_recorded, state.is_recorded) = (true, true);
            return;
        }
        let batch: Vec<Event> = worker.pending.iter().take(most).copied().collect();
        let applied = &batch[usize::from(is_unrecorded)..];
        let put = if is_refused {
            reguarded(base.as_ref(), ended, |judge, origin| {
                judge.pass_over(&origin(first)).expect("no stream is refused");
            })
        } else if applied.last() == Some(&self.refused) {
            return;
        } else {
            let mut put = reguarded(base.as_ref(), ended, |judge, origin| {
                judge.recorded(&origin(first));
                applied.iter().for_each(|event| judge.advance(&origin(*event)));
            });
            applied.iter().for_each(|(shard, number)| put.applied[*shard].push(*number));
            put
        };
        let is_done = state.stored.as_ref().map(|stored| stored.guard) == base.map(|base| base.guard);
        let worker = &mut state.workers[by];
        if is_done {
            state.stored = Some(put);
            worker.owes = is_unrecorded && !worker.has_recorded;
            let is_settled = |event: &Event| batch.contains(event) && !is_refused && !worker.owes;
            worker.pending.retain(|event| !is_settled(event));
        }
        worker.cache = Some(state.stored.clone());
    }

    fn settled(&self, worker: &Worker, shard: usize) -> u8 {
        let of_shard = worker.pending.iter().filter(|event| event.0 == shard);
        of_shard.map(|event| event.1 - 1).min().unwrap_or(worker.read[shard])
    }

    fn win(&self, state: &mut State, worker: usize, shard: usize) {
        let won = &mut state.workers[worker];
        won.read[shard] = state.checkpoints[shard];
        won.pending.retain(|event| event.0 != shard);
        (won.cache, won.has_recorded, won.owes) = (None, false, false);
    }

    /// Faults stop: one worker wins all shards, and does what is left.
    fn after_faults(&self, state: &State) -> State {
        let mut state = state.clone();
        (0..SHARDS).for_each(|shard| self.win(&mut state, 0, shard));
        for shard in 0..SHARDS {
            let read = state.workers[0].read[shard];
            state.workers[0].pending.extend((read + 1..=self.events[shard]).map(|number| (shard, number)));
            state.workers[0].read[shard] = self.events[shard];
        }
        for _ in 0..12 {
            state.workers[0].cache = Some(state.stored.clone());
            self.work(&mut state, 0, 1);
        }
        state
    }

    fn is_in(&self, state: &State, (shard, number): Event) -> bool {
        state.stored.as_ref().is_some_and(|stored| stored.applied[shard].contains(&number))
    }

    /// It is in the document, or on record as discarded.
    fn is_resolved(&self, state: &State, event: Event) -> bool {
        self.is_in(state, event) || (event == self.refused && state.is_recorded)
    }

    fn has_all(&self, state: &State) -> bool {
        let mut all =
            (0..SHARDS).flat_map(|shard| (1..=self.events[shard]).map(move |number| (shard, number)));
        let is_clean = state.stored.as_ref().is_some_and(|stored| stored.guard.unrecorded == [0; SHARDS]);
        is_clean && all.all(|event| self.is_resolved(state, event))
    }

    /// Whether the document has the first events of each shard in order, each once, but for the one that is refused.
    fn is_fold(&self, stored: &Stored) -> bool {
        (0..SHARDS).all(|shard| {
            let found = &stored.applied[shard];
            let is_there = |number: &u8| (shard, *number) != self.refused || found.contains(number);
            (1..=self.events[shard]).filter(is_there).take(found.len()).eq(found.iter().copied())
        })
    }
}

impl Model for Discarding {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, Worker { read, pending, cache, .. }) in state.workers.iter().enumerate() {
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
            }
            if !pending.is_empty() {
                actions.push(Action::Load { worker });
                let most = if cache.is_some() { pending.len() } else { 0 };
                actions.extend((1..=most).map(|most| Action::Work { worker, most }));
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
            Action::Work { worker, most } => self.work(&mut state, worker, most),
            Action::Checkpoint { worker, shard } => {
                state.checkpoints[shard] = self.settled(&state.workers[worker], shard);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "what is on record as discarded is not in the document",
                |model: &Self, state: &State| !(state.is_recorded && model.is_in(state, model.refused)),
            ),
            Property::always(
                "the document is a fold of the first events that are not discarded, in order, each once",
                |model: &Self, state: &State| {
                    state.stored.as_ref().is_none_or(|stored| model.is_fold(stored))
                },
            ),
            Property::always(
                "a checkpoint is not ahead of the document and the record",
                |model: &Self, state: &State| {
                    (0..SHARDS).all(|shard| {
                        (1..=state.checkpoints[shard]).all(|number| model.is_resolved(state, (shard, number)))
                    })
                },
            ),
            Property::always(
                "when faults stop, everything arrives or is on record",
                |model: &Self, state| model.has_all(&model.after_faults(state)),
            ),
            Property::sometimes("the event was discarded", |model: &Self, state: &State| {
                state.is_recorded && model.has_all(state)
            }),
            Property::sometimes("the event was taken with the next one", |model: &Self, state: &State| {
                !state.is_recorded && model.has_all(state)
            }),
        ]
    }
}
