use std::collections::BTreeSet;

use foldstream_model::Timestamp;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

fn record(position: u128, data: String) -> Record {
    Record {
        position: Position::new(position),
        partition_key: "".into(),
        arrived_at: Timestamp::EPOCH,
        data: data.into(),
    }
}

fn route(key: &str) -> Route {
    Route { partition_key: key.to_owned(), explicit_hash_key: None }
}

fn shard(number: usize) -> ShardId {
    ShardId::new(number.to_string())
}

fn sent(batch: &[Outgoing]) -> Vec<&str> {
    batch.iter().map(|outgoing| std::str::from_utf8(&outgoing.data).unwrap()).collect()
}

/// A window on one shard with records `a1`, `b2`, …: a key and a position.
fn window(records: &[&str]) -> Window {
    let mut window = Window::default();
    window.begin(shard(0), Position::BEGINNING);
    for (position, data) in (1..).zip(records) {
        window.add(&shard(0), &record(position, (*data).to_owned()), route(&data[..1]));
    }
    window
}

fn done(window: &Window) -> (u64, bool) {
    let standing = &window.standings()[&shard(0)];
    (standing.done.as_u64().unwrap(), standing.finished)
}

#[test]
fn of_each_key_one_record_is_on_its_way() {
    let mut window = window(&["a1", "a2", "b3", "a4", "c5"]);
    let batch = window.batch();
    assert_eq!(sent(&batch), ["a1", "b3", "c5"]);
    assert!(window.batch().is_empty());
    window.arrived(batch[1].ticket);
    assert_eq!(done(&window), (0, false), "what is in front of it has not arrived");
    window.failed(batch[0].ticket);
    let again = window.batch();
    assert_eq!(sent(&again), ["a1"]);
    window.arrived(again[0].ticket);
    assert_eq!(done(&window), (1, false));
    let next = window.batch();
    assert_eq!(sent(&next), ["a2"]);
    window.arrived(next[0].ticket);
    assert_eq!(done(&window), (3, false), "what had arrived already counts now");
}

#[test]
fn a_shard_is_finished_when_it_has_ended_and_everything_has_arrived() {
    let mut window = window(&["a1"]);
    let batch = window.batch();
    window.end(&shard(0));
    assert_eq!(done(&window), (0, false));
    window.arrived(batch[0].ticket);
    assert_eq!(done(&window), (1, true));
    assert!(window.keys.is_empty() && window.bytes() == 0);
}

#[test]
fn what_is_complete_is_as_old_as_the_oldest_change_that_has_not_arrived_in_any_shard() {
    let at = |second: i64| Timestamp::from_seconds(second);
    let made = |position: u128, second| Record { arrived_at: at(second), ..record(position, "x".into()) };
    let mut window = Window::default();
    assert_eq!(window.complete_until(), None, "there is nothing to speak of");
    window.begin(shard(0), Position::BEGINNING);
    window.begin(shard(1), Position::BEGINNING);
    window.read_until(&shard(0), at(100));
    assert_eq!(window.complete_until(), None, "the other one was not read yet");
    window.read_until(&shard(1), at(90));
    assert_eq!(window.complete_until(), Some(at(90)));
    window.add(&shard(0), &made(1, 50), route("a"));
    window.add(&shard(0), &made(2, 60), route("b"));
    window.read_until(&shard(1), at(200));
    let batch = window.batch();
    window.arrived(batch[1].ticket);
    assert_eq!(window.complete_until(), Some(at(50)));
    window.arrived(batch[0].ticket);
    assert_eq!(window.complete_until(), Some(at(100)));
    window.end(&shard(0));
    assert_eq!(window.complete_until(), Some(at(200)), "an end that has arrived holds nothing up");
}

#[test]
fn a_call_has_as_many_records_and_bytes_as_may_be() {
    let mut many = Window::default();
    many.begin(shard(0), Position::BEGINNING);
    for position in 1..=600 {
        many.add(&shard(0), &record(position, String::new()), route(&position.to_string()));
    }
    assert_eq!((many.batch().len(), many.batch().len()), (500, 100));
    let mut large = Window::default();
    large.begin(shard(0), Position::BEGINNING);
    for position in 1..=7 {
        large.add(&shard(0), &record(position, "x".repeat(1 << 20)), route(&position.to_string()));
    }
    assert_eq!((large.batch().len(), large.batch().len()), (4, 3), "keys are counted too");
}

#[test]
fn what_is_on_its_way_when_a_shard_is_given_up_is_waited_for() {
    let mut window = window(&["a1", "a2", "b3"]);
    let batch = window.batch();
    window.arrived(batch[1].ticket);
    window.begin(shard(0), Position::BEGINNING);
    window.add(&shard(0), &record(1, "a1 again".to_owned()), route("a"));
    assert!(window.batch().is_empty());
    window.failed(batch[0].ticket);
    let again = window.batch();
    assert_eq!(sent(&again), ["a1 again"]);
    window.arrived(again[0].ticket);
    assert_eq!(done(&window), (1, false));
    assert_eq!(window.bytes(), 0);
}

/// What becomes of a record that was sent.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Fails,
    /// It arrives, and nobody hears of it.
    Unheard,
    /// It is said to have failed, and arrives any time later.
    Late,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    use Fate::{Arrives, Fails, Late, Unheard};
    let fate = prop_oneof![4 => Just(Arrives), 1 => Just(Fails), 1 => Just(Unheard), 1 => Just(Late)];
    vec(fate, 1..6)
}

#[derive(Debug, Clone)]
enum Step {
    /// A relay reads of a shard.
    Read {
        relay: usize,
        shard: Index,
        records: usize,
    },
    Send {
        relay: usize,
    },
    /// The answer to the nth batch that is on its way.
    Answer {
        relay: usize,
        batch: Index,
        fates: Vec<Fate>,
    },
    /// One of those that are late arrives.
    LateArrival {
        which: Index,
    },
    Save {
        relay: usize,
    },
    /// A relay takes a shard over, whoever has it, and may be one that goes on.
    TakeOver {
        relay: usize,
        shard: Index,
    },
    Loses {
        relay: usize,
        shard: Index,
    },
    Crash {
        relay: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let relay = || 0..RELAYS;
    vec(
        prop_oneof![
            6 => (relay(), any::<Index>(), 1..5usize).prop_map(|(relay, shard, records)| Step::Read { relay, shard, records }),
            6 => relay().prop_map(|relay| Step::Send { relay }),
            6 => (relay(), any::<Index>(), fates()).prop_map(|(relay, batch, fates)| Step::Answer { relay, batch, fates }),
            2 => any::<Index>().prop_map(|which| Step::LateArrival { which }),
            4 => relay().prop_map(|relay| Step::Save { relay }),
            4 => (relay(), any::<Index>()).prop_map(|(relay, shard)| Step::TakeOver { relay, shard }),
            1 => (relay(), any::<Index>()).prop_map(|(relay, shard)| Step::Loses { relay, shard }),
            1 => relay().prop_map(|relay| Step::Crash { relay }),
        ],
        0..200,
    )
}

const RELAYS: usize = 2;
const KEYS: usize = 4;

/// A shard of the table's stream: each record is a key and its sequence. The rank of a record is its position.
#[derive(Debug)]
struct Source {
    parent: Option<usize>,
    records: Vec<(usize, u32)>,
}

#[derive(Default)]
struct Relay {
    window: Window,
    batches: Vec<Vec<Outgoing>>,
}

struct World {
    sources: Vec<Source>,
    /// Up to where each shard was saved to be done, and whether it is finished.
    rows: Vec<(usize, bool)>,
    relays: Vec<Relay>,
    /// What arrived, in order.
    stream: Vec<(usize, u32)>,
    late: Vec<(usize, u32)>,
}

impl World {
    /// Shard n descends from `parents[n - 1]`, if it is one before it. Keys stay in one line of descent.
    fn new(parents: &[Option<Index>], lengths: &[usize]) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        let mut sequences = BTreeMap::new();
        for (number, length) in lengths.iter().enumerate() {
            let parent = parents.get(number).copied().flatten().filter(|_| number > 0);
            let parent = parent.map(|parent| parent.index(number));
            let is_only_child = sources.iter().all(|source| parent.is_none() || source.parent != parent);
            let line = match parent.filter(|_| is_only_child) {
                Some(parent) => sources[parent].records.first().map_or(number, |(key, _)| key / KEYS),
                None => number,
            };
            let record = |at: usize| {
                let key = line * KEYS + at * 7 % KEYS;
                let sequence = sequences.entry(key).or_insert(0);
                *sequence += 1;
                (key, *sequence)
            };
            sources.push(Source { parent, records: (0..*length).map(record).collect() });
        }
        let rows = vec![(0, false); sources.len()];
        let relays = (0..RELAYS).map(|_| Relay::default()).collect();
        Self { sources, rows, relays, stream: Vec::new(), late: Vec::new() }
    }

    fn may_begin(&self, number: usize) -> bool {
        self.sources[number].parent.is_none_or(|parent| self.rows[parent].1)
    }

    fn take_over(&mut self, relay: usize, number: usize) {
        if self.may_begin(number) {
            let position = Position::new(self.rows[number].0 as u128);
            self.relays[relay].window.begin(shard(number), position);
        }
    }

    fn read(&mut self, relay: usize, number: usize, records: usize) {
        let Relay { window, .. } = &mut self.relays[relay];
        let Some(progress) = window.shards.get(&shard(number)) else { return };
        let last = progress.open.back().map_or(&progress.done, |open| &open.position);
        let from = usize::try_from(last.as_u64().unwrap()).unwrap();
        let of = &self.sources[number].records;
        for (rank, (key, sequence)) in of.iter().enumerate().skip(from).take(records) {
            let data = format!("{key}/{sequence}");
            window.add(&shard(number), &record(rank as u128 + 1, data), route(&key.to_string()));
        }
        if from + records >= of.len() {
            window.end(&shard(number));
        }
    }

    fn send(&mut self, relay: usize) {
        let Relay { window, batches } = &mut self.relays[relay];
        let batch = window.batch();
        if !batch.is_empty() {
            batches.push(batch);
        }
        let keys: Vec<&str> = batches.iter().flatten().map(|outgoing| &*outgoing.partition_key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "one of each key");
    }

    fn answer(&mut self, relay: usize, batch: usize, fates: &[Fate]) {
        let Relay { window, batches } = &mut self.relays[relay];
        for (outgoing, fate) in batches.remove(batch).iter().zip(fates.iter().cycle()) {
            let text = std::str::from_utf8(&outgoing.data).unwrap();
            let (key, sequence) = text.split_once('/').unwrap();
            let sent = (key.parse().unwrap(), sequence.parse().unwrap());
            match fate {
                Fate::Arrives | Fate::Unheard => self.stream.push(sent),
                Fate::Late => self.late.push(sent),
                Fate::Fails => {}
            }
            match fate {
                Fate::Arrives => window.arrived(outgoing.ticket),
                Fate::Unheard | Fate::Late | Fate::Fails => window.failed(outgoing.ticket),
            }
        }
    }

    /// Rows never go back. Whatever is said to be done has arrived.
    fn save(&mut self, relay: usize) {
        for (id, standing) in self.relays[relay].window.standings() {
            let number: usize = id.as_str().parse().unwrap();
            let done = usize::try_from(standing.done.as_u64().unwrap()).unwrap();
            let source = &self.sources[number];
            assert!(source.records[..done].iter().all(|record| self.stream.contains(record)));
            assert!(!standing.finished || done == source.records.len());
            let (saved, finished) = self.rows[number];
            self.rows[number] = (saved.max(done), finished || standing.finished);
        }
    }

    fn step(&mut self, step: &Step) {
        let shards = self.sources.len();
        match step {
            Step::Read { relay, shard, records } => self.read(*relay, shard.index(shards), *records),
            Step::Send { relay } => self.send(*relay),
            Step::Answer { relay, batch, fates } => {
                let batches = self.relays[*relay].batches.len();
                if batches > 0 {
                    self.answer(*relay, batch.index(batches), fates);
                }
            }
            Step::LateArrival { which } if !self.late.is_empty() => {
                let arrived = self.late.remove(which.index(self.late.len()));
                self.stream.push(arrived);
            }
            Step::LateArrival { .. } => {}
            Step::Save { relay } => self.save(*relay),
            Step::TakeOver { relay, shard } => self.take_over(*relay, shard.index(shards)),
            Step::Loses { relay, shard: lost } => {
                self.relays[*relay].window.give_up(&shard(lost.index(shards)));
            }
            Step::Crash { relay } => {
                let batches = std::mem::take(&mut self.relays[*relay]).batches;
                for outgoing in batches.iter().flatten() {
                    let text = std::str::from_utf8(&outgoing.data).unwrap();
                    let (key, sequence) = text.split_once('/').unwrap();
                    self.late.push((key.parse().unwrap(), sequence.parse().unwrap()));
                }
            }
        }
    }

    /// One relay is left, and nothing fails any more.
    fn run_to_the_end(&mut self) {
        for number in 0..self.sources.len() {
            assert!(self.may_begin(number), "its parent comes before it and is finished");
            self.take_over(0, number);
            self.read(0, number, usize::MAX / 2);
            loop {
                self.send(0);
                if self.relays[0].batches.is_empty() {
                    break;
                }
                self.answer(0, 0, &[Fate::Arrives]);
            }
            self.save(0);
            assert!(self.rows[number].1);
        }
        assert!(self.relays[0].window.keys.is_empty() && self.relays[0].window.bytes() == 0);
        let late = std::mem::take(&mut self.late);
        self.stream.extend(late);
    }

    /// What a reader takes that drops what it has seen, by sequence.
    fn first_arrivals(&self) -> BTreeMap<usize, Vec<u32>> {
        let mut seen: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (key, sequence) in &self.stream {
            let of_key = seen.entry(*key).or_default();
            if !of_key.contains(sequence) {
                of_key.push(*sequence);
            }
        }
        seen
    }

    fn expected(&self) -> BTreeMap<usize, Vec<u32>> {
        let mut expected: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (key, sequence) in self.sources.iter().flat_map(|source| &source.records) {
            expected.entry(*key).or_default().push(*sequence);
        }
        expected
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn first_arrivals_are_in_order_and_whole_whatever_fails_and_whoever_sends(
        parents in vec(any::<Option<Index>>(), 4),
        lengths in vec(0..12usize, 1..5),
        steps in steps(),
    ) {
        let mut world = World::new(&parents, &lengths);
        for step in &steps {
            world.step(step);
        }
        world.run_to_the_end();
        prop_assert_eq!(world.first_arrivals(), world.expected());
    }
}
