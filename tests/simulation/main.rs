//! A deterministic simulation of the whole runtime: real workers on a clock that is only counted, over stores in memory,
//! behind a network that fails. `tests/run simulation --seeds N --from S` runs as many seeds as wanted.

mod chance;
mod projections;
mod workload;
mod drawing;
mod less;
mod oracle;
mod stores;
mod world;
mod watcher;
mod link;
mod ports;
mod aws;
mod fleet;
mod operator;
mod resolving;
mod parked_streams;
mod records;
mod forgetting;
mod gaps;
mod producer;
mod run;
mod shrinking;
#[cfg(feature = "planted")]
mod planted;
mod table;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use less::Less;
use run::Failure;
use shrinking::Shrunk;
use stores::Bed;
use table::Table;

/// Of a run's time a good part is small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many seeds as an ordinary run of the tests has time for.
const SEEDS: u64 = 40;
/// Behind the clients of AWS a run takes several times as long.
const SEEDS_OVER_AWS: u64 = 10;
/// Of the seeds that fail, so many are shortened, each in up to 150 runs.
const SHORTENED: usize = 3;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn less() -> Less {
    std::env::var("SIMULATION_LESS").map_or(Less::default(), |text| text.parse().expect("what to leave out"))
}

/// What comes of each number, in their order. One knows nothing of another, so every core works on its own.
fn each<T: Send>(numbers: impl IntoIterator<Item = u64>, work: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
    let numbers: Vec<u64> = numbers.into_iter().collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let outcome = work(number);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        }
    };
    thread::scope(|threads| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes
}

/// The command that repeats a run that has failed.
fn tell(bed: Bed, seed: u64, less: &Less, failure: &Failure) {
    println!("seed {seed}: {failure}\n\n{}\n", command(bed, seed, less));
}

/// The same of what is left of the run, once all is left out without which it fails, too.
fn tell_shortened(bed: Bed, seed: u64, less: Less, failure: Failure) {
    let Shrunk { less, failure, .. } = Shrunk::of(bed, seed, less, failure);
    println!("shortened: {failure}\n\n{}\n", command(bed, seed, &less));
}

fn command(bed: Bed, seed: u64, less: &Less) -> String {
    let less = if *less == Less::default() { String::new() } else { format!(" --less '{less}'") };
    let planted =
        std::env::var("SIMULATION_PLANTED").map_or(String::new(), |bug| format!(" --planted {bug}"));
    let aws = if bed == Bed::Aws { " --aws" } else { "" };
    format!("tests/run simulation{aws}{planted} --seeds 1 --from {seed}{less}")
}

fn every_seed(bed: Bed, seeds: u64) {
    let (seeds, from) = (number("SIMULATION_SEEDS", seeds), number("SIMULATION_FROM", 0));
    let (mut table, mut failed) = (Table::default(), Vec::new());
    for (seed, outcome) in each(from..from + seeds, |seed| run::seed(bed, seed, &less())) {
        match outcome {
            Ok(report) => table.add(&report),
            Err(failure) => {
                tell(bed, seed, &less(), &failure);
                if failed.len() < SHORTENED {
                    tell_shortened(bed, seed, less(), failure);
                }
                failed.push(seed);
            }
        }
    }
    println!("{table}");
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}

#[test]
fn every_seed_ends_with_the_documents_of_a_sequential_fold() {
    every_seed(Bed::Memory, SEEDS);
}

#[test]
fn every_seed_over_aws_ends_with_the_documents_of_a_sequential_fold() {
    every_seed(Bed::Aws, SEEDS_OVER_AWS);
}

fn is_repeatable(bed: Bed, seeds: u64) {
    let run = |seed| run::seed(bed, seed, &Less::default()).map_err(|failure| failure.to_string());
    let all = || each(0..seeds, run);
    for ((seed, once), (_, again)) in all().into_iter().zip(all()) {
        assert_eq!(once, again, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    is_repeatable(Bed::Memory, 20);
}

#[test]
fn the_same_seed_gives_the_same_trace_over_aws() {
    is_repeatable(Bed::Aws, SEEDS_OVER_AWS / 2);
}

/// Of lists of shards that others had overtaken, of parents that others had ended, of merges of many shards at rest, of
/// merges whose child waits for a parent without room, of projections that catch up in turns too short for any of them, of
/// documents with more events than may be parked, of workers that others overtook while records were trimmed, of shards
/// that others had read before they were gone, of one that a wrong clock took for gone before anybody could have read it, of
/// parked streams whose return takes longer than the patience, of readings that somebody joined when they had stopped, of
/// one that let go whom it had not taken over yet, of a document of which two merges had parked, of a record that was read
/// anew while readings began, of forks that were left out between two readings of them, and of merges that stopped at a loss
/// in a child whose parents had not ended, or while an event was on its way into the lot, and of a merge that was overtaken and
/// saved a shard's end by what had been removed, of a stream that came back to two workers of which one found less in the lot,
/// of a worker that added to a cut on which another stood at the same place, and of two projections that took turns on the
/// shared line, of which one had never time enough, and of a merge's child that took out of the lot what its parent had not
/// settled, of a fork that nobody could set aside any more, and of what waited in a parent and could not be given up in its
/// child, of a projection that came to a cut which another had been overtaken with, and of a record that could come back in a
/// shard that nobody begins any more.
#[test]
fn seeds_that_once_failed_do_not_fail_again() {
    let seeds = [
        14, 48, 71, 73, 108, 144, 169, 258, 633, 1_061, 1_697, 1_998, 5_079, 5_689, 10_019, 10_058, 10_204,
        10_256, 10_592, 104_019, 106_717, 107_968, 209_367, 231_021, 231_553, 231_633, 232_248, 300_169,
        300_430, 351_054, 410_274, 453_285, 453_324, 501_368, 602_218, 700_674, 850_355, 1_100_021,
        2_059_878, 2_060_034, 2_101_353, 2_101_948,
    ];
    for (seed, outcome) in each(seeds, |seed| run::seed(Bed::Memory, seed, &Less::default())) {
        if let Err(failure) = outcome {
            panic!("seed {seed}: {failure}");
        }
    }
}
