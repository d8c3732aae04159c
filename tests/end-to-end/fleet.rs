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
    event_table,
    orders::{self, Orders, STREAM},
};

/// What is done to them; `END_TO_END_ROUNDS` does more, `END_TO_END_SEED` the same again.
const ROUNDS: u64 = 12;
const ORDERS: usize = 40;
/// Numbers of processes that begin after all of these.
const LAST: usize = 1_000;
/// Between two looks at what other processes do.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    pub fn start(aws: &Aws, number: usize) -> Self {
        Self::of(aws, &["run"], number)
    }

    pub fn of(aws: &Aws, arguments: &[&str], number: usize) -> Self {
        Self::spawn(aws, aws.command(arguments), number)
    }

    /// One that says in JSON what it reads.
    pub fn telling(aws: &Aws, number: usize) -> Self {
        let mut command = aws.command(&["run", "-o", "json"]);
        command.env("FOLDSTREAM_LOG", "info,foldstream_runtime::line=debug");
        Self::spawn(aws, command, number)
    }

    fn spawn(aws: &Aws, mut command: Command, number: usize) -> Self {
        let (log, out) = (log(aws, number), aws.folder().join(format!("{number}.out")));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        Self { child: command.spawn().unwrap(), log, out }
    }

    /// Where it serves, once it does.
    pub fn address(&mut self) -> Option<String> {
        let said = self.said();
        let behind = said.split("serving").nth(1)?.split("address=").nth(1)?;
        behind.split_whitespace().next().map(str::to_owned)
    }

    /// On standard output.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success(), "{name}");
    }

    /// Asks it to stop, once it has come so far that it heeds that, and waits until it has, well.
    pub fn stop(mut self) {
        self.wait_until_it_works();
        self.signal("TERM");
        let status = self.wait("it stops", |process| process.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }

    pub fn wait_until_it_works(&mut self) {
        self.wait("it runs", |process| process.works().then_some(()));
    }

    fn works(&self) -> bool {
        [" running ", "\"running\"", " relaying "].iter().any(|word| self.said().contains(word))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
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

/// Where the process of this number says what it does.
pub fn log(aws: &Aws, number: usize) -> PathBuf {
    aws.folder().join(format!("{number}.log"))
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
    let mut chance = chance();
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    begin(&aws).await;
    let all = go_through(&aws, &mut chance, &[Role::Worker; 3]).await;
    ends_right(&aws, &all);
}

#[tokio::test]
async fn nor_does_it_while_requests_and_answers_are_lost_cut_delayed_and_throttled() {
    let mut chance = chance();
    let mut aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    begin(&aws).await;
    aws.disturb(&mut chance);
    let all = go_through(&aws, &mut chance, &[Role::Worker; 3]).await;
    println!("injected at Kinesis and DynamoDB: {:?}", aws.calm());
    ends_right(&aws, &all);
}

#[tokio::test]
async fn nor_from_the_table_of_events_on_while_its_relays_are_killed_too() {
    let mut chance = chance();
    let source = "event_table: { table: shop, width: 6 }";
    let mut aws = Aws::whole(&orders::config("store: { kind: dynamodb, table: state }", source));
    begin(&aws).await;
    event_table::make(&aws.dynamodb()).await;
    aws.disturb(&mut chance);
    let roles = [Role::Worker, Role::Worker, Role::Worker, Role::Relay, Role::Relay];
    let all = go_through(&aws, &mut chance, &roles).await;
    println!("injected at Kinesis, and at DynamoDB with its streams: {:?}", aws.calm());
    let relay = Role::Relay.start(&aws, LAST);
    let mut worker = Role::Worker.start(&aws, LAST + 1);
    let expected = orders::expected(&all);
    worker.wait("what is stored is in the documents", |_| (orders::found(&aws) == expected).then_some(()));
    relay.stop();
    worker.stop();
    ends_right(&aws, &all);
}

/// What a process does; a fleet has always the same number of each.
#[derive(Debug, Clone, Copy)]
enum Role {
    Worker,
    /// Then events are stored in their table, and else put into the stream.
    Relay,
}

impl Role {
    fn start(self, aws: &Aws, number: usize) -> Process {
        match self {
            Self::Worker => Process::start(aws, number),
            Self::Relay => Process::of(aws, &["relay"], number),
        }
    }
}

fn chance() -> Chance {
    let seed = number("END_TO_END_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("END_TO_END_SEED={seed}");
    Chance::new(seed)
}

async fn begin(aws: &Aws) {
    aws.create_stream(STREAM, 4).await;
}

/// Events arrive and shards are split and merged, while processes are killed, stopped and frozen. All end well.
async fn go_through(aws: &Aws, chance: &mut Chance, roles: &[Role]) -> Orders {
    let mut fleet: Vec<(Role, Process)> =
        roles.iter().zip(0..).map(|(role, number)| (*role, role.start(aws, number))).collect();
    let is_relayed = roles.iter().any(|role| matches!(role, Role::Relay));
    let rounds = number("END_TO_END_ROUNDS").unwrap_or(ROUNDS);
    let (mut started, mut all) = (fleet.len(), Orders::new());
    for round in 0..rounds {
        for _ in 0..chance.within(5..15) {
            let events = next_of_some(&mut all, chance);
            match is_relayed {
                true => event_table::store_all(&aws.dynamodb(), &events).await,
                false => orders::put(&aws.kinesis(), &events).await,
            }
        }
        if round % 3 == 1 {
            reshard(aws, chance).await;
        }
        let (role, victim) = fleet.remove(chance.index(fleet.len()));
        match chance.within(0..3) {
            0 => drop(victim),
            1 => victim.stop(),
            _ => {
                victim.signal("STOP");
                sleep(Duration::from_millis(chance.within(500..6_000)));
                victim.signal("CONT");
                fleet.push((role, victim));
                continue;
            }
        }
        fleet.push((role, role.start(aws, started)));
        started += 1;
    }
    fleet.into_iter().for_each(|(_, process)| process.stop());
    println!("{} events in {rounds} rounds", all.values().sum::<usize>());
    all
}

fn ends_right(aws: &Aws, all: &Orders) {
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    assert_eq!(orders::found(aws), orders::expected(all));
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// The next events of some orders.
fn next_of_some(all: &mut Orders, chance: &mut Chance) -> Vec<(usize, usize)> {
    let first = chance.index(ORDERS);
    let next = (0..chance.index(20) + 1).map(|n| {
        let order = (first + n) % ORDERS;
        let length = all.entry(order).or_default();
        *length += 1;
        (order, *length)
    });
    next.collect()
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

pub fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().unwrap();
    (range.starting_hash_key().parse().unwrap(), range.ending_hash_key().parse().unwrap())
}
