//! A reader of a shard: what it takes, what it makes durable before it goes on, and what it saves.

use std::{
    cmp,
    collections::{BTreeMap, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use foldstream_model::{Error, Position, Sequence, ShardNumber, Timestamp};
use foldstream_runtime::{
    journal::Wish,
    order::Placed,
    streams::{Streams, Territory, Turn},
};

use super::{ParkedStreams, Reader, State, Wrong};
use crate::{
    lot::{At, Durable, STREAM, SmallOrder, SmallParked, end_of, hash_of},
    shards::{Nth, Shard, SmallEntry, SmallJournal, event, hash_key, small_entry},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Line {
    pub shard: u8,
    /// Up to here everything was delivered or waits.
    pub at: At,
    streams: Known,
    /// To be done one after the other before the next record or entry is taken.
    pub due: VecDeque<Due>,
    /// What was delivered and is not in the document, and up to where everything before it was.
    pub on_its_way: Vec<(At, SmallOrder, Nth)>,
    /// What came back and is still in the lot, and where.
    pub returned: Vec<(At, SmallOrder)>,
    /// What came back and leaves the lot, as the checkpoint is behind that.
    pub leaving: Vec<SmallOrder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Due {
    Load,
    /// What came back before it was settled up to here.
    RemoveReturned(Vec<SmallParked>),
    Park(SmallParked),
    LeaveOut(u64),
    Append(SmallOrder, u64),
    End(SmallParked),
    /// What waits of a stream that comes back, without an event if so decided.
    List(SmallParked, Option<u64>),
    Learn(SmallOrder, Vec<(SmallOrder, u64)>, Option<u64>),
    Deliver(At, Vec<(SmallOrder, Nth)>),
}

/// The engine's own, told apart by what it says of itself.
#[derive(Clone)]
pub(super) struct Known(Arc<(Streams, OnceLock<u64>)>);

/// What comes next in a shard.
pub(super) enum Next {
    Record(u8),
    Entry(At, Option<u64>),
    Seal,
}

impl Known {
    fn of(streams: Streams) -> Self {
        Self(Arc::new((streams, OnceLock::new())))
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Streams) -> T) -> T {
        let mut streams = self.0.0.clone();
        let changed = change(&mut streams);
        *self = Self::of(streams);
        changed
    }

    fn digest(&self) -> u64 {
        let (streams, digest) = &*self.0;
        *digest.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            format!("{streams:?}").hash(&mut hasher);
            hasher.finish()
        })
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Known {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.digest().cmp(&other.digest())
    }
}

impl Line {
    fn order(&self, at: At, ordinal: u8) -> SmallOrder {
        SmallOrder { shard: self.shard, at, ordinal }
    }

    /// Up to here all is in the document, or waits.
    fn settled(&self) -> At {
        self.on_its_way.first().map_or(self.at, |(before, ..)| *before)
    }

    fn deliver(&mut self, at: At, touches: &[(SmallOrder, Nth)]) {
        self.on_its_way.extend(touches.iter().map(|(order, nth)| (self.at, *order, *nth)));
        self.at = self.at.max(at);
    }
}

pub(super) fn wish(journal: &mut SmallJournal, wish: &Wish) -> bool {
    let Ok(next) = journal.view().next(wish) else { return false };
    if let Some(next) = next {
        *journal = SmallJournal::of(&next, journal.revision + 1);
    }
    true
}

impl ParkedStreams {
    pub(super) fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    pub(super) fn shard(&self, number: u8) -> &Shard {
        &self.shards[usize::from(number)]
    }

    pub(super) fn children(&self, of: u8) -> impl Iterator<Item = u8> {
        let is_child = move |shard: &u8| self.shard(*shard).parents.contains(&usize::from(of));
        (0..self.shards.len() as u8).filter(is_child)
    }

    fn is_poison(&self, reader: &Reader, (stream, sequence): Nth) -> bool {
        !reader.is_mended && stream == STREAM && self.bounds.poison.contains(&sequence)
    }

    pub(super) fn begin(&self, state: &mut State, by: usize, shard: u8, is_mended: bool) {
        let known = usize::from(shard);
        wish(&mut state.durable.journals[known], &Wish::Raise(Position::BEGINNING));
        let line = Line {
            shard,
            at: state.durable.checkpoints[known].0,
            streams: Known::of(Streams::default()),
            due: [Due::Load].into(),
            on_its_way: Vec::new(),
            returned: Vec::new(),
            leaving: Vec::new(),
        };
        state.readers[by] = Reader { is_mended, line: Some(line) };
    }

    fn load(&self, durable: &Durable, line: &mut Line) {
        let shard = self.shard(line.shard);
        let number = |parent: &usize| ShardNumber(*parent as u32);
        let territory = Territory {
            shard: ShardNumber(line.shard.into()),
            ancestors: shard.parents.iter().map(number).filter(|_| !self.is(Wrong::TakenByNoChild)).collect(),
            range: (!self.is(Wrong::TakenByEveryChild)).then_some(shard.range),
        };
        let here = end_of(line.at);
        let is_ahead = |parked: &SmallParked| {
            let since = parked.row().since;
            (since.shard, &since.place) > (territory.shard, &here) && self.is(Wrong::ParkedWhereSaved)
        };
        let is_taken =
            |parked: &&SmallParked| territory.takes(&parked.row(), hash_key(STREAM)) && !is_ahead(parked);
        let parked: Vec<SmallParked> = durable.parked.values().filter(is_taken).copied().collect();
        let rows = parked.iter().map(SmallParked::row);
        line.streams = Known::of(Streams::at(territory.shard, &here, rows, durable.events_left_out()));
        let here = line.order(line.at, u8::MAX);
        let returned: Vec<_> =
            parked.into_iter().filter(|parked| parked.until.is_some_and(|until| until <= here)).collect();
        if !returned.is_empty() {
            line.due.push_back(Due::RemoveReturned(returned));
        }
    }

    pub(super) fn next(&self, durable: &Durable, line: &Line) -> Option<Next> {
        let view = durable.journals[usize::from(line.shard)].view();
        let (place, next) = (end_of(line.at), line.at.0 + 1);
        let record = Position::new(next.into());
        let is_there = usize::from(next) <= self.shard(line.shard).records.len();
        let effective = match is_there && view.may_release(&record) {
            true => view.entries_before(&place, &record).next(),
            false => view.entries_after(&place).next(),
        };
        if let Some(effective) = effective {
            let SmallEntry::ReEnter(_, _, without) = small_entry(effective.entry) else { return None };
            let after = effective.position.as_u64().expect("positions are small");
            return Some(Next::Entry((after as u8, effective.number as u8), without));
        }
        let may_seal = self.children(line.shard).next().is_some() && !view.journal().sealed;
        is_there.then_some(Next::Record(next)).or(may_seal.then_some(Next::Seal))
    }

    pub(super) fn take_next(&self, state: &mut State, by: usize) {
        let Some(mut line) = state.readers[by].line.take() else { return };
        let next = self.next(&state.durable, &line);
        let journal = &mut state.durable.journals[usize::from(line.shard)];
        let before = line.due.len();
        match next {
            Some(Next::Record(number)) => {
                wish(journal, &Wish::Raise(Position::new(number.into())));
                let nth = self.shard(line.shard).records[usize::from(number) - 1];
                let order = line.order((number, 0), 0);
                self.dispatch(&state.readers[by], &mut line, order.at, &[(order, nth)]);
            }
            Some(Next::Entry(at, without)) => {
                let place = line.order(at, 0).place();
                let back = line.streams.change(|streams| streams.re_enter(hash_of(STREAM), &place));
                let back = back.as_ref().map(SmallParked::of);
                let in_lot = || state.durable.parked.values().next_back().copied();
                let in_lot = in_lot().filter(|_| self.is(Wrong::LotAlone));
                match back.or(in_lot.map(|parked| SmallParked { until: Some(line.order(at, 0)), ..parked })) {
                    Some(back) => line.due.extend([Due::End(back), Due::List(back, without)]),
                    None => line.due.push_back(Due::Deliver(at, Vec::new())),
                }
            }
            Some(Next::Seal) => {
                let end = Position::new(line.at.0.into());
                wish(journal, &Wish::Seal(end));
            }
            None => {}
        }
        if self.is(Wrong::LiveBeforeWaiting) && before > 0 {
            line.due.rotate_left(before);
        }
        state.readers[by].line = Some(line);
        self.deliver(state, by);
    }

    /// Asks of each event whether it is taken, waits or is left out; what must be durable is due.
    fn dispatch(&self, reader: &Reader, line: &mut Line, at: At, events: &[(SmallOrder, Nth)]) {
        let (mut parked, mut waiting, mut touches) = (Vec::new(), Vec::new(), Vec::new());
        for (order, nth) in events {
            let placed = Placed {
                place: order.place(),
                event: event(*nth).into(),
                raised_at: Timestamp::MIN,
                partition_key: nth.0.into(),
            };
            match line.streams.change(|streams| streams.turn(&placed)) {
                Turn::Take if self.is_poison(reader, *nth) && self.bounds.discards => {
                    line.streams.change(|streams| streams.leave_out(hash_of(nth.0), Sequence(nth.1)));
                    parked.push(Due::LeaveOut(nth.1));
                }
                Turn::Take if self.is_poison(reader, *nth) => {
                    let error = Error::poison("");
                    let park = |streams: &mut Streams| streams.park(&placed, &error, Timestamp::MIN);
                    parked.push(Due::Park(SmallParked::of(&line.streams.change(park))));
                    waiting.push(Due::Append(*order, nth.1));
                }
                Turn::Take => touches.push((*order, *nth)),
                Turn::Wait => waiting.push(Due::Append(*order, nth.1)),
                Turn::LeaveOut => {}
            }
        }
        if self.is(Wrong::SettledBeforeItIsDurable) {
            line.deliver(at, &[]);
        }
        let first = if self.is(Wrong::LotBeforeTheRow) { waiting.len() } else { 0 };
        parked.extend(waiting);
        parked.rotate_right(first);
        line.due.extend(parked);
        line.due.push_back(Due::Deliver(at, touches));
    }

    fn deliver(&self, state: &mut State, by: usize) {
        let Some(line) = &mut state.readers[by].line else { return };
        while let Some(Due::Deliver(at, touches)) = line.due.front().cloned() {
            line.deliver(at, &touches);
            line.due.pop_front();
        }
    }

    /// Does what is due first.
    pub(super) fn act(&self, state: &mut State, by: usize) {
        let may_judge =
            state.readers[by].is_mended == state.is_mended || self.is(Wrong::JudgedByTheOlderDefinition);
        let Some(mut line) = state.readers[by].line.take() else { return };
        let durable = &mut state.durable;
        match line.due.pop_front() {
            // It is fenced.
            Some(Due::Park(_) | Due::LeaveOut(_)) if !may_judge => return,
            Some(Due::Park(parked)) => durable.park(parked),
            Some(Due::LeaveOut(sequence)) => {
                durable.left_out.insert(sequence);
            }
            Some(Due::Append(order, sequence)) => durable.append(order, sequence),
            Some(Due::End(_)) if self.is(Wrong::ReturnNotDurable) => {}
            Some(Due::End(parked)) => durable.end(parked),
            Some(Due::Load) => self.load(durable, &mut line),
            Some(Due::RemoveReturned(returned)) => {
                durable.lot.retain(|order, _| !returned.iter().any(|parked| parked.covers(order)));
            }
            Some(Due::List(back, without)) => {
                let waits = |order: &SmallOrder| back.covers(order) || self.is(Wrong::LotAlone);
                let waiting = durable.lot.iter().filter(|(order, _)| waits(order));
                let waiting = waiting.map(|(order, sequence)| (*order, *sequence)).collect();
                line.due.extend(back.until.map(|at| Due::Learn(at, waiting, without)));
            }
            Some(Due::Learn(at, waiting, without)) => {
                self.come_back(durable, &state.readers[by], &mut line, at, &waiting, without);
            }
            Some(Due::Deliver(..)) | None => {}
        }
        state.readers[by].line = Some(line);
        self.deliver(state, by);
    }

    fn come_back(
        &self,
        durable: &mut Durable,
        reader: &Reader,
        line: &mut Line,
        at: SmallOrder,
        waiting: &[(SmallOrder, u64)],
        without: Option<u64>,
    ) {
        let stream = hash_of(STREAM);
        let without = without.filter(|without| waiting.iter().any(|(_, sequence)| sequence == without));
        line.streams.change(|streams| {
            if !self.is(Wrong::NotLearnt) {
                streams.learn(stream, &at.place(), durable.rows(), durable.events_left_out());
            }
            without.iter().for_each(|sequence| streams.leave_out(stream, Sequence(*sequence)));
        });
        line.due.extend(without.map(Due::LeaveOut));
        line.returned.extend(waiting.iter().map(|(order, _)| (at.at, *order)));
        if self.is(Wrong::RemovedBeforeTheCheckpoint) {
            line.leaving.extend(line.returned.drain(..).map(|(_, order)| order));
        }
        // Each once: it may have been parked at several places.
        let mut events = BTreeMap::new();
        for (order, sequence) in waiting {
            events.insert(*sequence, *order);
        }
        let placed = |(sequence, order): (u64, SmallOrder)| {
            let new = SmallOrder { ordinal: sequence as u8, ..at };
            (if self.is(Wrong::OldPlace) { order } else { new }, (STREAM, sequence))
        };
        let events: Vec<_> = events.into_iter().map(placed).collect();
        self.dispatch(reader, line, at.at, &events);
    }

    pub(super) fn is_at_end(&self, durable: &Durable, line: &Line) -> bool {
        let is_sealed = durable.journals[usize::from(line.shard)].sealed;
        is_sealed && self.next(durable, line).is_none() && line.due.is_empty() && line.on_its_way.is_empty()
    }

    /// Commits what is settled, never backwards.
    pub(super) fn save(&self, state: &mut State, by: usize) {
        let Some(mut line) = state.readers[by].line.take() else { return };
        let settled = line.settled();
        let ended = self.is_at_end(&state.durable, &line);
        let checkpoint = &mut state.durable.checkpoints[usize::from(line.shard)];
        *checkpoint = (*checkpoint).max((settled, ended));
        line.leaving.extend(line.returned.extract_if(.., |(at, _)| *at <= settled).map(|(_, order)| order));
        state.readers[by].line = Some(line);
    }
}
