//! What an operator does while workers live and die: projections are paused, resumed, and rewound.

use std::sync::Arc;

use foldstream_model::{Epoch, Place, ProjectionId, ShardId, SourceName, Timestamp};
use foldstream_runtime::{
    checkpoint,
    control::{Actor, Controls, Starts},
    rows::Rows,
};

use crate::{chance::Chance, watcher::SOURCE, workload::RewindTo, world::World};

fn rows(world: &Arc<World>) -> Rows {
    Rows::new(world.checkpoints.clone())
}

fn actor(world: &Arc<World>) -> Actor {
    let now = i64::try_from(world.began.elapsed().as_micros()).unwrap_or(0);
    Actor { who: "operator".to_owned(), reason: None, at: Timestamp::from_micros(now) }
}

/// A projection that some worker has registered.
async fn registered(world: &Arc<World>, number: u64) -> Option<ProjectionId> {
    let kinds = &world.workload.kinds;
    let kind = kinds[usize::try_from(number % kinds.len() as u64).unwrap_or(0)];
    let id = ProjectionId::new(kind.name(), 1);
    rows(world).control(&id).await.expect("a control").map(|_| id)
}

pub async fn epoch(world: &Arc<World>, id: &ProjectionId) -> Option<Epoch> {
    rows(world).control(id).await.expect("a control").map(|stored| stored.body.epoch)
}

pub async fn set_paused(world: &Arc<World>, number: u64, paused: bool) {
    let Some(id) = registered(world, number).await else { return };
    let changed = Controls::new(rows(world)).set_paused(&id, paused, &actor(world)).await.expect("a change");
    if changed && paused {
        world.count("pause");
    }
    world.saw(&format!("{id} paused={paused}"));
}

pub async fn resume_all(world: &Arc<World>) {
    for number in 0..world.workload.kinds.len() as u64 {
        set_paused(world, number, false).await;
    }
}

pub async fn rewind(world: &Arc<World>, number: u64, to: RewindTo) {
    let Some(id) = registered(world, number).await else { return };
    let (starts, what) = match to {
        RewindTo::Beginning => (Starts::new(), "rewind"),
        RewindTo::Rebuild => (Starts::new(), "rebuild"),
        RewindTo::Before(seed) => (starts(world, &id, Chance::new(seed)).await, "rewind to places"),
    };
    let rebuild = matches!(to, RewindTo::Rebuild);
    world.count(what);
    world.saw(&format!("{id} {what} {starts:?}"));
    Controls::new(rows(world)).rewind(&id, starts, rebuild, &actor(world)).await.expect("a rewind");
}

/// Cuts that are not beyond what the projection has settled; of some shards none, which is their beginning, as of all
/// that descend from others.
async fn starts(world: &Arc<World>, id: &ProjectionId, mut chance: Chance) -> Starts {
    let (rows, source) = (rows(world), SourceName::new(SOURCE));
    let control = rows.control(id).await.expect("a control").expect("it is registered").body;
    let lineage = rows.source(&source).await.expect("a source");
    let shards: Vec<ShardId> = lineage
        .map(|lineage| {
            let roots = lineage.body.shards().filter(|(_, known)| known.parents.is_empty());
            roots.map(|(shard, _)| shard.clone()).collect()
        })
        .unwrap_or_default();
    let mut starts = Starts::new();
    for shard in shards {
        let stored =
            rows.checkpoint(id, &source, &shard).await.expect("a checkpoint").map(|known| known.body);
        let stands = checkpoint::effective(stored, &control, &shard).place();
        let mut cuts = rows.cut_ids(&source, &shard).await.expect("cuts");
        cuts.retain(|cut| cut.place <= stands);
        if cuts.is_empty() || chance.one_in(3) {
            continue;
        }
        let place: Place = chance.pick(&cuts).place;
        starts.extend(rows.newest_cut(&source, &shard, &place).await.expect("cuts").map(|cut| (shard, cut)));
    }
    starts
}
