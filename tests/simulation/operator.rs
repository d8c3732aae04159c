//! What an operator does while workers live and die: projections are paused, resumed, and rewound.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{
    Epoch, ProjectionId, SourceName, Timestamp,
    ports::{From, Source},
};
use foldstream_runtime::{
    control::{self, Actor, Controls},
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
    let back_to = match to {
        RewindTo::Beginning | RewindTo::Rebuild => control::RewindTo::Beginning,
        RewindTo::Places(seed) => places(world, Chance::new(seed)).await,
        RewindTo::Time(seed) => time(world, Chance::new(seed)).await,
    };
    let controls = Controls::new(rows(world));
    let plan = controls.plan_rewind(&id, &world.log, &back_to).await.expect("a plan");
    let what = to.name();
    world.count(what);
    if !plan.ended.is_empty() {
        world.count("rewind behind a parent");
    }
    world.saw(&format!("{id} {what} {back_to:?}: {plan:?}"));
    let rebuild = matches!(to, RewindTo::Rebuild);
    controls.rewind(&id, &plan, rebuild, &actor(world)).await.expect("a rewind");
}

/// In each shard that has cuts one of their places, its end, or none.
async fn places(world: &Arc<World>, mut chance: Chance) -> control::RewindTo {
    let (rows, source, mut positions) = (rows(world), SourceName::new(SOURCE), BTreeMap::new());
    for shard in world.log.shards().await.expect("shards") {
        let cuts = rows.cut_ids(&source, &shard.id).await.expect("cuts");
        let end = world.log.open(&shard.id, From::Latest).await.expect("a reader").position();
        if chance.one_in(2) {
            positions.insert(shard.id, end);
        } else if !cuts.is_empty() && !chance.one_in(4) {
            positions.insert(shard.id, chance.pick(&cuts).place.position);
        }
    }
    control::RewindTo::Positions(positions)
}

async fn time(world: &Arc<World>, mut chance: Chance) -> control::RewindTo {
    let now = u64::try_from(world.began.elapsed().as_micros()).unwrap_or(0);
    let time = Timestamp::from_micros(i64::try_from(chance.within(0..now + 1)).unwrap_or(0));
    let mut positions = BTreeMap::new();
    for shard in world.log.shards().await.expect("shards") {
        let reader = world.log.open(&shard.id, From::AtTimestamp(time)).await.expect("a reader");
        positions.insert(shard.id, reader.position());
    }
    control::RewindTo::Positions(positions)
}
