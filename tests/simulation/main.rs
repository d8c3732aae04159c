//! A deterministic simulation of the whole runtime: real workers on a clock that is only counted, over stores in memory,
//! behind a network that fails. `tests/run simulation --seeds N --from S` runs as many seeds as wanted.

mod chance;
mod workload;
mod oracle;
mod world;
mod watcher;
mod link;
mod ports;
mod fleet;
mod operator;
mod resolving;
mod run;
mod table;

use std::{
    panic::catch_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use run::Report;
use table::Table;

/// As many seeds as an ordinary run of the tests has time for.
const SEEDS: u64 = 40;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What came of each seed, in the order of the seeds. One knows nothing of another, so every core runs its own.
fn all(seeds: std::ops::Range<u64>) -> Vec<(u64, Result<Report, String>)> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let outcome = catch_unwind(|| run::seed(seed)).unwrap_or_else(|_| Err("it panicked".to_owned()));
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((seed, outcome));
    };
    thread::scope(|threads| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

#[test]
fn every_seed_ends_with_the_documents_of_a_sequential_fold() {
    let (seeds, from) = (number("SIMULATION_SEEDS", SEEDS), number("SIMULATION_FROM", 0));
    let (mut table, mut failed) = (Table::default(), Vec::new());
    for (seed, outcome) in all(from..from + seeds) {
        match outcome {
            Ok(report) => table.add(&report),
            Err(wrong) => {
                println!("seed {seed}: {wrong}\n\ntests/run simulation --seeds 1 --from {seed}\n");
                failed.push(seed);
            }
        }
    }
    println!("{table}");
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for ((seed, once), (_, again)) in all(0..20).into_iter().zip(all(0..20)) {
        assert_eq!(once, again, "seed {seed}");
    }
}

/// Of lists of shards that others had overtaken, of parents that others had ended, of merges of many shards at rest, of
/// merges whose child waits for a parent without room, and of projections that catch up in turns too short for any of them.
#[test]
fn seeds_that_once_failed_do_not_fail_again() {
    for seed in [48, 73, 108, 144, 169, 258, 5079, 5689, 300_169, 410_274, 850_355] {
        if let Err(wrong) = run::seed(seed) {
            panic!("seed {seed}: {wrong}");
        }
    }
}
