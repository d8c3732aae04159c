//! Anything may happen to a process at any moment.

use std::{env, time::Duration};

use crate::{bed::Bed, chance::Chance, events::Arrivals, fleet::Fleet, shop};

/// What is done to processes; `PROCESSES_ROUNDS` does more, `PROCESSES_SEED` the same again, as far as that depends on
/// chance and not on the machine.
const ROUNDS: usize = 60;
const PROCESSES: usize = 3;
/// Frozen at once.
const FROZEN: usize = 2;
const LONGEST_FREEZE_MS: u64 = 20_000;

#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Stop,
    Freeze,
}

#[test]
fn killed_stopped_and_frozen_at_random_the_fleet_loses_and_doubles_nothing() {
    let rounds = number("PROCESSES_ROUNDS").unwrap_or(ROUNDS as u64);
    let seed = number("PROCESSES_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("PROCESSES_SEED={seed}");
    let mut chance = Chance::new(seed);
    let bed = Bed::new(shop::CONFIG);
    let arrivals = Arrivals::start(bed.store.clone(), chance.fork(), true);
    let mut fleet = Fleet::start(&bed, PROCESSES);
    let mut asked = 0;
    for round in 0..rounds {
        let more = usize::try_from(chance.within(50..200)).unwrap();
        arrivals.add(more);
        asked += more;
        strike(&mut fleet, &mut chance, round);
        let appended = arrivals.appended();
        match chance.one_in(3) {
            true => {
                fleet.wait("what has come is in the documents", |_| appended == 0 || bed.has(appended - 1))
            }
            false => {
                let some = usize::try_from(chance.within(1..50)).unwrap();
                let until = asked.min(appended + some);
                fleet.wait("some events come", |_| arrivals.appended() >= until);
            }
        }
    }
    let facts = arrivals.finish();
    fleet.end();
    println!("{} events, {rounds} rounds", facts.len());
    bed.assert_right(&facts);
}

fn strike(fleet: &mut Fleet<'_>, chance: &mut Chance, round: u64) {
    fleet.wait("somebody works", |fleet| !fleet.members.is_empty());
    let victim = chance.index(fleet.members.len());
    let drawn = chance.pick(&[Blow::Kill, Blow::Stop, Blow::Freeze]);
    let blow = match drawn {
        Blow::Freeze if fleet.frozen() == FROZEN => Blow::Kill,
        // Before it heeds the signal, it dies of it.
        Blow::Stop if !fleet.members[victim].runs() => Blow::Kill,
        blow => blow,
    };
    let process = fleet.members[victim].id();
    match blow {
        Blow::Kill => fleet.kill(victim),
        Blow::Stop => fleet.stop(victim),
        Blow::Freeze => {
            let longest = chance.pick(&[300, 3_000, 6_000, LONGEST_FREEZE_MS]);
            fleet.freeze(victim, Duration::from_millis(chance.within(0..longest)));
        }
    }
    println!(
        "round {round}: {blow:?} {process}, {} work, {} are frozen",
        fleet.members.len(),
        fleet.frozen()
    );
    while fleet.members.len() < PROCESSES {
        fleet.join();
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable}={value}: a number")))
}
