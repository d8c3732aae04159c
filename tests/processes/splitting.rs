//! Shards that one process finds and another reads.

use std::time::{Duration, Instant};

use crate::{bed::Bed, chance::Chance, events::Appender, fleet::Fleet, shop};

const PROCESSES: usize = 2;
/// A process asks for new shards by itself less often than this.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_children_of_a_shard_are_read_soon_by_whoever_gets_them() {
    // A merge would read all shards, and find those that are new.
    let bed = Bed::new(shop::CONFIG.split_once("  journal:").unwrap().0);
    let mut appender = Appender::new(bed.store.clone(), Chance::new(4), Default::default());
    let mut fleet = Fleet::start(&bed, PROCESSES);
    fleet.wait("both share the work", |_| bed.is_shared_by(PROCESSES));
    let log = bed.wait_for(bed.store.existing_log(shop::SOURCE)).unwrap().unwrap();
    let of_first = bed.shards_of(fleet.members[0].id());
    let shards = bed.wait_for(log.describe()).unwrap().shards;
    for shard in shards.iter().filter(|shard| of_first.contains(&shard.id)) {
        let half = shard.range.first + (shard.range.last - shard.range.first) / 2;
        bed.wait_for(log.split(&shard.id, half)).unwrap();
    }
    let began = Instant::now();
    for stream in 0..shop::STREAMS {
        bed.wait_for(appender.append_to(stream, 1));
    }
    fleet
        .wait("what has come is in the documents", |_| (0..appender.facts.len()).all(|event| bed.has(event)));
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
    fleet.end();
}
