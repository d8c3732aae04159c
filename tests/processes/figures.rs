//! How long a shard is without a worker: figures, by a command that the list of figures names.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use foldstream_local::ShardDescription;
use foldstream_model::{ShardId, ports::Source};
use foldstream_tests::figures::percentiles;

use crate::{bed::Bed, chance::Chance, events::Appender, fleet::Fleet, graceful, shop};

const PROCESSES: usize = 3;
const KILLS: usize = 20;
const STOPS: u64 = 20;

#[test]
#[ignore = "it measures"]
fn figures_of_take_overs_after_kills() {
    let bed = Bed::new(shop::CONFIG);
    let mut fleet = Fleet::start(&bed, PROCESSES);
    fleet.wait("all share the work", |_| bed.is_shared_by(PROCESSES));
    let streams = one_stream_of_each_shard(&bed);
    let mut appender = Appender::new(bed.store.clone(), Chance::new(1), Arc::default());
    let (mut chance, mut times) = (Chance::new(2), Vec::new());
    for _ in 0..KILLS {
        let victim = chance.index(PROCESSES);
        let shards = bed.shards_of(fleet.members[victim].id());
        fleet.kill(victim);
        let killed = Instant::now();
        let mut awaited: Vec<usize> = Vec::new();
        for shard in shards {
            bed.wait_for(appender.append_to(streams[&shard], 1));
            awaited.push(appender.facts.len() - 1);
        }
        fleet.wait("what came is in the documents", |_| {
            awaited.retain(|event| {
                let waits = !bed.has(*event);
                times.extend((!waits).then(|| killed.elapsed()));
                waits
            });
            awaited.is_empty()
        });
        fleet.join();
        fleet.wait("all share the work", |_| bed.is_shared_by(PROCESSES));
    }
    fleet.end();
    println!("from kill -9 to the first document of a shard by another: {}", percentiles(times));
}

#[test]
#[ignore = "it measures"]
fn figures_of_hand_offs() {
    println!("nobody reads a shard that is passed on: {}", percentiles(graceful::stops_and_joins(STOPS)));
}

fn one_stream_of_each_shard(bed: &Bed) -> BTreeMap<ShardId, usize> {
    let log = bed.wait_for(bed.store.existing_log(shop::SOURCE)).unwrap().unwrap();
    let shards = bed.wait_for(log.describe()).unwrap().shards;
    let shard_of = |stream: usize| {
        let key = log.source().hash_key(&shop::name(stream));
        let holds = |shard: &&ShardDescription| shard.range.first <= key && key <= shard.range.last;
        shards.iter().find(holds).map(|shard| (shard.id.clone(), stream))
    };
    (0..shop::STREAMS).filter_map(shard_of).collect()
}
