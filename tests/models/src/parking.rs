//! One document of which an event cannot be taken, the workers that meet it, and the redrives that apply what waits.
//!
//! The workers run the code that cannot take it to the end, so each of them may be a zombie; a redrive runs the mended one.
//! Writes of the document are one step: that they arrive late or never, `writing` knows.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::{
    checking::Found,
    store::{Event, SHARDS, SmallGuard, Stored, covered, reguarded},
};

#[derive(Debug)]
pub struct Parking {
    /// How many events each shard has.
    pub events: [u8; SHARDS],
    /// The event that no worker can take.
    pub poison: Event,
    /// How often a shard is won, each time with all before it forgotten.
    pub wins: u8,
    /// How many workers there are, two at most.
    pub workers: usize,
    /// How many appends arrive after their sender gave them up.
    pub faults: u8,
    pub redrives: usize,
    /// An operator who has seen the poison in the lot asks for its discard.
    pub discards: bool,
    /// How many marks the document gets at most: redrives and workers could go on for ever.
    pub marks: u8,
    pub wrong: &'static [Wrong],
    /// Whether everything is redriven when faults stop.
    pub found: Found<State>,
}

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A mark is closed whether events wait or not.
    ClosedWhileEventsWait,
    /// Appends are put whether their mark is open or not.
    AppendedUnderAClosedMark,
    /// An event counts as settled once it was sent to the lot.
    SettledBeforeItIsParked,
    NewestFirst,
    /// Shards that have ended shrink while the mark stands.
    ShrunkUnderAMark,
    /// A redrive passes over an event whose discard is only asked for.
    LeftOutBeforeItIsDecided,
    /// Whether a discard came in time is judged by the document as it was when the discard was listed.
    DecidedByAnOldGuard,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    stored: Option<Stored>,
    lot: BTreeSet<Event>,
    /// Marks up to this one are closed.
    closed: u8,
    checkpoints: [u8; SHARDS],
    workers: [Worker; 2],
    redrives: Vec<Redrive>,
    discard: Discard,
    /// Appends on their way that nobody waits for: the mark and the event.
    under_way: BTreeSet<(u8, Event)>,
    wins: u8,
    faults: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    read: [u8; SHARDS],
    /// What was read and is not settled.
    pending: Vec<Event>,
    /// What the document was when it was last seen.
    cache: Option<Option<Stored>>,
    /// A mark that it knows to be closed.
    known_closed: u8,
}

/// The discard of the poison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Discard {
    #[default]
    None,
    /// The operator has seen the event in the lot.
    Seen,
    Asked,
    Done,
    TooLate,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
enum Redrive {
    #[default]
    AtRest,
    /// The document carried a mark.
    Read(Stored),
    /// A discard was asked for.
    Renumbering(Stored),
    /// Whether the poison was in the document.
    Deciding(bool),
    /// The event that stood first in the lot, the document as it was read before, and whether the event is left out.
    Listed(Event, Stored, bool),
    /// It is in the document.
    Applied(Event),
    /// Nothing waited when the document was read.
    Empty(Stored),
    Closed(Stored),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Win { worker: usize, shard: usize },
    Read { worker: usize, shard: usize },
    Load { worker: usize },
    Work { worker: usize },
    SendAndGiveUp { worker: usize },
    Arrive { mark: u8, event: Event },
    Checkpoint { worker: usize, shard: usize },
    Redrive { redrive: usize },
    See,
    Ask,
    Forget { redrive: usize },
}

impl Parking {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong.contains(&wrong)
    }

    /// The shards that are settled to their ends.
    fn ended(&self, state: &State) -> [bool; SHARDS] {
        std::array::from_fn(|shard| state.checkpoints[shard] == self.events[shard])
    }

    fn append(&self, state: &mut State, mark: u8, event: Event) -> bool {
        let is_open = mark > state.closed || self.is(Wrong::AppendedUnderAClosedMark);
        if is_open {
            state.lot.insert(event);
        }
        is_open
    }

    /// Writes iff the document is what the writer took it for.
    fn put(&self, state: &mut State, base: Option<&Stored>, put: Stored) -> bool {
        let is_done = state.stored.as_ref().map(|stored| stored.guard) == base.map(|base| base.guard);
        if is_done {
            state.stored = Some(put);
        }
        is_done
    }

    fn work(&self, state: &mut State, by: usize) {
        let ended = self.ended(state);
        let worker = &mut state.workers[by];
        let Some(base) = worker.cache.clone() else { return };
        worker.pending.retain(|event| !covered(base.as_ref(), *event));
        let Some(first) = worker.pending.first().copied() else { return };
        let mark = base.as_ref().and_then(Stored::mark);
        let put = match mark {
            Some(mark) if mark == worker.known_closed => {
                reguarded(base.as_ref(), ended, |judge, _| judge.clear_mark())
            }
            Some(mark) => return self.park(state, by, mark, first),
            None if first == self.poison => reguarded(base.as_ref(), ended, |judge, _| judge.set_mark()),
            None => applied(base.as_ref(), ended, first),
        };
        let is_done = self.put(state, base.as_ref(), put.clone());
        let worker = &mut state.workers[by];
        worker.cache = Some(if is_done { Some(put) } else { state.stored.clone() });
    }

    fn park(&self, state: &mut State, by: usize, mark: u8, event: Event) {
        if self.append(state, mark, event) {
            state.workers[by].pending.retain(|pending| *pending != event);
        } else {
            state.workers[by].known_closed = mark;
        }
    }

    /// An append is sent, and nobody waits for it.
    fn send(&self, state: &mut State, by: usize) {
        let worker = &mut state.workers[by];
        let mark = worker.cache.as_ref().and_then(|cache| cache.as_ref()?.mark());
        if let (Some(mark), Some(first)) = (mark, worker.pending.first().copied()) {
            state.under_way.insert((mark, first));
            if self.is(Wrong::SettledBeforeItIsParked) {
                worker.pending.retain(|event| *event != first);
            }
        }
    }

    fn redrive(&self, state: &mut State, index: usize) {
        let stage = state.redrives[index].clone();
        self.redrive_from(state, index, stage);
    }

    fn redrive_from(&self, state: &mut State, index: usize, stage: Redrive) {
        let ended = self.ended(state);
        let next = match stage {
            Redrive::AtRest => {
                let marked = state.stored.clone().filter(|stored| stored.mark().is_some());
                match marked.map(Redrive::Read) {
                    Some(read) if self.discards => read,
                    // What is listed later than it is read makes a difference to discards alone.
                    Some(read) => return self.redrive_from(state, index, read),
                    None => Redrive::AtRest,
                }
            }
            Redrive::Read(base) => {
                let first = if self.is(Wrong::NewestFirst) { state.lot.last() } else { state.lot.first() };
                let is_lenient = self.is(Wrong::LeftOutBeforeItIsDecided);
                let leaves_out = |event| {
                    let is_due = is_lenient && state.discard == Discard::Asked;
                    event == self.poison && (is_due || state.discard == Discard::Done)
                };
                match first.copied() {
                    Some(event) if is_lenient && leaves_out(event) => Redrive::Listed(event, base, true),
                    _ if state.discard == Discard::Asked => Redrive::Renumbering(base),
                    Some(event) => Redrive::Listed(event, base, leaves_out(event)),
                    None => Redrive::Empty(base),
                }
            }
            Redrive::Renumbering(base) => {
                let is_in = covered(Some(&base), self.poison);
                let number = base.mark().unwrap_or_default() + 1;
                let guard = SmallGuard { mark: Some((number, true)), ..base.guard };
                let put = Stored { guard, ..base.clone() };
                let is_done = self.is(Wrong::DecidedByAnOldGuard) || self.put(state, Some(&base), put);
                if is_done { Redrive::Deciding(is_in) } else { Redrive::AtRest }
            }
            Redrive::Deciding(is_in) => {
                if state.discard == Discard::Asked {
                    state.discard = if is_in { Discard::TooLate } else { Discard::Done };
                }
                Redrive::AtRest
            }
            Redrive::Listed(event, base, _) if covered(Some(&base), event) => Redrive::Applied(event),
            Redrive::Listed(event, base, is_left_out) => {
                let mut put = applied(Some(&base), ended, event);
                if is_left_out {
                    put.applied.clone_from(&base.applied);
                }
                if self.is(Wrong::ShrunkUnderAMark) {
                    put.guard.closed = ended;
                }
                if self.put(state, Some(&base), put) { Redrive::Applied(event) } else { Redrive::AtRest }
            }
            Redrive::Applied(event) => {
                state.lot.remove(&event);
                Redrive::AtRest
            }
            Redrive::Empty(base) => match base.mark() {
                Some(mark) if state.lot.is_empty() || self.is(Wrong::ClosedWhileEventsWait) => {
                    state.closed = state.closed.max(mark);
                    Redrive::Closed(base)
                }
                _ => Redrive::AtRest,
            },
            Redrive::Closed(base) => {
                let put = reguarded(Some(&base), ended, |judge, _| judge.clear_mark());
                self.put(state, Some(&base), put);
                Redrive::AtRest
            }
        };
        state.redrives[index] = next;
    }

    fn settled(&self, worker: &Worker, shard: usize) -> u8 {
        let of_shard = worker.pending.iter().filter(|event| event.0 == shard);
        of_shard.map(|event| event.1 - 1).min().unwrap_or(worker.read[shard])
    }

    fn win(&self, state: &mut State, worker: usize, shard: usize) {
        let won = &mut state.workers[worker];
        won.read[shard] = state.checkpoints[shard];
        won.pending.retain(|event| event.0 != shard);
        won.cache = None;
    }

    /// Whether everything is redriven when faults stop, whichever worker goes on.
    fn is_redriven(&self, state: &State) -> bool {
        state.workers.iter().all(|Worker { known_closed, .. }| {
            let workers = [Worker { known_closed: *known_closed, ..Worker::default() }, Worker::default()];
            let redrives = vec![Redrive::AtRest; self.redrives];
            let state = State { workers, redrives, wins: 0, faults: 0, ..state.clone() };
            self.found.or_find(state, |state| self.has_all(&self.after_faults(state)))
        })
    }

    /// Faults stop: what was delayed arrives, one worker wins all shards and parks what it cannot take, and what waits is
    /// redriven.
    fn after_faults(&self, mut state: State) -> State {
        for (mark, event) in std::mem::take(&mut state.under_way) {
            self.append(&mut state, mark, event);
        }
        (0..SHARDS).for_each(|shard| self.win(&mut state, 0, shard));
        for _ in 0..8 {
            for shard in 0..SHARDS {
                while state.workers[0].read[shard] < self.events[shard] {
                    state.workers[0].read[shard] += 1;
                    let event = (shard, state.workers[0].read[shard]);
                    state.workers[0].pending.push(event);
                }
            }
            for _ in 0..4 {
                state.workers[0].cache = Some(state.stored.clone());
                self.work(&mut state, 0);
            }
            for shard in 0..SHARDS {
                let settled = self.settled(&state.workers[0], shard);
                state.checkpoints[shard] = state.checkpoints[shard].max(settled);
            }
            (0..24).for_each(|_| self.redrive(&mut state, 0));
        }
        state
    }

    /// Whether the document has the first events of each shard in order, each once, but for what is discarded.
    fn is_fold(&self, state: &State, stored: &Stored) -> bool {
        let is_left_out = |event| event == self.poison && state.discard == Discard::Done;
        (0..SHARDS).all(|shard| {
            let all = (1..=self.events[shard]).filter(|number| !is_left_out((shard, *number)));
            let found = &stored.applied[shard];
            all.take(found.len()).eq(found.iter().copied())
        })
    }

    fn has_all(&self, state: &State) -> bool {
        let all = |stored: &Stored| {
            let left_out = usize::from(state.discard == Discard::Done);
            let expected: usize = self.events.iter().map(|events| usize::from(*events)).sum();
            let found: usize = stored.applied.iter().map(Vec::len).sum();
            self.is_fold(state, stored) && found + left_out == expected
        };
        state.stored.as_ref().is_some_and(all) && state.checkpoints == self.events && state.lot.is_empty()
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let Worker { read, pending, cache, .. } = &state.workers[worker];
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
            if cache.is_some() {
                actions.push(Action::Work { worker });
                if state.faults < self.faults {
                    actions.push(Action::SendAndGiveUp { worker });
                }
            }
        }
    }
}

fn applied(base: Option<&Stored>, ended: [bool; SHARDS], event: Event) -> Stored {
    let mut put = reguarded(base, ended, |judge, origin| judge.advance(&origin(event)));
    put.applied[event.0].push(event.1);
    put
}

impl Model for Parking {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: None,
            lot: BTreeSet::new(),
            closed: 0,
            checkpoints: [0; SHARDS],
            workers: Default::default(),
            redrives: vec![Redrive::AtRest; self.redrives],
            discard: Discard::None,
            under_way: BTreeSet::new(),
            wins: 0,
            faults: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..self.workers).for_each(|worker| self.actions_of(state, worker, actions));
        for (mark, event) in &state.under_way {
            actions.push(Action::Arrive { mark: *mark, event: *event });
        }
        if self.discards && state.discard == Discard::None && state.lot.contains(&self.poison) {
            actions.push(Action::See);
        }
        if state.discard == Discard::Seen {
            actions.push(Action::Ask);
        }
        for redrive in 0..self.redrives {
            actions.push(Action::Redrive { redrive });
            if state.redrives[redrive] != Redrive::AtRest {
                actions.push(Action::Forget { redrive });
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
            Action::Work { worker } => self.work(&mut state, worker),
            Action::SendAndGiveUp { worker } => {
                state.faults += 1;
                self.send(&mut state, worker);
            }
            Action::Arrive { mark, event } => {
                state.under_way.remove(&(mark, event));
                self.append(&mut state, mark, event);
            }
            Action::Checkpoint { worker, shard } => {
                state.checkpoints[shard] = self.settled(&state.workers[worker], shard);
            }
            Action::Redrive { redrive } => self.redrive(&mut state, redrive),
            Action::See => state.discard = Discard::Seen,
            Action::Ask => state.discard = Discard::Asked,
            Action::Forget { redrive } => state.redrives[redrive] = Redrive::AtRest,
        }
        // They are alike where both act.
        if self.workers == 2 {
            state.workers.sort();
        }
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let number =
            state.stored.as_ref().and_then(|stored| stored.guard.mark).map_or(0, |(number, _)| number);
        number <= self.marks
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "the document is a fold of the first events that are not discarded, in order, each once",
                |model: &Self, state: &State| {
                    state.stored.as_ref().is_none_or(|stored| model.is_fold(state, stored))
                },
            ),
            Property::always("a checkpoint is not ahead of the document and the lot", |_, state: &State| {
                (0..SHARDS).all(|shard| {
                    (1..=state.checkpoints[shard])
                        .map(|number| (shard, number))
                        .all(|event| covered(state.stored.as_ref(), event) || state.lot.contains(&event))
                })
            }),
            Property::always("when faults stop, everything is redriven", |model: &Self, state| {
                model.is_redriven(state)
            }),
            Property::sometimes("everything was redriven", |model: &Self, state| {
                model.has_all(state) && state.closed > 0
            }),
        ]
    }
}
