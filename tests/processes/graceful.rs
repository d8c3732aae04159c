//! A process that is asked to stop passes on everything, and nothing is done again.

use std::time::Duration;

use crate::{bed::Bed, chance::Chance, events::Arrivals, fleet::Fleet, hand_offs::hand_offs, shop};

const STOPS: u64 = 8;
const PROCESSES: usize = 3;

#[test]
fn readings_go_on_exactly_where_those_before_ended_when_processes_stop_and_join() {
    let gaps = stops_and_joins(STOPS);
    assert!(gaps.len() as u64 > STOPS, "{} shards were passed on", gaps.len());
}

/// All that a fleet passes on while processes stop and others take their places, under load.
pub fn stops_and_joins(stops: u64) -> Vec<Duration> {
    let bed = Bed::new(shop::CONFIG);
    let mut chance = Chance::new(1);
    let arrivals = Arrivals::start(bed.store.clone(), chance.fork(), true);
    let mut fleet = Fleet::start(&bed, PROCESSES);
    fleet.wait("all share the work", |_| bed.is_shared_by(PROCESSES));
    for _ in 0..stops {
        let appended = arrivals.appended();
        arrivals.add(400);
        fleet.wait("events come", |_| arrivals.appended() > appended + 100);
        fleet.stop(chance.index(PROCESSES));
        fleet.join();
        fleet.wait("all share the work", |_| bed.is_shared_by(PROCESSES));
    }
    let facts = arrivals.finish();
    fleet.wait("all is in the documents", |_| bed.has(facts.len() - 1));
    fleet.end();
    bed.assert_right(&facts);
    hand_offs(&Fleet::said(&bed))
}
