//! Readers of a shard and its child that crash, begin again and are replaced, over streams of which events cannot be taken,
//! against what each document would be if nothing had been wrong.

use std::collections::{BTreeMap, VecDeque};

use foldstream_model::{Event, EventId, EventType, Payload, SchemaVersion, StreamId};
use proptest::prelude::*;

use super::*;

const STREAMS: u64 = 3;
/// Fed by two streams at most.
const DOCUMENTS: u64 = 2;

/// What stands in the shards, in order.
#[derive(Debug, Clone)]
enum Item {
    Record {
        stream: u64,
        sequence: u64,
    },
    /// Another event has the sequence that this one claims, and stands right here if that is kept only now.
    Fork {
        stream: u64,
        sequence: u64,
        is_now: bool,
    },
    ReEntry {
        stream: u64,
        without: Option<u64>,
    },
}

/// The item at an index has this place; from `split` on it is in the child.
#[derive(Debug, Clone)]
struct Log {
    items: Vec<Item>,
    split: usize,
}

impl Log {
    fn order(&self, index: usize) -> ParkedOrder {
        let entry = u32::from(matches!(self.items[index], Item::ReEntry { .. }));
        let place = Place::new(Position::new(index as u128 + 1), entry, 0);
        ParkedOrder { key: None, shard: ShardNumber(u32::from(index >= self.split)), place }
    }

    /// Where one stands who has read so many items.
    fn after(&self, read: usize) -> (ShardNumber, Place) {
        match read {
            0 => (ShardNumber(0), Place::BEGINNING),
            read if read == self.split => (ShardNumber(1), Place::BEGINNING),
            read => {
                let last = self.order(read - 1);
                (last.shard, Place::end(last.place.position, last.place.entry))
            }
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stored {
    /// By shard, up to where its events are in.
    guard: BTreeMap<ShardNumber, Place>,
    /// Stream and sequence, as they were applied.
    applied: Vec<(u64, u64)>,
}

/// What is durable.
#[derive(Debug, Default)]
struct Durable {
    parked: BTreeMap<(u32, Position, u32, u64, u64, bool), ParkedStream>,
    /// Forks, by their index, that an operator has decided about.
    decided: BTreeSet<usize>,
    left_out: BTreeSet<(StreamHash, Sequence)>,
    /// Where an event stood for whoever met it at an item.
    stood: BTreeMap<(usize, u64, u64), ParkedOrder>,
    lot: BTreeMap<(u64, ParkedOrder), u64>,
    documents: BTreeMap<u64, Stored>,
    checkpoint: usize,
}

struct Reader<'a> {
    log: &'a Log,
    streams: Streams,
    read: usize,
    /// Whether the fork that is next was decided when this one looked.
    saw_decided: Option<bool>,
    /// What it cannot take.
    poison: &'a BTreeSet<(u64, u64)>,
    returned: Vec<(usize, (u64, ParkedOrder))>,
    /// On its way to the documents, with what was read by then.
    on_its_way: VecDeque<(usize, ParkedOrder, u64, u64)>,
    /// The shard's end, where it has come there: the child is another line.
    ended: Option<usize>,
}

fn stream_id(stream: u64) -> StreamId {
    StreamId::new(format!("s-{stream}"))
}

fn placed(place: Place, stream: u64, sequence: u64) -> Placed {
    let event = Event {
        stream_id: stream_id(stream),
        sequence: Sequence(sequence),
        id: EventId::new("e"),
        event_type: EventType::new("Added"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::EPOCH,
        effective_at: Timestamp::EPOCH,
        payload: Payload::default(),
        metadata: Payload::default(),
    };
    Placed { place, event: event.into(), raised_at: Timestamp::EPOCH, partition_key: "k".into() }
}

impl Durable {
    fn begin<'a>(&self, log: &'a Log, poison: &'a BTreeSet<(u64, u64)>) -> Reader<'a> {
        let (shard, place) = log.after(self.checkpoint);
        let ancestors = (0..shard.0).map(ShardNumber).collect();
        let territory = Territory { shard, ancestors, range: Some(HashKeyRange::ALL) };
        let ours = self.parked.values().filter(|parked| territory.takes(parked, 7)).cloned();
        let streams = Streams::at(shard, &place, ours, self.left_out.clone());
        Reader {
            log,
            streams,
            read: self.checkpoint,
            saw_decided: None,
            poison,
            returned: Vec::new(),
            on_its_way: VecDeque::new(),
            ended: None,
        }
    }

    fn apply(&mut self, at: &ParkedOrder, stream: u64, sequence: u64) {
        let document = self.documents.entry(stream % DOCUMENTS).or_default();
        let guard = document.guard.entry(at.shard).or_insert(Place::BEGINNING);
        if at.place > *guard {
            guard.clone_from(&at.place);
            document.applied.push((stream, sequence));
        }
    }
}

impl Reader<'_> {
    /// Takes the next item.
    fn take_next(&mut self, durable: &mut Durable) {
        let index = self.read;
        while self.read == index {
            self.step(durable);
        }
    }

    /// Takes the next item, or looks what was decided about it. What it decides itself is durable before anything else.
    fn step(&mut self, durable: &mut Durable) {
        let index = self.read;
        if matches!(self.log.items[index], Item::Fork { .. }) && self.saw_decided.is_none() {
            self.saw_decided = Some(durable.decided.contains(&index));
            return;
        }
        self.read += 1;
        match self.log.items[index].clone() {
            Item::Record { stream, sequence } => self.take(durable, &self.log.order(index), stream, sequence),
            Item::Fork { stream, sequence, is_now } => {
                let at = self.log.order(index);
                let (fork, error) = (placed(at.place.clone(), stream, sequence), Error::poison("fork"));
                let parks = self.saw_decided.take() == Some(false);
                if let Some(parked) = self.streams.at_fork(&fork, &error, Timestamp::EPOCH, parks) {
                    let key = (at.shard.0, at.place.position.clone(), at.place.entry, stream, sequence, true);
                    self.streams.expect(durable.parked.entry(key).or_insert(parked).clone());
                    assert!(
                        self.streams.at_fork(&fork, &error, Timestamp::EPOCH, parks).is_none(),
                        "decided"
                    );
                }
                if is_now {
                    self.take(durable, &at, stream, sequence);
                }
            }
            Item::ReEntry { stream, without } => {
                let at = self.log.order(index);
                let Some(back) = self.streams.re_enter(stream_id(stream).hash(), &at.place) else { return };
                let since = &back.since;
                let key = (
                    since.shard.0,
                    since.place.position.clone(),
                    since.place.entry,
                    stream,
                    back.sequence.0,
                    back.is_fork,
                );
                let until = durable.parked.entry(key).or_insert(back.clone());
                until.until = until.until.take().or(back.until.clone());
                let waits = durable
                    .lot
                    .iter()
                    .filter(|((of, order), _)| *of == stream && order >= since && *order < at);
                let waits: Vec<_> = waits.map(|(key, sequence)| (key.clone(), *sequence)).collect();
                let (known, left_out) = (durable.parked.values().cloned(), durable.left_out.iter().copied());
                self.streams.learn(stream_id(stream).hash(), &at.place, known, left_out);
                self.returned.extend(waits.iter().map(|(key, _)| (self.read, key.clone())));
                let sequences: BTreeSet<u64> = waits.into_iter().map(|(_, sequence)| sequence).collect();
                if let Some(without) = without.filter(|without| sequences.contains(without)) {
                    durable.left_out.insert((stream_id(stream).hash(), Sequence(without)));
                    self.streams.leave_out(stream_id(stream).hash(), Sequence(without));
                }
                for sequence in sequences {
                    let place = place_in(&at.place, Sequence(sequence));
                    self.take(durable, &ParkedOrder { place, ..at.clone() }, stream, sequence);
                }
            }
        }
    }

    fn take(&mut self, durable: &mut Durable, at: &ParkedOrder, stream: u64, sequence: u64) {
        let stood = durable.stood.entry((self.read, stream, sequence)).or_insert_with(|| at.clone());
        assert_eq!(stood, at, "the same event at the same item");
        let event = placed(at.place.clone(), stream, sequence);
        match self.streams.turn(&event) {
            Turn::LeaveOut => return,
            Turn::Take if !self.poison.contains(&(stream, sequence)) => {
                self.on_its_way.push_back((self.read, at.clone(), stream, sequence));
                return;
            }
            Turn::Take => {
                let parked = self.streams.park(&event, &Error::poison("poison"), Timestamp::EPOCH);
                let key = (at.shard.0, at.place.position.clone(), at.place.entry, stream, sequence, false);
                durable.parked.entry(key).or_insert(parked);
            }
            Turn::Wait => {}
        }
        durable.lot.entry((stream, at.clone())).or_insert(sequence);
    }

    fn write(&mut self, durable: &mut Durable) {
        if let Some((_, at, stream, sequence)) = self.on_its_way.pop_front() {
            durable.apply(&at, stream, sequence);
        }
    }

    fn save(&mut self, durable: &mut Durable, removes: bool) {
        let settled = self.on_its_way.front().map_or(self.read, |(read, ..)| read - 1);
        durable.checkpoint = durable.checkpoint.max(settled);
        if removes {
            for (_, key) in self.returned.extract_if(.., |(read, _)| *read <= durable.checkpoint) {
                durable.lot.remove(&key);
            }
        }
    }
}

/// One worker's life: how far it reads, where of that it saves, and whether it removes what came back.
#[derive(Debug, Clone)]
struct Life {
    reads: usize,
    saves: usize,
    removes: bool,
    /// Begins where an older checkpoint was, as one that has slept.
    is_late: bool,
}

fn log() -> impl Strategy<Value = Log> {
    let item = prop_oneof![
        6 => (0..STREAMS).prop_map(|stream| Item::Record { stream, sequence: 0 }),
        1 => (0..STREAMS, any::<bool>())
            .prop_map(|(stream, is_now)| Item::Fork { stream, sequence: 0, is_now }),
        2 => (0..STREAMS, prop::option::of(0u64..6))
            .prop_map(|(stream, without)| Item::ReEntry { stream, without }),
    ];
    (prop::collection::vec(item, 1..40), 0usize..40).prop_map(|(mut items, split)| {
        let mut last = BTreeMap::<u64, u64>::new();
        for item in &mut items {
            match item {
                Item::Record { stream, sequence } | Item::Fork { stream, sequence, is_now: true } => {
                    let last = last.entry(*stream).or_default();
                    *last += 1;
                    *sequence = *last;
                }
                Item::Fork { stream, sequence, .. } => *sequence = last.get(stream).copied().unwrap_or(1),
                Item::ReEntry { .. } => {}
            }
        }
        Log { items, split: split + 1 }
    })
}

fn life() -> impl Strategy<Value = Life> {
    (0usize..30, 0usize..30, any::<bool>(), any::<bool>()).prop_map(|(reads, saves, removes, is_late)| Life {
        reads,
        saves: saves.min(reads),
        removes,
        is_late,
    })
}

fn live(durable: &mut Durable, log: &Log, poison: &BTreeSet<(u64, u64)>, life: &Life, late: usize) {
    let newest = durable.checkpoint;
    if life.is_late {
        durable.checkpoint = late;
    }
    let mut reader = durable.begin(log, poison);
    durable.checkpoint = newest;
    for done in 0..=life.reads.min(log.items.len() - reader.read) {
        if done == life.saves {
            reader.save(durable, life.removes);
        }
        if done < life.reads && reader.read < log.items.len() {
            if reader.read == log.split {
                // The child is another line.
                return;
            }
            reader.take_next(durable);
            while !reader.on_its_way.is_empty() {
                reader.write(durable);
            }
        }
    }
}

/// Works on to the end, as the last of all.
fn finish(durable: &mut Durable, log: &Log, poison: &BTreeSet<(u64, u64)>) {
    while durable.checkpoint < log.items.len() {
        let mut reader = durable.begin(log, poison);
        while reader.read < log.items.len() {
            reader.take_next(durable);
            while !reader.on_its_way.is_empty() {
                reader.write(durable);
            }
            if reader.read == log.split {
                break;
            }
        }
        reader.save(durable, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_event_is_applied_once_in_its_stream_order_or_left_out(
        log in log(),
        poison in prop::collection::btree_set((0..STREAMS, 1u64..6), 0..5),
        lives in prop::collection::vec(life(), 0..8),
        mended_from in 0usize..8,
    ) {
        let mut durable = Durable::default();
        let nothing = BTreeSet::new();
        let mut before = 0;
        for (number, life) in lives.iter().enumerate() {
            let poison = if number < mended_from { &poison } else { &nothing };
            // One that has slept has the definition of its successors: the others have none to be compared with.
            let late = if number == mended_from { durable.checkpoint } else { before };
            let stood = durable.checkpoint;
            let late = late.min(stood);
            live(&mut durable, &log, poison, life, late);
            before = stood;
        }
        let mut log = log;
        let last: Vec<_> = (0..STREAMS).map(|stream| Item::ReEntry { stream, without: None }).collect();
        log.items.extend(last);
        finish(&mut durable, &log, &nothing);
        is_whole(&durable, &log)?;
    }

    #[test]
    fn readers_that_run_at_once_apply_every_event_once(
        log in log(),
        poison in prop::collection::btree_set((0..STREAMS, 1u64..6), 0..5),
        acts in prop::collection::vec(act(), 0..150),
    ) {
        let (mut durable, nothing) = (Durable::default(), BTreeSet::new());
        let mut cannot_take = &poison;
        let mut readers: [Option<Reader<'_>>; 3] = [None, None, None];
        for act in acts {
            match act {
                Act::Begin(of) => readers[of] = Some(durable.begin(&log, cannot_take)),
                Act::Mend => {
                    readers = [None, None, None];
                    cannot_take = &nothing;
                }
                Act::Step(of) => {
                    let is_at_end = |reader: &Reader<'_>| reader.read == log.items.len() || reader.ended == Some(reader.read);
                    if let Some(reader) = readers[of].as_mut().filter(|reader| !is_at_end(reader)) {
                        let before = reader.read;
                        reader.step(&mut durable);
                        reader.ended = (reader.read > before && reader.read == log.split).then_some(log.split);
                    }
                }
                Act::Decide(index) => {
                    durable.decided.insert(index);
                }
                Act::Write(of) => readers[of].iter_mut().for_each(|reader| reader.write(&mut durable)),
                Act::Save(of, removes) => {
                    readers[of].iter_mut().for_each(|reader| reader.save(&mut durable, removes));
                }
            }
        }
        drop(readers);
        let mut log = log.clone();
        let last: Vec<_> = (0..STREAMS).map(|stream| Item::ReEntry { stream, without: None }).collect();
        log.items.extend(last);
        finish(&mut durable, &log, &nothing);
        is_whole(&durable, &log)?;
    }
}

/// What one of three readers does.
#[derive(Debug, Clone)]
enum Act {
    Begin(usize),
    Step(usize),
    Write(usize),
    Save(usize, bool),
    /// An operator leaves out a fork.
    Decide(usize),
    /// All of them end; those that come can take everything.
    Mend,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0usize..3).prop_map(Act::Begin),
        10 => (0usize..3).prop_map(Act::Step),
        10 => (0usize..3).prop_map(Act::Write),
        4 => (0usize..3, any::<bool>()).prop_map(|(of, removes)| Act::Save(of, removes)),
        2 => (0usize..40).prop_map(Act::Decide),
        1 => Just(Act::Mend),
    ]
}

fn is_whole(durable: &Durable, log: &Log) -> Result<(), TestCaseError> {
    for stream in 0..STREAMS {
        let of_stream = |item: &&Item| match item {
            Item::Record { stream: of, .. } | Item::Fork { stream: of, is_now: true, .. } => *of == stream,
            _ => false,
        };
        let events = log.items.iter().filter(of_stream).count() as u64;
        let is_kept =
            |sequence: &u64| !durable.left_out.contains(&(stream_id(stream).hash(), Sequence(*sequence)));
        let expected: Vec<_> = (1..=events).filter(is_kept).collect();
        let document = durable.documents.get(&(stream % DOCUMENTS));
        let applied = document.into_iter().flat_map(|document| &document.applied);
        let applied: Vec<_> =
            applied.filter(|(of, _)| *of == stream).map(|(_, sequence)| *sequence).collect();
        prop_assert_eq!(applied, expected, "stream {}", stream);
    }
    prop_assert!(durable.parked.values().all(|parked| parked.until.is_some()));
    Ok(())
}

/// A stream is parked at its first event, another goes on in the same document, and the mended definition takes over.
fn comes_back_behind_what_went_on(is_saved: bool) {
    let items = vec![
        Item::Record { stream: 0, sequence: 1 },
        Item::Record { stream: 2, sequence: 1 },
        Item::ReEntry { stream: 0, without: None },
    ];
    let log = Log { items, split: 9 };
    let poison = BTreeSet::from([(0, 1)]);
    let mut durable = Durable::default();
    let mut reader = durable.begin(&log, &poison);
    reader.step(&mut durable);
    reader.step(&mut durable);
    if is_saved {
        reader.save(&mut durable, true);
    }
    finish(&mut durable, &log, &BTreeSet::new());
    assert_eq!(durable.documents[&0].applied, [(2, 1), (0, 1)]);
}

/// A reducer fails on (t,1); (s,1) moves the document past it; t comes back, and is not judged by its old place.
#[test]
fn schedule_o_what_comes_back_stands_behind_all_that_went_on() {
    comes_back_behind_what_went_on(true);
}

/// More was read than is saved, by the definition of before. The one of now takes the event, and must not: what came
/// behind it is in the document.
#[test]
fn a_stream_that_was_parked_stays_so_for_who_begins_before_it_with_a_mended_definition() {
    comes_back_behind_what_went_on(false);
}

/// Both children of a split hold the same order state: only the one that takes the stream's keys has it parked.
#[test]
fn schedule_t_a_parked_stream_goes_to_the_child_that_takes_its_keys() {
    let event = placed(Place::new(Position::new(1), 0, 0), 0, 1);
    let mut parent = Streams::at(ShardNumber(0), &Place::BEGINNING, [], BTreeSet::new());
    let parked = parent.park(&event, &Error::poison("poison"), Timestamp::EPOCH);
    let half = u128::MAX / 2;
    let child = |shard, first, last| Territory {
        shard: ShardNumber(shard),
        ancestors: BTreeSet::from([ShardNumber(0)]),
        range: Some(HashKeyRange { first, last }),
    };
    assert!(child(1, 0, half).takes(&parked, 7));
    assert!(!child(2, half + 1, u128::MAX).takes(&parked, 7));
    let unrelated = Territory { ancestors: BTreeSet::new(), ..child(3, 0, half) };
    assert!(!unrelated.takes(&parked, 7));
}

/// One has come back to R, met the same poison, and taken out of the lot what it has parked anew; who has slept comes to R,
/// finds nothing that waits, and must not take it that nothing is parked.
#[test]
fn who_comes_late_to_where_a_stream_came_back_learns_that_it_was_parked_anew() {
    let items = vec![
        Item::Record { stream: 0, sequence: 1 },
        Item::Record { stream: 0, sequence: 2 },
        Item::ReEntry { stream: 0, without: None },
        Item::Record { stream: 0, sequence: 3 },
        Item::ReEntry { stream: 0, without: None },
    ];
    let log = Log { items, split: 9 };
    let poison = BTreeSet::from([(0, 1)]);
    let mut durable = Durable::default();
    let [mut first, mut late] = [durable.begin(&log, &poison), durable.begin(&log, &poison)];
    for _ in 0..2 {
        late.step(&mut durable);
    }
    for _ in 0..3 {
        first.step(&mut durable);
    }
    first.save(&mut durable, true);
    for _ in 0..2 {
        late.step(&mut durable);
        late.write(&mut durable);
    }
    assert_eq!(durable.documents.get(&0), None);
    finish(&mut durable, &log, &BTreeSet::new());
    assert_eq!(durable.documents[&0].applied, [(0, 1), (0, 2), (0, 3)]);
}

/// One has looked and will park the stream, an operator leaves the fork out, another comes to it: whoever of the two makes it
/// durable first decides for both.
#[test]
fn what_becomes_of_the_stream_of_a_fork_is_decided_once() {
    let items = vec![
        Item::Record { stream: 0, sequence: 1 },
        Item::Fork { stream: 0, sequence: 1, is_now: false },
        Item::Record { stream: 0, sequence: 2 },
        Item::ReEntry { stream: 0, without: None },
    ];
    let (log, poison) = (Log { items, split: 9 }, BTreeSet::new());
    for parks_first in [true, false] {
        let mut durable = Durable::default();
        let [mut before, mut behind] = [durable.begin(&log, &poison), durable.begin(&log, &poison)];
        for _ in 0..2 {
            before.step(&mut durable);
        }
        durable.decided.insert(1);
        let mut both = [&mut before, &mut behind];
        if !parks_first {
            both.reverse();
        }
        for reader in both {
            while reader.read < log.items.len() {
                reader.step(&mut durable);
                reader.write(&mut durable);
            }
        }
        assert_eq!(durable.documents[&0].applied, [(0, 1), (0, 2)], "{parks_first}");
        let places: Vec<_> = durable.parked.values().map(ParkedStream::is_void).collect();
        assert_eq!(places, [!parks_first]);
    }
}

/// It is parked at P, and anew at R where it came back: whoever comes from before P to R brings back what began at P.
#[test]
fn a_stream_that_is_parked_anew_at_its_first_event_comes_back_as_it_was_parked_before() {
    let entry = || Item::ReEntry { stream: 0, without: None };
    let log = Log { items: vec![Item::Record { stream: 0, sequence: 0 }, entry(), entry()], split: 9 };
    let poison = BTreeSet::from([(0, 0)]);
    let mut durable = Durable::default();
    for _ in 0..2 {
        let mut reader = durable.begin(&log, &poison);
        for _ in 0..2 {
            reader.step(&mut durable);
        }
        let ended: Vec<_> = durable.parked.values().map(|parked| parked.until.is_some()).collect();
        assert_eq!(ended, [true, false]);
    }
    finish(&mut durable, &log, &BTreeSet::new());
    assert_eq!(durable.documents[&0].applied, [(0, 0)]);
}
