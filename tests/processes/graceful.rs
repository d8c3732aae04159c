//! A process that is asked to stop passes on everything, and nothing is done again.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::{bed::Bed, chance::Chance, events::Arrivals, fleet::Fleet, process::Said, shop};

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

/// How long nobody read a shard that was passed on, of all that were; each new reading begins where the old one ended.
fn hand_offs(said: &[Vec<Said>]) -> Vec<Duration> {
    let by_process = said.iter().enumerate();
    let mut all: Vec<(usize, &Said)> =
        by_process.flat_map(|(process, said)| said.iter().map(move |said| (process, said))).collect();
    all.sort_by_key(|(_, said)| said.at);
    let (mut owners, mut gaps) = (BTreeMap::<String, Owner>::new(), Vec::new());
    for (process, said) in all {
        let text = |name: &str| said.fields[name].as_str().unwrap_or_default().to_owned();
        let shard = text("shard");
        if text("reader") == "merge" {
            continue;
        }
        match said.message.as_str() {
            "a reading begins" => {
                let owner = owners.entry(shard.clone()).or_insert_with(|| Owner::new(process));
                if owner.process != process {
                    let (after, ended_at) = (text("after"), &owner.ended_at);
                    assert!(ended_at.contains(&after), "{shard}: began after {after}, ended at {ended_at:?}");
                    let left = owner.left.unwrap();
                    gaps.push(said.at.duration_since(left).try_into().unwrap());
                    *owner = Owner::new(process);
                }
            }
            "a reading was told to end" => owners.get_mut(&shard).unwrap().ended_at.push(text("up_to")),
            "leaving the shard to others" => {
                if let Some(owner) = owners.get_mut(&shard) {
                    owner.left = Some(said.at);
                }
            }
            _ => {}
        }
    }
    gaps
}

/// Who reads a shard.
struct Owner {
    process: usize,
    /// When it was told to pass the shard on.
    left: Option<Timestamp>,
    /// A shard may have several readings, while projections enter it one by one.
    ended_at: Vec<String>,
}

impl Owner {
    fn new(process: usize) -> Self {
        Self { process, left: None, ended_at: Vec::new() }
    }
}
