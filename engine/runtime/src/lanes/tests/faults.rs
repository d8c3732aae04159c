//! Lanes of several workers over one store, every kind of fault, against a sequential fold.
//!
//! Shard 0 splits into 1 and 2. Each worker reads each shard through a line of its own and starts on the checkpoint; a
//! worker that was replaced lives on beside the new one.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    DocumentKey, Epoch, OnFailure, Ordering, ShardNumber,
    ports::{DocumentWrite, StoredDocument, Written},
};
use proptest::prelude::*;

use super::toy::{Chance, Deed, Reading, Store, checkpoint, delivery, name_of, names_in, origin, place};
use crate::{
    guard::Origin,
    lanes::{Lane, LaneMode, LaneOptions, LineId},
    progress::BatchId,
};

const SHARDS: usize = 3;

/// An event, and what it does to which documents.
struct Record {
    origin: Origin,
    touches: Vec<(String, Deed)>,
}

struct World {
    ordering: Ordering,
    shards: [Vec<Record>; SHARDS],
    store: Store,
    /// How many records of each shard are settled.
    checkpoints: [usize; SHARDS],
    /// Writes that arrive later, or never.
    delayed: Vec<DocumentWrite>,
    lines: u64,
    faults: bool,
}

struct Worker {
    lane: Lane,
    readings: [Option<Reading>; SHARDS],
    reads: Vec<(DocumentKey, Option<StoredDocument>)>,
    writes: Vec<(DocumentKey, Option<Written>)>,
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
            Ordering::PerStream => {
                let deed = [Deed::Name, Deed::Name, Deed::Name, Deed::Delete, Deed::Nothing][chance.below(5)];
                let documents = [1, 1, 2, 0][chance.below(4)];
                (0..documents).map(|document| (format!("{stream}-{document}"), deed)).collect()
            }
            _ => ["x", "y"]
                .iter()
                .filter(|_| chance.percent(70))
                .map(|key| (key.to_string(), Deed::Name))
                .collect(),
        };
        shards[shard].push(Record { origin: origin(shard as u32, at, stream, *sequence), touches });
    }
    World {
        ordering,
        shards,
        store: Store::default(),
        checkpoints: [0; SHARDS],
        delayed: Vec::new(),
        lines: 0,
        faults: true,
    }
}

impl World {
    fn ended(&self, shard: usize) -> bool {
        (shard == 0 || self.ended(0)) && self.checkpoints[shard] == self.shards[shard].len()
    }

    fn worker(&mut self, chance: &mut Chance) -> Worker {
        let cache_bytes = [0, 900, 1_000_000, 1_000_000][chance.below(4)];
        let mut lane = Lane::new(LaneOptions {
            ordering: self.ordering,
            epoch: Epoch(1),
            mode: LaneMode::Live(OnFailure::Stop),
            cache_bytes,
        });
        (0..SHARDS)
            .filter(|shard| self.ended(*shard))
            .for_each(|shard| lane.closed(ShardNumber(shard as u32)));
        Worker { lane, readings: Default::default(), reads: Vec::new(), writes: Vec::new() }
    }

    /// The documents as one reader without faults would have made them.
    fn expected(&self) -> BTreeMap<String, Vec<String>> {
        let mut documents = BTreeMap::<String, Vec<String>>::new();
        for record in self.shards.iter().flatten() {
            for (key, deed) in &record.touches {
                let names = documents.entry(key.clone()).or_default();
                match deed {
                    Deed::Name => names.push(name_of(&record.origin)),
                    Deed::Delete => names.clear(),
                    Deed::Nothing | Deed::Fail => {}
                }
            }
        }
        documents
    }

    fn verify(&self) {
        for (key, mut expected) in self.expected() {
            let stored =
                self.store.read(&DocumentKey::new(&*key)).expect("a document that was touched has a guard");
            let mut found = names_in(stored.document.as_ref());
            if self.ordering == Ordering::Commutative {
                for stream in ["a", "b", "c"] {
                    let of_stream = |names: &[String]| -> Vec<String> {
                        names.iter().filter(|name| name.starts_with(stream)).cloned().collect()
                    };
                    assert_eq!(of_stream(&found), of_stream(&expected), "{key}");
                }
                found.sort();
                expected.sort();
            }
            assert_eq!(found, expected, "{key}");
        }
    }
}

impl Worker {
    /// Delivers the next record of a shard, if its parent is settled.
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
        for (key, deed) in &record.touches {
            self.lane.deliver(delivery(reading.line.0, record.origin.clone(), key, *deed));
        }
    }

    fn read(&mut self, world: &World, chance: &mut Chance) {
        for key in self.lane.to_read(1 + chance.below(3)) {
            let stored = world.store.read(&key);
            match world.faults && chance.percent(30) {
                true => self.reads.push((key, stored)),
                false => self.lane.loaded(&key, stored),
            }
        }
    }

    fn write(&mut self, world: &mut World, chance: &mut Chance) {
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

    /// An answer that was under way arrives.
    fn answer(&mut self, chance: &mut Chance) {
        if !self.reads.is_empty() {
            let (key, stored) = self.reads.swap_remove(chance.below(self.reads.len()));
            self.lane.loaded(&key, stored);
        }
        if !self.writes.is_empty() {
            match self.writes.swap_remove(chance.below(self.writes.len())) {
                (key, Some(written)) => self.lane.written(&key, written),
                (key, None) => self.lane.unknown([&key]),
            }
        }
    }

    fn checkpoint(&mut self, world: &mut World) {
        checkpoint(&mut self.lane, &mut self.readings, &mut world.checkpoints);
        (0..SHARDS)
            .filter(|shard| world.ended(*shard))
            .for_each(|shard| self.lane.closed(ShardNumber(shard as u32)));
    }

    /// One shard's reading is given up, and begins again at its checkpoint.
    fn abandon(&mut self, shard: usize) {
        if let Some(reading) = self.readings[shard].take() {
            self.lane.abandon(reading.line);
        }
    }

    fn act(&mut self, world: &mut World, chance: &mut Chance) {
        match chance.below(24) {
            0..=8 => self.step(world, chance.below(SHARDS)),
            9..=11 => self.read(world, chance),
            12..=14 => self.write(world, chance),
            15..=17 => self.answer(chance),
            18..=20 => self.checkpoint(world),
            21 => self.lane.clear_cache(),
            _ => self.abandon(chance.below(SHARDS)),
        }
    }
}

fn arrive(world: &mut World, chance: &mut Chance) {
    if !world.delayed.is_empty() {
        let write = world.delayed.swap_remove(chance.below(world.delayed.len()));
        world.store.write(&write);
    }
}

/// Runs a world to its end and compares. Returns what was met, so that a test can tell that its faults happen.
fn simulate(ordering: Ordering, seed: u64) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::new();
    let chance = &mut Chance::new(seed);
    let world = &mut world(ordering, chance);
    let mut workers = [world.worker(chance), world.worker(chance)];
    for _ in 0..chance.below(600) {
        let which = chance.below(2);
        match chance.below(100) {
            0..=92 => workers[which].act(world, chance),
            93..=95 => workers[which] = world.worker(chance),
            _ => arrive(world, chance),
        }
    }
    let mut last = world.worker(chance);
    for round in 0..1_000 {
        world.faults = round < 300;
        if (0..SHARDS).all(|shard| world.ended(shard)) {
            break;
        }
        (0..SHARDS).for_each(|shard| last.step(world, shard));
        last.read(world, chance);
        last.write(world, chance);
        last.answer(chance);
        last.checkpoint(world);
        if world.faults {
            let which = chance.below(2);
            workers[which].act(world, chance);
            if chance.percent(20) {
                arrive(world, chance);
            }
        }
        assert!(round < 999, "it does not end");
    }
    while !world.delayed.is_empty() {
        met.insert("a write arrives after the end");
        arrive(world, chance);
    }
    world.verify();
    for _ in 0..30 {
        workers[chance.below(2)].act(world, chance);
    }
    world.verify();
    if world.store.conflicts > 0 {
        met.insert("conflict");
    }
    met
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    #[test]
    fn documents_of_one_stream_equal_a_sequential_fold_whatever_fails(seed: u64) {
        simulate(Ordering::PerStream, seed);
    }

    #[test]
    fn documents_of_many_streams_equal_a_sequential_fold_whatever_fails(seed: u64) {
        simulate(Ordering::Commutative, seed);
    }
}

#[test]
fn the_faults_happen() {
    for ordering in [Ordering::PerStream, Ordering::Commutative] {
        let met: Vec<_> = (0..200).map(|seed| simulate(ordering, seed)).collect();
        for fault in ["conflict", "a write arrives after the end"] {
            let times = met.iter().filter(|met| met.contains(fault)).count();
            assert!(times > 5, "{fault} {times}");
        }
    }
}
