//! A process that is frozen while it holds the database.

use std::time::{Duration, Instant};

use crate::{bed::Bed, chance::Chance, events::Arrivals, fleet::Fleet, shop};

/// Longer than any wait for a lock.
const HELD: Duration = Duration::from_secs(7);
/// Nobody who works holds the database for so long.
const BRIEF: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 200;

#[test]
fn a_process_that_is_frozen_while_it_writes_lets_the_others_wait_and_ends_none() {
    let bed = Bed::new(shop::CONFIG);
    let mut chance = Chance::new(3);
    let arrivals = Arrivals::start(bed.store.clone(), chance.fork(), false);
    let mut fleet = Fleet::start(&bed, 2);
    fleet.wait("both run", |fleet| fleet.members.iter().all(|member| member.runs()));
    let held = (0..ATTEMPTS).any(|_| {
        let appended = arrivals.appended();
        arrivals.add(30);
        fleet.wait("some events come", |_| arrivals.appended() >= appended + 10);
        let appended = arrivals.appended();
        fleet.freeze(0, HELD);
        let began = Instant::now();
        fleet.wait("events come, or none does", |_| {
            arrivals.appended() > appended + 5 || began.elapsed() > BRIEF
        });
        let held = arrivals.appended() <= appended + 5;
        if !held {
            fleet.wake();
        }
        held
    });
    assert!(held, "nobody held the database when it was frozen");
    fleet.join();
    fleet.wait("it wakes", |fleet| fleet.frozen() == 0);
    let facts = arrivals.finish();
    fleet.wait("the third runs", |fleet| fleet.members.iter().all(|member| member.runs()));
    fleet.end();
    bed.assert_right(&facts);
}
