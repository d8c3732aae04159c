//! How long it takes until a shard is read: by a process that begins, and after one that ends.

use std::{collections::BTreeMap, time::Instant};

use foldstream_tests::figures::percentiles;

use super::{PATIENCE, PAUSE, add, one_order_of_each_shard, wait_for};
use crate::{
    aws::Aws,
    chance::Chance,
    fleet::{self, Process},
    hand_offs::hand_offs,
    orders::{self, STREAM},
    said::Said,
};

const PROCESSES: usize = 3;
const SHARDS: i32 = 8;
const STARTS: usize = 12;
const KILLS: usize = 20;
const STOPS: usize = 20;

async fn begin() -> (Aws, BTreeMap<String, usize>) {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    aws.create_stream(STREAM, SHARDS).await;
    let orders = one_order_of_each_shard(&aws).await;
    assert_eq!(orders.len(), SHARDS as usize, "each shard has an order");
    (aws, orders)
}

#[tokio::test]
#[ignore = "it measures"]
async fn figures_of_cold_starts() {
    let (aws, orders) = begin().await;
    let order = *orders.values().next().unwrap();
    aws.run(&["run", "--until-caught-up"]);
    let mut times = Vec::new();
    for number in 0..STARTS {
        add(&aws, &[order], number + 2).await;
        let started = Instant::now();
        let process = Process::start(&aws, number);
        times.push(wait_for(&aws, &[order], number + 2).await[0] - started);
        process.stop();
    }
    println!("from the start of a process to its first document, tables being there: {}", percentiles(times));
}

#[tokio::test]
#[ignore = "it measures"]
async fn figures_of_take_overs_after_kills() {
    let (aws, orders) = begin().await;
    let mut fleet = Fleet::start(&aws).await;
    let (mut chance, mut times) = (Chance::new(1), Vec::new());
    for events in 2..KILLS + 2 {
        let victim = chance.index(PROCESSES);
        let held = fleet.orders_of(victim, &orders);
        drop(fleet.members.remove(victim));
        let killed = Instant::now();
        add(&aws, &held, events).await;
        times.extend(wait_for(&aws, &held, events).await.into_iter().map(|at| at - killed));
        let others: Vec<usize> = orders.values().copied().filter(|order| !held.contains(order)).collect();
        add(&aws, &others, events).await;
        wait_for(&aws, &others, events).await;
        fleet.join().await;
    }
    fleet.end();
    println!("from kill -9 to the first document of a shard by another: {}", percentiles(times));
}

#[tokio::test]
#[ignore = "it measures"]
async fn figures_of_hand_offs() {
    let (aws, orders) = begin().await;
    let mut fleet = Fleet::start(&aws).await;
    let (mut chance, all) = (Chance::new(1), orders.values().copied().collect::<Vec<_>>());
    for events in 2..STOPS + 2 {
        add(&aws, &all, events).await;
        fleet.members.remove(chance.index(PROCESSES)).1.stop();
        fleet.join().await;
        wait_for(&aws, &all, events).await;
    }
    let said = fleet.said();
    fleet.end();
    println!("nobody reads a shard that is passed on: {}", percentiles(hand_offs(&said)));
}

/// Processes, each with the number of its log.
struct Fleet<'a> {
    aws: &'a Aws,
    members: Vec<(usize, Process)>,
    started: usize,
}

impl<'a> Fleet<'a> {
    async fn start(aws: &'a Aws) -> Self {
        let mut fleet = Self { aws, members: Vec::new(), started: 0 };
        while fleet.members.len() < PROCESSES {
            fleet.add();
        }
        fleet.wait_until_shared().await;
        fleet
    }

    fn add(&mut self) {
        self.members.push((self.started, Process::telling(self.aws, self.started)));
        self.started += 1;
    }

    /// One more, until it has its share.
    async fn join(&mut self) {
        self.add();
        self.wait_until_shared().await;
    }

    async fn wait_until_shared(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let holders = holders(&self.said());
            let of =
                |member: &(usize, Process)| holders.values().filter(|holder| **holder == member.0).count();
            let shares: Vec<usize> = self.members.iter().map(of).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            if shares.iter().sum::<usize>() == SHARDS as usize && *most <= least + 1 {
                return;
            }
            assert!(Instant::now() < deadline, "the shards are not shared evenly: {shares:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The orders in the shards that a member reads.
    fn orders_of(&self, member: usize, orders: &BTreeMap<String, usize>) -> Vec<usize> {
        let number = self.members[member].0;
        let held = holders(&self.said()).into_iter().filter(|(_, holder)| *holder == number);
        held.filter_map(|(shard, _)| orders.get(&shard).copied()).collect()
    }

    fn said(&self) -> Vec<Vec<Said>> {
        (0..self.started).map(|number| Said::all(&fleet::log(self.aws, number))).collect()
    }

    fn end(self) {
        self.members.into_iter().for_each(|(_, process)| process.stop());
    }
}

/// Who reads each shard: the process that said last that it begins.
fn holders(said: &[Vec<Said>]) -> BTreeMap<String, usize> {
    let by_process = said.iter().enumerate();
    let begins = by_process.flat_map(|(process, said)| {
        let begins = said.iter().filter(|said| said.message == "a reading begins");
        begins
            .map(move |said| (said.at, said.fields["shard"].as_str().unwrap_or_default().to_owned(), process))
    });
    let mut begins: Vec<_> = begins.collect();
    begins.sort();
    begins.into_iter().map(|(_, shard, process)| (shard, process)).collect()
}
