//! Any history of puts, splits, merges and trims ends as in a list of shards.

use foldstream_model::{HashKeyRange, ShardId, Timestamp};
use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::TestRunner,
};

use super::{DAY, hash_key, options, record, texts};
use crate::{LocalLog, testing::Fixture};

const STEPS: usize = 1_000;
/// Shards beyond it are not split any more, so that most steps find few.
const OPEN: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u16>),
    /// A shard, and where in its range.
    Split(usize, u128),
    Merge(usize),
    /// After so many hours.
    Trim(i64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u16>(), 1..6).prop_map(Step::Put),
        1 => (any::<usize>(), any::<u128>()).prop_map(|(shard, key)| Step::Split(shard, key)),
        1 => any::<usize>().prop_map(Step::Merge),
        1 => (Just(()), 0i64..20).prop_map(|((), hours)| Step::Trim(hours))
    ]
}

#[derive(Debug, Clone)]
struct NaiveShard {
    number: usize,
    range: HashKeyRange,
    closed_at: Option<Timestamp>,
    /// When each record arrived, and what it held; trimmed ones are taken away.
    records: Vec<(Timestamp, String)>,
    trimmed: usize,
}

struct Naive {
    shards: Vec<NaiveShard>,
    made: usize,
    now: Timestamp,
}

impl Naive {
    /// The open shards, by their ranges.
    fn open(&self) -> Vec<usize> {
        let mut open: Vec<usize> =
            (0..self.shards.len()).filter(|index| self.shards[*index].closed_at.is_none()).collect();
        open.sort_by_key(|index| self.shards[*index].range.first);
        open
    }

    fn make(&mut self, range: HashKeyRange) {
        let shard = NaiveShard { number: self.made, range, closed_at: None, records: Vec::new(), trimmed: 0 };
        self.shards.push(shard);
        self.made += 1;
    }

    fn close(&mut self, index: usize) -> HashKeyRange {
        self.shards[index].closed_at = Some(self.now);
        self.shards[index].range
    }

    fn trim(&mut self) {
        let oldest = self.now.plus_micros(-super::super::create::micros(DAY));
        for shard in &mut self.shards {
            let kept = shard.records.iter().position(|(at, _)| *at >= oldest).unwrap_or(shard.records.len());
            shard.records.drain(..kept);
            shard.trimmed += kept;
        }
        let forgotten = |shard: &NaiveShard| shard.closed_at.is_some_and(|at| at < oldest);
        self.shards.retain(|shard| !(forgotten(shard) && shard.records.is_empty()));
    }
}

fn id(number: usize) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

async fn take(step: &Step, naive: &mut Naive, log: &LocalLog, fixture: &Fixture) {
    let open = naive.open();
    match step {
        Step::Put(keys) => {
            let keys: Vec<String> = keys.iter().map(u16::to_string).collect();
            log.put(keys.iter().map(|key| record(key, key)).collect()).await.unwrap();
            for key in keys {
                let homes = open.iter().filter(|index| naive.shards[**index].range.contains(hash_key(&key)));
                let [home] = homes.copied().collect::<Vec<_>>()[..] else { panic!("each key has one shard") };
                let now = naive.now;
                naive.shards[home].records.push((now, key));
            }
        }
        Step::Split(pick, key) if open.len() < OPEN => {
            let index = open[pick % open.len()];
            let NaiveShard { number, range: HashKeyRange { first, last }, .. } = naive.shards[index];
            let middle = first + 1 + key % (last - first);
            log.split(&id(number), middle).await.unwrap();
            naive.close(index);
            naive.make(HashKeyRange { first, last: middle - 1 });
            naive.make(HashKeyRange { first: middle, last });
        }
        Step::Merge(pick) if open.len() > 1 => {
            let pick = pick % (open.len() - 1);
            let (lower, upper) = (open[pick], open[pick + 1]);
            log.merge(&id(naive.shards[upper].number), &id(naive.shards[lower].number)).await.unwrap();
            let (first, last) = (naive.close(lower).first, naive.close(upper).last);
            naive.make(HashKeyRange { first, last });
        }
        Step::Trim(hours) => {
            naive.now = naive.now.plus_micros(hours * 60 * 60 * 1_000_000);
            fixture.clock.set(naive.now);
            log.trim(naive.now).await.unwrap();
            naive.trim();
        }
        Step::Split(..) | Step::Merge(_) => {}
    }
}

async fn compare(naive: &Naive, log: &LocalLog, step: &Step) {
    let described = log.describe().await.unwrap().shards;
    let found: Vec<_> = described
        .iter()
        .map(|shard| {
            (shard.id.clone(), shard.range, shard.closed_at, shard.trimmed.as_u64(), shard.last.as_u64())
        })
        .collect();
    let expected: Vec<_> = naive
        .shards
        .iter()
        .map(|shard| {
            let (trimmed, last) = (shard.trimmed, shard.trimmed + shard.records.len());
            (id(shard.number), shard.range, shard.closed_at, Some(trimmed as u64), Some(last as u64))
        })
        .collect();
    assert_eq!(found, expected, "after {step:?}");
}

#[tokio::test]
async fn any_history_ends_as_in_a_list_of_shards() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    let mut naive = Naive { shards: Vec::new(), made: 0, now: Timestamp::EPOCH };
    naive.make(HashKeyRange::ALL);
    let mut runner = TestRunner::deterministic();
    for count in 0..STEPS {
        let step = steps().new_tree(&mut runner).unwrap().current();
        take(&step, &mut naive, &log, &fixture).await;
        compare(&naive, &log, &step).await;
        let shard = &naive.shards[count % naive.shards.len()];
        let held: Vec<&str> = shard.records.iter().map(|(_, data)| data.as_str()).collect();
        let read = texts(&log, &id(shard.number)).await;
        assert_eq!(read, held[..held.len().min(super::NOW.records)], "after {step:?}");
    }
    assert!(naive.made > 100, "shards were split and merged many times: {}", naive.made);
}
