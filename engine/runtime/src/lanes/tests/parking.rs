//! Lanes of several workers that park or discard, and several redrives, over one store and one lot, every kind of fault,
//! against a sequential fold.
//!
//! Shard 0 splits into 1 and 2. Some events cannot be taken until the code is mended; a worker of before goes on
//! beside those of after. So does one that discards, when those that are started later park. Some documents are refused by
//! the store as long as they end with a certain event.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    DocumentKey, Epoch, Mark, OnFailure, Ordering, ParkedOrder, ShardNumber,
    ports::{DocumentWrite, StoredDocument, Written},
};
use proptest::prelude::*;

use super::lot::Lot;
use super::toy::{
    Chance, Deed, Reading, Store, carrying, checkpoint, delivery, name_of, names_in, origin, place, touch,
};
use crate::{
    guard::Origin,
    lanes::{Discard, Lane, LaneMode, LaneOptions, LineId, ParkAnswer, ParkRequest},
    parking::{Asked, Decision, Redrive, Step, Waiting, parked_order},
    progress::BatchId,
};

const SHARDS: usize = 3;
const KEYS: [&str; 3] = ["x", "y", "z"];

struct Record {
    origin: Origin,
    touches: Vec<(String, bool)>,
}

struct World {
    ordering: Ordering,
    shards: [Vec<Record>; SHARDS],
    store: Store,
    lot: Lot,
    checkpoints: [usize; SHARDS],
    delayed: Vec<DocumentWrite>,
    /// And how many of the events it holds.
    delayed_parking: Vec<(ParkRequest, usize)>,
    lines: u64,
    faults: bool,
    is_mended: bool,
    /// Of the workers that are started now.
    on_failure: OnFailure,
    /// Events that an operator wants to be left out, and what came of it, once that is decided.
    discards: BTreeMap<(DocumentKey, ParkedOrder), Option<Decision>>,
    /// What an operator has ever seen in the lot.
    seen: BTreeSet<(DocumentKey, ParkedOrder)>,
    met: BTreeSet<&'static str>,
}

struct Worker {
    lane: Lane,
    /// It runs the code of before.
    is_old: bool,
    on_failure: OnFailure,
    readings: [Option<Reading>; SHARDS],
    writes: Vec<(DocumentKey, Option<Written>)>,
    parking: Vec<ParkRequest>,
    discards: Vec<Discard>,
}

fn world(ordering: Ordering, chance: &mut Chance) -> World {
    let mut shards: [Vec<Record>; SHARDS] = Default::default();
    let mut sequences = BTreeMap::<&str, u64>::new();
    let (length, split) = (2 + chance.below(20), chance.below(22));
    for number in 0..length {
        let stream = ["a", "b", "c"][chance.below(3)];
        let sequence = sequences.entry(stream).and_modify(|sequence| *sequence += 1).or_insert(1);
        let shard = match (number < split, stream) {
            (true, _) => 0,
            (false, "a") => 1,
            (false, _) => 2,
        };
        let at = place(shards[shard].len() as u64 + 1);
        let touches = match ordering {
            Ordering::PerStream => vec![(stream.to_owned(), chance.percent(12))],
            _ => {
                let touched = KEYS.iter().filter(|_| chance.percent(50)).collect::<Vec<_>>();
                touched.iter().map(|key| (key.to_string(), chance.percent(8))).collect()
            }
        };
        shards[shard].push(Record { origin: origin(shard as u32, at, stream, *sequence), touches });
    }
    let names = shards.iter().flatten().map(|record| name_of(&record.origin));
    let share = [0, 10][chance.below(2)];
    let refused_last = names.filter(|_| chance.percent(share)).collect();
    World {
        ordering,
        shards,
        store: Store { refused_last, ..Store::default() },
        lot: Lot::default(),
        checkpoints: [0; SHARDS],
        delayed: Vec::new(),
        delayed_parking: Vec::new(),
        lines: 0,
        faults: true,
        is_mended: false,
        on_failure: OnFailure::Park,
        discards: BTreeMap::new(),
        seen: BTreeSet::new(),
        met: BTreeSet::new(),
    }
}

impl World {
    fn ended(&self, shard: usize) -> bool {
        (shard == 0 || self.ended(0)) && self.checkpoints[shard] == self.shards[shard].len()
    }

    fn worker(&self, chance: &mut Chance) -> Worker {
        let cache_bytes = [0, 900, 1_000_000, 1_000_000][chance.below(4)];
        let mode = LaneMode::Live(self.on_failure);
        let mut lane = Lane::new(LaneOptions { ordering: self.ordering, epoch: Epoch(1), mode, cache_bytes });
        (0..SHARDS)
            .filter(|shard| self.ended(*shard))
            .for_each(|shard| lane.closed(ShardNumber(shard as u32)));
        Worker {
            lane,
            is_old: !self.is_mended,
            on_failure: self.on_failure,
            readings: Default::default(),
            writes: Vec::new(),
            parking: Vec::new(),
            discards: Vec::new(),
        }
    }

    fn mend(&mut self) {
        self.is_mended = true;
        self.store.refused_last.clear();
    }

    /// What a lane has discarded: nobody else had anything to say of that event.
    fn record(&mut self, discard: &Discard) {
        let order = parked_order(self.ordering, &discard.event.origin);
        let decision = Decision { order: order.clone(), is_discarded: true };
        let key = (discard.key.clone(), order);
        assert_eq!(self.discards.entry(key).or_insert(Some(decision.clone())), &Some(decision));
        self.met.insert("discarded at once");
    }

    fn fails(&self, document: &str, of: &Origin) -> bool {
        let records = &self.shards[of.shard.0 as usize];
        let record = records.iter().find(|record| record.origin == *of).expect("an event of this world");
        record.touches.iter().any(|(key, fails)| key == document && *fails)
    }

    fn is_discarded(&self, document: &DocumentKey, order: &ParkedOrder) -> bool {
        let discard = self.discards.get(&(document.clone(), order.clone()));
        discard.is_some_and(|decision| decision.as_ref().is_some_and(|decision| decision.is_discarded))
    }

    fn asked(&self, document: &DocumentKey) -> Vec<Asked> {
        let of_it = self.discards.iter().filter(|((of, _), decision)| of == document && decision.is_none());
        let asked =
            of_it.map(|((_, order), _)| Asked { order: order.clone(), origin: self.origin_at(order) });
        asked.collect()
    }

    fn origin_at(&self, order: &ParkedOrder) -> Origin {
        let records = &self.shards[order.shard.0 as usize];
        let record = records.iter().find(|record| record.origin.place == order.place);
        record.expect("an event of this world").origin.clone()
    }

    /// The names in each document as one reader of the mended code would have left them, by stream.
    fn expected(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut documents = BTreeMap::<_, Vec<String>>::new();
        for record in self.shards.iter().flatten() {
            for (key, _) in &record.touches {
                let cell = (key.clone(), record.origin.stream.to_string());
                let order = parked_order(self.ordering, &record.origin);
                if self.is_discarded(&DocumentKey::new(key.as_str()), &order) {
                    continue;
                }
                documents.entry(cell).or_default().push(name_of(&record.origin));
            }
        }
        documents
    }

    fn found(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut documents = BTreeMap::<_, Vec<String>>::new();
        for (key, stored) in &self.store.documents {
            for name in names_in(stored.document.as_ref()) {
                let stream = name.split('/').next().unwrap_or_default().to_owned();
                documents.entry((key.to_string(), stream)).or_default().push(name);
            }
        }
        documents
    }

    /// Nothing is applied before what it stands behind.
    fn check_prefixes(&self) {
        let expected = self.expected();
        for (cell, found) in self.found() {
            let expected = expected.get(&cell).cloned().unwrap_or_default();
            assert!(expected.starts_with(&found), "{cell:?} {found:?} is not how {expected:?} begins");
        }
    }
}

impl Worker {
    fn step(&mut self, world: &mut World, shard: usize) {
        if shard > 0 && !world.ended(0) {
            return;
        }
        let reading = self.readings[shard].get_or_insert_with(|| {
            world.lines += 1;
            Reading { line: LineId(world.lines), next: world.checkpoints[shard], open: BTreeMap::new() }
        });
        let Some(record) = world.shards[shard].get(reading.next) else { return };
        reading.next += 1;
        let batch = BatchId(reading.next as u64);
        reading.open.insert(batch, record.touches.len());
        for (key, fails) in &record.touches {
            let deed = if *fails && self.is_old { Deed::Fail } else { Deed::Name };
            self.lane.deliver(carrying(delivery(reading.line.0, record.origin.clone(), key, deed)));
        }
    }

    fn work(&mut self, world: &mut World, chance: &mut Chance) {
        for key in self.lane.to_read(1 + chance.below(3)) {
            self.lane.loaded(&key, world.store.read(&key));
        }
        for write in self.lane.to_write(1 + chance.below(3)) {
            let key = write.key.clone();
            match if world.faults { chance.below(10) } else { 9 } {
                0 => {
                    world.delayed.push(write);
                    self.writes.push((key, None));
                }
                1 => {
                    world.store.write(&write);
                    self.lane.unknown([&key]);
                }
                2 => self.writes.push((key, Some(world.store.write(&write)))),
                _ => self.lane.written(&key, world.store.write(&write)),
            }
        }
    }

    fn answer(&mut self, chance: &mut Chance) {
        if !self.writes.is_empty() {
            match self.writes.swap_remove(chance.below(self.writes.len())) {
                (key, Some(written)) => self.lane.written(&key, written),
                (key, None) => self.lane.unknown([&key]),
            }
        }
    }

    fn park(&mut self, world: &mut World, chance: &mut Chance) {
        self.parking.extend(self.lane.take_parking());
        if self.parking.is_empty() {
            return;
        }
        let request = self.parking.swap_remove(chance.below(self.parking.len()));
        let at_most = if world.faults { 1 + chance.below(4) } else { usize::MAX };
        if world.faults && chance.percent(10) {
            // Done again later, by a request that was on its way.
            world.delayed_parking.push((request.clone(), at_most));
        }
        if world.faults && chance.percent(15) {
            // Done, and nobody heard: it is asked for again.
            world.lot.append(world.ordering, &request, at_most);
            return self.parking.push(request);
        }
        let answer = world.lot.append(world.ordering, &request, at_most);
        world.met.insert(match answer {
            ParkAnswer::Closed => "closed mark met",
            _ => "parked",
        });
        self.lane.parked(&request.key, answer);
    }

    fn record(&mut self, world: &mut World, chance: &mut Chance) {
        self.discards.extend(self.lane.take_discards());
        if self.discards.is_empty() {
            return;
        }
        let discard = self.discards.swap_remove(chance.below(self.discards.len()));
        world.record(&discard);
        if world.faults && chance.percent(15) {
            // Done, and nobody heard: it is done again.
            return self.discards.push(discard);
        }
        self.lane.discarded(&discard.key);
    }

    /// Who discards carries nothing to park, so it stops at a mark.
    fn stop(&mut self, world: &mut World) {
        if self.on_failure == OnFailure::Park {
            return;
        }
        for poison in self.lane.take_poison() {
            world.met.insert("stopped at a mark");
            self.abandon(poison.origin.shard.0 as usize);
        }
    }

    fn checkpoint(&mut self, world: &mut World) {
        self.stop(world);
        checkpoint(&mut self.lane, &mut self.readings, &mut world.checkpoints);
        (0..SHARDS)
            .filter(|shard| world.ended(*shard))
            .for_each(|shard| self.lane.closed(ShardNumber(shard as u32)));
    }

    fn abandon(&mut self, shard: usize) {
        if let Some(reading) = self.readings[shard].take() {
            self.lane.abandon(reading.line);
        }
    }

    fn act(&mut self, world: &mut World, chance: &mut Chance) {
        match chance.below(26) {
            0..=8 => self.step(world, chance.below(SHARDS)),
            9..=13 => self.work(world, chance),
            14..=15 => self.answer(chance),
            16..=20 => {
                self.park(world, chance);
                self.record(world, chance);
            }
            21..=23 => self.checkpoint(world),
            24 => self.lane.clear_cache(),
            _ => self.abandon(chance.below(SHARDS)),
        }
    }
}

/// Does one step of a redrive, or loses it; true when it has ended.
fn redrive(redrive: &mut (DocumentKey, Redrive), world: &mut World, chance: &mut Chance) -> bool {
    let (document, redrive) = redrive;
    match redrive.step() {
        Step::List => {
            let limit = 1 + chance.below(4);
            let waiting = world.lot.of(document).take(limit).map(|(order, origin)| {
                let is_discarded = world.is_discarded(document, order);
                let fails = !world.is_mended && world.fails(document.as_str(), origin);
                let deed = match (is_discarded, fails) {
                    (true, _) => Deed::Nothing,
                    (false, true) => Deed::Fail,
                    (false, false) => Deed::Name,
                };
                let touch = touch(document.as_str(), name_of(origin), deed);
                Waiting { order: order.clone(), origin: origin.clone(), touch, is_discarded, is_late: false }
            });
            redrive.listed(waiting.collect(), world.asked(document));
        }
        Step::Decide(decisions) => {
            for decision in decisions {
                world.met.insert(if decision.is_discarded { "discarded" } else { "discarded too late" });
                let key = (document.clone(), decision.order.clone());
                world.discards.get_mut(&key).expect("it was asked for").get_or_insert(decision);
            }
            redrive.decided();
        }
        Step::Read => redrive.read(world.store.read(document)),
        Step::Write(write) => {
            let luck = if world.faults { chance.below(10) } else { 9 };
            match world.store.try_write(write, luck, &mut world.delayed) {
                Some(written) => redrive.written(written),
                None => redrive.unknown(),
            }
        }
        Step::RecordLate(_) => unreachable!("nothing is late without an order"),
        Step::Remove(orders) => {
            world.lot.remove(document, &orders);
            redrive.removed();
        }
        Step::Close(mark) => {
            let is_closed = world.lot.close(document, mark);
            world.met.insert(if is_closed { "mark closed" } else { "events came before the close" });
            redrive.closed(is_closed);
        }
        Step::Ended(ended) => {
            if ended.refused.is_some() {
                world.met.insert("redrive refused");
            }
            return true;
        }
    }
    false
}

/// Asks for the discard of an event that was seen in the lot, however long ago.
fn discard(world: &mut World, chance: &mut Chance) {
    let all: Vec<_> = world.seen.iter().cloned().collect();
    if !all.is_empty() {
        world.discards.entry(all[chance.below(all.len())].clone()).or_insert(None);
    }
}

fn begin(world: &World, chance: &mut Chance) -> (DocumentKey, Redrive) {
    let documents: Vec<_> = world.store.documents.keys().cloned().collect();
    let document = match documents.is_empty() {
        true => DocumentKey::new("x"),
        false => documents[chance.below(documents.len())].clone(),
    };
    (document.clone(), Redrive::new(document, world.ordering, Epoch(1), chance.percent(20)))
}

fn arrive(world: &mut World, chance: &mut Chance) {
    if !world.delayed.is_empty() {
        let write = world.delayed.swap_remove(chance.below(world.delayed.len()));
        world.store.write(&write);
    }
    if !world.delayed_parking.is_empty() {
        let of_them = chance.below(world.delayed_parking.len());
        let (request, at_most) = world.delayed_parking.swap_remove(of_them);
        world.lot.append(world.ordering, &request, at_most);
    }
}

/// Redrives until nothing waits and no mark is open.
fn redrive_all(world: &mut World, chance: &mut Chance) {
    let documents: Vec<_> = world.store.documents.keys().cloned().collect();
    for document in documents {
        let mut one = (document.clone(), Redrive::new(document, world.ordering, Epoch(1), false));
        for step in 0.. {
            assert!(step < 1_000, "a redrive does not end");
            if redrive(&mut one, world, chance) {
                break;
            }
        }
    }
    assert!(world.lot.events.is_empty(), "something waits");
}

/// Runs a world to its end and compares. Returns what was met, so that a test can tell that its faults happen.
fn simulate(ordering: Ordering, seed: u64) -> BTreeSet<&'static str> {
    let chance = &mut Chance::new(seed);
    let world = &mut world(ordering, chance);
    let park_from = [0, chance.below(700)][chance.below(2)];
    if park_from > 0 {
        world.on_failure = OnFailure::Discard;
    }
    let mut workers = [world.worker(chance), world.worker(chance)];
    let mut redrives = [begin(world, chance), begin(world, chance)];
    let mend_at = chance.below(700);
    for round in 0..chance.below(900) {
        if round >= mend_at {
            world.mend();
        }
        if round >= park_from {
            world.on_failure = OnFailure::Park;
        }
        let which = chance.below(2);
        match chance.below(100) {
            0..=69 => workers[which].act(world, chance),
            70..=71 => workers[which] = world.worker(chance),
            72..=94 => {
                if redrive(&mut redrives[which], world, chance) || chance.percent(3) {
                    redrives[which] = begin(world, chance);
                }
            }
            95 => world.seen.extend(world.lot.events.keys().cloned()),
            96 => discard(world, chance),
            _ => arrive(world, chance),
        }
        world.check_prefixes();
    }
    world.on_failure = OnFailure::Park;
    let mut last = world.worker(chance);
    for round in 0..1_500 {
        world.faults = round < 300;
        if (0..SHARDS).all(|shard| world.ended(shard)) {
            break;
        }
        (0..SHARDS).for_each(|shard| last.step(world, shard));
        last.work(world, chance);
        last.answer(chance);
        last.park(world, chance);
        last.record(world, chance);
        last.checkpoint(world);
        if world.faults {
            workers[chance.below(2)].act(world, chance);
            if chance.percent(20) {
                arrive(world, chance);
            }
            world.check_prefixes();
        }
        assert!(round < 1_499, "it does not end");
    }
    finish(world, &mut workers, chance);
    world.met.clone()
}

fn finish(world: &mut World, workers: &mut [Worker], chance: &mut Chance) {
    world.mend();
    world.faults = false;
    redrive_all(world, chance);
    assert_eq!(world.found(), world.expected());
    // Whatever comes after the end only says what is known, or parks what is in the document.
    while !world.delayed.is_empty() || !world.delayed_parking.is_empty() {
        arrive(world, chance);
    }
    for _ in 0..60 {
        workers[chance.below(2)].act(world, chance);
    }
    redrive_all(world, chance);
    assert_eq!(world.found(), world.expected());
    let is_open = |stored: &StoredDocument| matches!(stored.guard.mark, Some(Mark::Set(_)));
    assert!(!world.store.documents.values().any(is_open), "a mark was left");
    let is_unrecorded = |stored: &StoredDocument| !stored.guard.unrecorded.is_empty();
    assert!(!world.store.documents.values().any(is_unrecorded), "what is discarded is not on record");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn parked_documents_of_one_stream_end_as_a_sequential_fold_whatever_fails(seed: u64) {
        simulate(Ordering::PerStream, seed);
    }

    #[test]
    fn parked_documents_of_many_streams_end_as_a_sequential_fold_whatever_fails(seed: u64) {
        simulate(Ordering::Commutative, seed);
    }
}

#[test]
fn what_can_happen_happens() {
    for ordering in [Ordering::PerStream, Ordering::Commutative] {
        let met: Vec<_> = (0..300).map(|seed| simulate(ordering, seed)).collect();
        for fact in [
            "parked",
            "closed mark met",
            "mark closed",
            "events came before the close",
            "redrive refused",
            "discarded",
            "discarded too late",
            "discarded at once",
            "stopped at a mark",
        ] {
            let times = met.iter().filter(|met| met.contains(fact)).count();
            assert!(times > 3, "{fact} {times}");
        }
    }
}
