//! Three processes share a stream whose shards are split and merged, and are killed, frozen and stopped meanwhile.

use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::types::Shard;

use crate::{
    aws::Aws,
    chance::Chance,
    orders::{self, Orders, STREAM},
};

const PROCESSES: usize = 3;
/// What is done to them; `END_TO_END_ROUNDS` does more, `END_TO_END_SEED` the same again.
const ROUNDS: u64 = 12;
const ORDERS: usize = 40;
/// Between two looks at what other processes do.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(aws: &Aws, number: usize) -> Self {
        Self::of(aws, &["run"], number)
    }

    pub fn of(aws: &Aws, arguments: &[&str], number: usize) -> Self {
        let log = aws.folder().join(format!("{number}.log"));
        let mut command = aws.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success(), "{name}");
    }

    /// Asks it to stop, once it has come so far that it heeds that, and waits until it has, well.
    pub fn stop(mut self) {
        self.wait("it runs", |process| process.works().then_some(()));
        self.signal("TERM");
        let status = self.wait("it stops", |process| process.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }

    fn works(&self) -> bool {
        [" running ", " relaying "].iter().any(|word| self.said().contains(word))
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait<T>(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(held) = holds(self) {
                return held;
            }
            assert!(Instant::now() < deadline, "{what}: {}", self.said());
            sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn killed_frozen_and_stopped_while_shards_split_and_merge_a_fleet_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(false).await;
}

#[tokio::test]
async fn nor_does_it_while_requests_and_answers_are_lost_cut_delayed_and_throttled() {
    nothing_is_lost_or_doubled(true).await;
}

async fn nothing_is_lost_or_doubled(disturbed: bool) {
    let rounds = number("END_TO_END_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("END_TO_END_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("END_TO_END_SEED={seed}");
    let mut chance = Chance::new(seed);
    let mut aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    if disturbed {
        aws.disturb(&mut chance);
    }
    aws.kinesis().create_stream().stream_name(STREAM).shard_count(4).send().await.unwrap();
    let mut fleet: Vec<Process> = (0..PROCESSES).map(|number| Process::start(&aws, number)).collect();
    let (mut started, mut all) = (PROCESSES, Orders::new());
    for round in 0..rounds {
        for _ in 0..chance.within(5..15) {
            put_some(&aws, &mut all, &mut chance).await;
        }
        if round % 3 == 1 {
            reshard(&aws, &mut chance).await;
        }
        let victim = fleet.remove(chance.index(fleet.len()));
        match chance.within(0..3) {
            0 => drop(victim),
            1 => victim.stop(),
            _ => {
                victim.signal("STOP");
                sleep(Duration::from_millis(chance.within(500..6_000)));
                victim.signal("CONT");
                fleet.push(victim);
            }
        }
        while fleet.len() < PROCESSES {
            fleet.push(Process::start(&aws, started));
            started += 1;
        }
    }
    fleet.into_iter().for_each(Process::stop);
    println!("injected at Kinesis and DynamoDB: {:?}", aws.calm());
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    assert_eq!(orders::found(&aws), orders::expected(&all), "seed={seed}");
    println!("{} events in {rounds} rounds", all.values().sum::<usize>());
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// The next events of some orders.
async fn put_some(aws: &Aws, all: &mut Orders, chance: &mut Chance) {
    let first = chance.index(ORDERS);
    let mut events = Vec::new();
    for order in (0..chance.index(20) + 1).map(|n| (first + n) % ORDERS) {
        let length = all.entry(order).or_default();
        *length += 1;
        events.push((order, *length));
    }
    orders::put(&aws.kinesis(), &events).await;
}

/// Splits an open shard, or merges two that are neighbours.
async fn reshard(aws: &Aws, chance: &mut Chance) {
    let kinesis = aws.kinesis();
    let listed = kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
    let is_open = |shard: &&Shard| {
        shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
    };
    let mut open: Vec<&Shard> = listed.shards().iter().filter(is_open).collect();
    open.sort_by_key(|shard| range(shard).0);
    if open.len() < 4 || chance.one_in(2) {
        let shard = open[chance.index(open.len())];
        let (first, last) = range(shard);
        let half = (first + (last - first) / 2 + 1).to_string();
        let split = kinesis.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
        split.new_starting_hash_key(half).send().await.unwrap();
    } else {
        let at = chance.index(open.len() - 1);
        let merge = kinesis.merge_shards().stream_name(STREAM).shard_to_merge(open[at].shard_id());
        merge.adjacent_shard_to_merge(open[at + 1].shard_id()).send().await.unwrap();
    }
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().unwrap();
    (range.starting_hash_key().parse().unwrap(), range.ending_hash_key().parse().unwrap())
}
