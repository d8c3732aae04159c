//! Merges of several workers over one store, every kind of fault, against the sorted order.
//!
//! Shard 0 splits into 1 and 2; shard 3 stands beside them. Records arrive in time or late; each worker merges the shards
//! on its own, from the checkpoints on, and one that was replaced lives on beside the new one. Some events cannot be taken
//! until the code is mended: their documents are parked, and redriven while all that goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Duration,
};

use foldstream_model::{
    DocumentKey, Epoch, Mark, OnFailure, OrderKey, Ordering, Place, ShardNumber, Timestamp,
    ports::{DocumentWrite, StoredDocument, Written},
};
use proptest::prelude::*;

use crate::{
    guard::Origin,
    lanes::{
        Lane, LaneMode, LaneOptions, LateEvent, LineId, ParkRequest, lane_of,
        tests::{
            lot::Lot,
            toy::{Chance, Deed, Store, carrying, delivery, name_of, origin, place, touch},
        },
    },
    merge::{Merge, MergeRead},
    parking::{Redrive, Step, Waiting},
    progress::BatchId,
};

const SHARDS: usize = 4;
const LANES: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const LATENESS: i64 = 4;
const KEYS: [&str; 3] = ["x", "y", "z"];

/// What kind of source the records come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Punctuality {
    /// Records come as late as they like.
    None,
    /// No record comes later than is allowed.
    Punctual,
    /// So it is, and the source states a low watermark; the workers' clock is far ahead of the events.
    Stated,
}

struct Record {
    arrives: i64,
    origin: Origin,
    /// And whether its change fails in code that is not mended.
    keys: Vec<(&'static str, bool)>,
}

struct World {
    punctuality: Punctuality,
    shards: [Vec<Record>; SHARDS],
    splits_at: i64,
    now: i64,
    store: Store,
    late: BTreeSet<(DocumentKey, String)>,
    lot: Lot,
    is_mended: bool,
    checkpoints: [usize; SHARDS],
    delayed: Vec<DocumentWrite>,
    /// And how many of the events it holds.
    delayed_parking: Vec<(ParkRequest, usize)>,
    lines: u64,
    faults: bool,
}

struct Reading {
    line: LineId,
    next: usize,
    open: BTreeMap<BatchId, usize>,
}

struct Worker {
    merge: Merge,
    lanes: Vec<Lane>,
    /// It runs the code of before.
    is_old: bool,
    readings: [Option<Reading>; SHARDS],
    /// Shards that may begin to be read, for the first time or again.
    startable: BTreeSet<usize>,
    reads: Vec<(DocumentKey, Option<StoredDocument>)>,
    writes: Vec<(DocumentKey, Option<Written>)>,
    late: Vec<LateEvent>,
    parking: Vec<ParkRequest>,
}

/// The raised time of an event, when it arrives, its stream and sequence.
fn facts(chance: &mut Chance, punctuality: Punctuality) -> Vec<(i64, i64, &'static str, u64)> {
    let (mut time, mut facts) = (0, Vec::new());
    let mut streams = BTreeMap::<&str, (i64, i64, u64)>::new();
    for _ in 0..3 + chance.below(8) {
        let stream = ["s", "t", "u", "w"][chance.below(4)];
        time += [0, 1, 1, 2, 5][chance.below(5)];
        let allowed = match punctuality {
            Punctuality::None if chance.percent(50) => 3 * LATENESS + 2,
            _ => LATENESS,
        };
        let stepped_back = punctuality == Punctuality::None && chance.percent(20);
        let (last_time, last_arrival, sequence) = streams.get(stream).copied().unwrap_or((0, 0, 0));
        let recorded = last_time.max(if stepped_back { time - 3 } else { time });
        let arrives = last_arrival.max(time + chance.below(allowed as usize + 1) as i64);
        streams.insert(stream, (recorded, arrives, sequence + 1));
        facts.push((recorded, arrives, stream, sequence + 1));
    }
    facts.sort_by_key(|(_, arrives, ..)| *arrives);
    facts
}

fn world(punctuality: Punctuality, chance: &mut Chance) -> World {
    let facts = facts(chance, punctuality);
    let splits_at = facts[chance.below(facts.len())].1;
    let poison = [0, 12][chance.below(2)];
    let mut shards: [Vec<Record>; SHARDS] = Default::default();
    for (recorded, arrives, stream, sequence) in facts {
        let shard = match stream {
            "u" | "w" => 3,
            _ if arrives < splits_at => 0,
            "s" => 1,
            _ => 2,
        };
        let at = place(shards[shard].len() as u64 + 1);
        let mut origin = origin(shard as u32, at, stream, sequence);
        origin.recorded_at = Timestamp::from_seconds(recorded);
        let keys: Vec<_> = KEYS.into_iter().filter(|_| chance.percent(60)).collect();
        let keys = keys.into_iter().map(|key| (key, chance.percent(poison))).collect();
        shards[shard].push(Record { arrives, origin, keys });
    }
    World {
        punctuality,
        shards,
        splits_at,
        now: 0,
        store: Store::default(),
        late: BTreeSet::new(),
        lot: Lot::default(),
        is_mended: false,
        checkpoints: [0; SHARDS],
        delayed: Vec::new(),
        delayed_parking: Vec::new(),
        lines: 0,
        faults: true,
    }
}

impl Record {
    fn touches(&self, key: &str) -> bool {
        self.keys.iter().any(|(touched, _)| *touched == key)
    }
}

impl World {
    /// What the event does to the document by now.
    fn deed(&self, key: &str, of: &Origin) -> Deed {
        let record = self.shards.iter().flatten().find(|record| record.origin == *of);
        let keys = record.into_iter().flat_map(|record| &record.keys);
        let fails = keys.into_iter().any(|(touched, fails)| *touched == key && *fails);
        if fails && !self.is_mended { Deed::Fail } else { Deed::Name }
    }

    fn arrived(&self, shard: usize) -> usize {
        self.shards[shard].iter().filter(|record| record.arrives <= self.now).count()
    }

    fn is_closed(&self, shard: usize) -> bool {
        shard == 0 && self.now >= self.splits_at
    }

    fn is_settled(&self) -> bool {
        (0..SHARDS).all(|shard| self.checkpoints[shard] == self.shards[shard].len())
    }

    /// The parent's checkpoint is at its end.
    fn has_ended(&self, shard: usize) -> bool {
        self.is_closed(shard) && self.checkpoints[shard] == self.shards[shard].len()
    }

    /// The clock of the workers.
    fn clock(&self) -> Timestamp {
        let ahead = if self.punctuality == Punctuality::Stated { 1_000 } else { 0 };
        Timestamp::from_seconds(self.now + ahead)
    }

    fn low_watermark(&self) -> Option<Timestamp> {
        let coming = self.shards.iter().flatten().filter(|record| record.arrives > self.now);
        let first = coming.map(|record| record.origin.recorded_at).min();
        let stated = first.map_or(Timestamp::from_seconds(1_000), |first| first.plus_micros(-1));
        (self.punctuality == Punctuality::Stated).then_some(stated)
    }

    fn worker(&mut self, chance: &mut Chance) -> Worker {
        let cache_bytes = [0, 1_000, 1_000_000][chance.below(3)];
        let options = LaneOptions {
            ordering: Ordering::Global,
            epoch: Epoch(1),
            mode: LaneMode::Live(OnFailure::Park),
            cache_bytes,
        };
        let mut worker = Worker {
            merge: Merge::new(Duration::from_secs(LATENESS as u64)),
            lanes: (0..LANES.get()).map(|_| Lane::new(options)).collect(),
            is_old: !self.is_mended,
            readings: Default::default(),
            startable: BTreeSet::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            late: Vec::new(),
            parking: Vec::new(),
        };
        for shard in 0..SHARDS {
            let is_begun = matches!(shard, 0 | 3) || self.has_ended(0) || self.checkpoints[shard] > 0;
            match self.has_ended(shard) {
                true => worker.lanes.iter_mut().for_each(|lane| lane.closed(ShardNumber(shard as u32))),
                false if is_begun => worker.begin(self, shard, chance),
                false => {}
            }
        }
        worker
    }

    fn verify(&self) -> bool {
        let order_of = |name: &String| -> OrderKey {
            let record = self.shards.iter().flatten().find(|record| name_of(&record.origin) == *name);
            record.expect("names are of records").origin.order_key()
        };
        for key in KEYS {
            let touching = self.shards.iter().flatten().filter(|record| record.touches(key));
            let expected: BTreeSet<_> = touching.map(|record| name_of(&record.origin)).collect();
            let found = self.store.names(key);
            let applied: BTreeSet<_> = found.iter().cloned().collect();
            assert_eq!(applied.len(), found.len(), "applied once: {found:?}");
            let late = self.late.iter().filter(|(late_key, _)| late_key.as_str() == key);
            let late: BTreeSet<_> = late.map(|(_, name)| name.clone()).collect();
            assert_eq!(applied.intersection(&late).count(), 0, "applied or late");
            assert_eq!(applied.union(&late).cloned().collect::<BTreeSet<_>>(), expected, "nothing is lost");
            assert!(found.iter().map(order_of).is_sorted(), "in order: {found:?}");
        }
        if self.punctuality != Punctuality::None {
            assert_eq!(self.late, BTreeSet::new(), "nothing came later than is allowed");
        }
        !self.late.is_empty()
    }
}

impl Worker {
    fn lane(&mut self, key: &DocumentKey) -> &mut Lane {
        &mut self.lanes[lane_of(key, LANES)]
    }

    fn tell_bounds(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.merged([], self.merge.bounds()));
    }

    /// Begins to read a shard, or begins again, at its checkpoint.
    fn begin(&mut self, world: &mut World, shard: usize, chance: &mut Chance) {
        self.leave(shard);
        let next = world.checkpoints[shard];
        let from = if next == 0 { Place::BEGINNING } else { place(next as u64) };
        let settled = world.shards[shard].iter().take(next).map(|record| record.origin.recorded_at).max();
        let settled = settled.filter(|_| chance.percent(50));
        self.merge.begin(ShardNumber(shard as u32), from, settled);
        world.lines += 1;
        self.readings[shard] = Some(Reading { line: LineId(world.lines), next, open: BTreeMap::new() });
        self.tell_bounds();
    }

    /// Gives the reading of a shard up.
    fn leave(&mut self, shard: usize) {
        if let Some(reading) = self.readings[shard].take() {
            self.merge.expect(ShardNumber(shard as u32));
            self.lanes.iter_mut().for_each(|lane| lane.abandon(reading.line));
            self.tell_bounds();
            self.startable.insert(shard);
        }
    }

    /// Reads some records of a shard; at the end of the parent its children may begin.
    fn step(&mut self, world: &mut World, shard: usize, chance: &mut Chance) {
        if self.startable.remove(&shard) {
            self.begin(world, shard, chance);
        }
        let Some(reading) = &mut self.readings[shard] else { return };
        let mut deliveries: Vec<Vec<_>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let mut newest = None;
        let to = world.arrived(shard).min(reading.next + 1 + chance.below(3));
        for record in &world.shards[shard][reading.next.min(to)..to] {
            newest = newest.max(Some(record.origin.recorded_at));
            let batch = BatchId(record.origin.place.position.as_u64().unwrap());
            reading.open.insert(batch, record.keys.len());
            for (key, fails) in &record.keys {
                let deed = if *fails && self.is_old { Deed::Fail } else { Deed::Name };
                let delivery = carrying(delivery(reading.line.0, record.origin.clone(), key, deed));
                deliveries[lane_of(&DocumentKey::new(*key), LANES)].push(delivery);
            }
        }
        reading.next = reading.next.max(to);
        let number = ShardNumber(shard as u32);
        let is_tip = to == world.arrived(shard) && !world.is_closed(shard);
        let read = MergeRead {
            up_to: if reading.next == 0 { Place::BEGINNING } else { place(reading.next as u64) },
            newest,
            tip: is_tip.then(|| world.clock()),
            low_watermark: world.low_watermark(),
        };
        self.merge.read(number, read);
        let is_at_end = world.is_closed(shard) && reading.next == world.shards[shard].len();
        for (lane, deliveries) in self.lanes.iter_mut().zip(deliveries) {
            lane.merged(deliveries, self.merge.bounds());
        }
        if is_at_end {
            self.merge.ended(number, &[ShardNumber(1), ShardNumber(2)]);
            self.startable.extend([1, 2].into_iter().filter(|child| self.readings[*child].is_none()));
            self.tell_bounds();
        }
    }

    fn read(&mut self, world: &World, chance: &mut Chance) {
        for lane in &mut self.lanes {
            for key in lane.to_read(1 + chance.below(2)) {
                let stored = world.store.read(&key);
                match world.faults && chance.percent(30) {
                    true => self.reads.push((key, stored)),
                    false => lane.loaded(&key, stored),
                }
            }
        }
    }

    fn write(&mut self, world: &mut World, chance: &mut Chance) {
        for lane in &mut self.lanes {
            for write in lane.to_write(1 + chance.below(2)) {
                let key = write.key.clone();
                match if world.faults { chance.below(10) } else { 9 } {
                    0 => {
                        world.delayed.push(write);
                        self.writes.push((key, None));
                    }
                    1 => {
                        world.store.write(&write);
                        lane.unknown([&key]);
                    }
                    2 => self.writes.push((key, Some(world.store.write(&write)))),
                    _ => lane.written(&key, world.store.write(&write)),
                }
            }
            self.late.extend(lane.take_late());
        }
    }

    fn answer(&mut self, world: &mut World, chance: &mut Chance) {
        if !self.reads.is_empty() {
            let (key, stored) = self.reads.swap_remove(chance.below(self.reads.len()));
            self.lane(&key).loaded(&key, stored);
        }
        if !self.writes.is_empty() {
            match self.writes.swap_remove(chance.below(self.writes.len())) {
                (key, Some(written)) => self.lane(&key).written(&key, written),
                (key, None) => self.lane(&key).unknown([&key]),
            }
        }
        if chance.percent(50) {
            let late = std::mem::take(&mut self.late);
            world.late.extend(late.iter().map(|event| (event.key.clone(), name_of(&event.origin))));
            late.iter().for_each(|event| self.lane(&event.key).late_recorded(&event.key));
        }
    }

    fn park(&mut self, world: &mut World, chance: &mut Chance) {
        let asked = self.lanes.iter_mut().flat_map(Lane::take_parking);
        self.parking.extend(asked);
        if self.parking.is_empty() {
            return;
        }
        let request = self.parking.swap_remove(chance.below(self.parking.len()));
        let at_most = if world.faults { 1 + chance.below(4) } else { usize::MAX };
        if world.faults && chance.percent(20) {
            // Done again later, by a request that was on its way.
            world.delayed_parking.push((request.clone(), at_most));
        }
        let answer = world.lot.append(Ordering::Global, &request, at_most);
        if world.faults && chance.percent(15) {
            // Done, and nobody heard: it is asked for again.
            return self.parking.push(request);
        }
        self.lane(&request.key).parked(&request.key, answer);
    }

    fn checkpoint(&mut self, world: &mut World) {
        for lane in &mut self.lanes {
            assert!(lane.take_poison().is_empty());
            for (line, batch, count) in lane.take_settled() {
                let reading = self.readings.iter_mut().flatten().find(|reading| reading.line == line);
                let open =
                    reading.expect("only lines that were not abandoned settle").open.get_mut(&batch).unwrap();
                *open = open.checked_sub(count).expect("an event settles once");
            }
        }
        for (shard, reading) in self.readings.iter().enumerate() {
            let Some(reading) = reading else { continue };
            let waiting =
                reading.open.iter().find(|(_, open)| **open > 0).map(|(batch, _)| batch.0 as usize - 1);
            world.checkpoints[shard] = world.checkpoints[shard].max(waiting.unwrap_or(reading.next));
        }
        if world.has_ended(0) {
            self.lanes.iter_mut().for_each(|lane| lane.closed(ShardNumber(0)));
        }
    }

    fn act(&mut self, world: &mut World, chance: &mut Chance) {
        match chance.below(20) {
            0..=6 => self.step(world, chance.below(SHARDS), chance),
            7..=9 => self.read(world, chance),
            10..=13 => self.write(world, chance),
            14..=15 => self.answer(world, chance),
            16 => self.park(world, chance),
            17..=18 => self.checkpoint(world),
            _ if chance.percent(50) => self.lanes.iter_mut().for_each(Lane::clear_cache),
            _ => {
                self.leave(chance.below(SHARDS));
            }
        }
    }
}

fn arrive(world: &mut World, chance: &mut Chance) {
    if !world.delayed.is_empty() {
        let write = world.delayed.swap_remove(chance.below(world.delayed.len()));
        world.store.write(&write);
    }
    if !world.delayed_parking.is_empty() {
        let of_them = chance.below(world.delayed_parking.len());
        let (request, at_most) = world.delayed_parking.swap_remove(of_them);
        world.lot.append(Ordering::Global, &request, at_most);
    }
}

fn begin_redrive(chance: &mut Chance) -> (DocumentKey, Redrive) {
    let document = DocumentKey::new(KEYS[chance.below(KEYS.len())]);
    (document.clone(), Redrive::new(document, Ordering::Global, Epoch(1), false))
}

/// Does one step of a redrive, or loses it; true when it has ended.
fn redrive((document, redrive): &mut (DocumentKey, Redrive), world: &mut World, chance: &mut Chance) -> bool {
    match redrive.step() {
        Step::List => {
            let waiting = world.lot.of(document).take(1 + chance.below(4)).map(|(order, origin)| {
                let deed = world.deed(document.as_str(), origin);
                let touch = touch(document.as_str(), name_of(origin), deed);
                let is_late = world.late.contains(&(document.clone(), name_of(origin)));
                Waiting { order: order.clone(), origin: origin.clone(), touch, is_discarded: false, is_late }
            });
            redrive.listed(waiting.collect(), Vec::new());
        }
        Step::Read => redrive.read(world.store.read(document)),
        Step::Write(write) => {
            let luck = if world.faults { chance.below(10) } else { 9 };
            match world.store.try_write(write, luck, &mut world.delayed) {
                Some(written) => redrive.written(written),
                None => redrive.unknown(),
            }
        }
        Step::RecordLate(late) => {
            world.late.extend(late.iter().map(|event| (event.key.clone(), name_of(&event.origin))));
            redrive.late_recorded();
        }
        Step::Remove(orders) => {
            world.lot.remove(document, &orders);
            redrive.removed();
        }
        Step::Close(mark) => redrive.closed(world.lot.close(document, mark)),
        Step::Decide(_) => unreachable!("no discard is asked for"),
        Step::Ended(_) => return true,
    }
    false
}

/// Redrives until nothing waits and no mark is open; says whether anything had waited.
fn redrive_all(world: &mut World, chance: &mut Chance) -> bool {
    world.is_mended = true;
    world.faults = false;
    let waits = !world.lot.events.is_empty();
    for key in KEYS.map(DocumentKey::new) {
        let mut one = (key.clone(), Redrive::new(key, Ordering::Global, Epoch(1), false));
        for step in 0.. {
            assert!(step < 1_000, "a redrive does not end");
            if redrive(&mut one, world, chance) {
                break;
            }
        }
    }
    assert!(world.lot.events.is_empty(), "something waits");
    let is_open = |stored: &StoredDocument| matches!(stored.guard.mark, Some(Mark::Set(_)));
    assert!(!world.store.documents.values().any(is_open), "a mark was left");
    waits
}

/// Runs a world to its end and compares; says whether there were late events, and whether events waited at the end.
fn simulate(punctuality: Punctuality, seed: u64) -> (bool, bool) {
    let chance = &mut Chance::new(seed);
    let world = &mut world(punctuality, chance);
    let mut workers = [world.worker(chance), world.worker(chance)];
    let mut redrives = [begin_redrive(chance), begin_redrive(chance)];
    let mend_at = chance.below(1_000);
    for round in 0..chance.below(700) {
        let which = chance.below(2);
        world.is_mended |= round >= mend_at;
        match chance.below(110) {
            100.. => {
                if redrive(&mut redrives[which], world, chance) || chance.percent(3) {
                    redrives[which] = begin_redrive(chance);
                }
            }
            0..=80 => workers[which].act(world, chance),
            81..=83 => workers[which] = world.worker(chance),
            84..=95 => world.now += 1,
            _ => arrive(world, chance),
        }
    }
    let mut last = world.worker(chance);
    for round in 0..1_500 {
        world.faults = round < 400;
        if world.is_settled() && world.now > world.splits_at {
            break;
        }
        if round % 4 == 0 {
            world.now += 1;
        }
        if round % 100 == 99 && round < 400 {
            last = world.worker(chance);
        }
        (0..SHARDS).for_each(|shard| last.step(world, shard, chance));
        last.read(world, chance);
        last.write(world, chance);
        last.answer(world, chance);
        last.park(world, chance);
        last.checkpoint(world);
        if world.faults {
            workers[chance.below(2)].act(world, chance);
            if chance.percent(20) {
                arrive(world, chance);
            }
        }
        assert!(round < 1_499, "it does not end: {:?}", last.merge);
    }
    let waited = redrive_all(world, chance);
    world.verify();
    while !world.delayed.is_empty() || !world.delayed_parking.is_empty() {
        arrive(world, chance);
    }
    for _ in 0..40 {
        workers[chance.below(2)].act(world, chance);
    }
    redrive_all(world, chance);
    (world.verify(), waited)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn each_event_is_applied_in_order_or_recorded_as_late_whatever_fails(seed: u64) {
        simulate(Punctuality::None, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn nothing_is_late_where_no_record_comes_later_than_allowed(seed: u64) {
        simulate(Punctuality::Punctual, seed);
    }

    #[test]
    fn nothing_is_late_where_the_source_states_a_low_watermark_whatever_the_clock(seed: u64) {
        simulate(Punctuality::Stated, seed);
    }
}

#[test]
fn late_and_parked_events_happen_but_not_always() {
    let met: Vec<_> = (0..300).map(|seed| simulate(Punctuality::None, seed)).collect();
    for with in [met.iter().filter(|met| met.0).count(), met.iter().filter(|met| met.1).count()] {
        assert!((30..270).contains(&with), "{with}");
    }
}
