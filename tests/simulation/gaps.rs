//! Events that never come, and that no store has: an operator gives up what is missing, now and then what is only late.

use std::{collections::BTreeSet, sync::Arc};

use foldstream_model::{
    Entry, Journal, JournalEntry, Position, Sequence, ShardId, SourceName, ports::Source,
};
use foldstream_runtime::deciding::{OpenGap, open_gaps};

use crate::{operator, parked_streams, watcher::SOURCE, workload, world::World};

/// In a journal behind one horizon: far more than there are events in a run.
const MOST_ENTRIES: usize = 1_000;

async fn open(world: &Arc<World>) -> Vec<OpenGap> {
    let hash_key = |key: &str| world.log.hash_key(key);
    open_gaps(&operator::rows(world), &SourceName::new(SOURCE), Sequence(1), &hash_key).await.expect("gaps")
}

async fn give_up_one(world: &Arc<World>, open: &OpenGap) {
    let gap = &open.gap;
    let what = format!("{} #{} to #{}", gap.stream, gap.first_missing, gap.last_missing);
    world.count("given up");
    match parked_streams::decider(world, "giver").await.give_up(open).await {
        Ok(shard) => world.saw(&format!("{what} given up in {shard}")),
        Err(error) => world.saw(&format!("{what} not given up: {error}")),
    }
}

/// Gives up what is missing of some stream, though it may be on its way.
pub async fn give_up(world: &Arc<World>, number: u64) {
    let open = open(world).await;
    let Some(chosen) = number.checked_rem(open.len() as u64) else { return };
    give_up_one(world, &open[usize::try_from(chosen).unwrap_or(0)]).await;
}

/// Faults have stopped: what never comes is given up.
pub async fn give_up_lost(world: &Arc<World>) {
    let lost = &world.workload.lost;
    for open in open(world).await {
        let (stream, gap) = (workload::stream(open.gap.stream.as_str()), &open.gap);
        if (gap.first_missing.0..=gap.last_missing.0).all(|sequence| lost.contains(&(stream, sequence))) {
            give_up_one(world, &open).await;
        }
    }
}

/// A journal was written. Of what an entry in it gives up, that has no effect which had no record before the entry's place.
/// A stream's records are in one shard after the other, whose names tell which.
pub async fn entered(world: &Arc<World>, shard: &ShardId, from: &Position) {
    let (rows, source) = (operator::rows(world), SourceName::new(SOURCE));
    let stored = rows.journal(&source, shard, None, from).await.expect("a journal");
    let Some((_, Journal { entries, .. })) = stored else { return };
    if entries.len() > MOST_ENTRIES {
        world.break_off(format!("the journal of {shard} grows without end: entries={}", entries.len()));
    }
    for JournalEntry { after, entry } in entries {
        let Entry::GiveUp { stream, up_to } = entry else { continue };
        let stream = workload::stream(stream.as_str());
        let came = |sequence: u64| {
            let before = |(of, position): &(ShardId, Position)| (of, position) <= (shard, &after);
            world.records_of(stream, sequence).iter().any(before)
        };
        let gone: BTreeSet<_> = (1..=up_to.0).filter(|sequence| !came(*sequence)).collect();
        if !gone.is_empty() && !came(up_to.0 + 1) {
            world.break_off(format!("s-{stream} is given up to #{up_to}, and nothing waits behind that"));
        }
        world.gives_up(stream, &gone);
    }
}
