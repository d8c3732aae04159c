//! What an operator does while workers live and die: projections are paused, resumed, and rewound.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Checkpoint, Epoch, ErrorKind, LeaseKey, ProjectionId, SourceName, Timestamp,
    ports::{From, Source, Table},
};
use foldstream_runtime::{
    assembly::ProjectionSpec,
    control::{self, Actor, Controls},
    report::WorkerReport,
    rows::{self, Rows},
};
use tokio::task::JoinSet;

use crate::{chance::Chance, fleet, link::Link, watcher::SOURCE, workload::RewindTo, world::World};

pub fn rows(world: &Arc<World>) -> Rows {
    Rows::new(world.checkpoints.clone())
}

pub fn actor(world: &Arc<World>) -> Actor {
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
    let plan = match controls.plan_rewind(&id, &world.log, &back_to).await {
        // What it needs was forgotten.
        Err(error) if error.kind() == ErrorKind::Invalid && !world.log.forgotten().is_empty() => {
            return world.count("rewind refused");
        }
        plan => plan.expect("a plan"),
    };
    let what = to.name();
    world.count(what);
    if !plan.ended.is_empty() {
        world.count("rewind behind a parent");
    }
    world.saw(&format!("{id} {what} {back_to:?}: {plan:?}"));
    let rebuild = matches!(to, RewindTo::Rebuild);
    controls.rewind(&id, &plan, rebuild, &actor(world)).await.expect("a rewind");
}

/// The code is mended: at once, or by a change that is taken over. Who runs the older code goes on beside it, or a deploy has
/// ended all that run before.
pub async fn mend(world: &Arc<World>, redrives: &mut JoinSet<()>) {
    if !world.weather.deploys {
        return world.mend();
    }
    if world.is_deployed() && !is_refused(world).await {
        return;
    }
    if world.weather.beside {
        world.count("amended beside");
        world.mend();
        return amend(world).await;
    }
    world.count("deploy");
    world.begin_deploy();
    redrives.shutdown().await;
    while world.lives() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.mend();
    amend(world).await;
    world.end_deploy();
}

/// Where a worker of the older code was the first to register a projection, the change is taken over after that.
pub async fn amend_refused(world: &Arc<World>) {
    if is_refused(world).await {
        world.count("amended again");
        amend(world).await;
    }
}

async fn amend(world: &Arc<World>) {
    for spec in changed(world).await {
        Controls::new(rows(world)).amend(&spec, &actor(world)).await.expect("an amendment");
    }
}

/// The mended projections that are registered. Who is not will be, by a worker that runs the newer code.
async fn changed(world: &Arc<World>) -> Vec<ProjectionSpec> {
    let link = Link::new(world, "deploy".to_owned());
    let mut changed = Vec::new();
    for kind in world.workload.on_failure.keys().filter(|kind| world.is_mended(**kind)) {
        let spec = fleet::projection(&link, *kind);
        if rows(world).control(&spec.id).await.expect("a control").is_some() {
            changed.push(spec);
        }
    }
    changed
}

/// Whether what was registered of a projection, by a request that was long on its way, is that of before.
async fn is_refused(world: &Arc<World>) -> bool {
    let controls = Controls::new(rows(world));
    for spec in changed(world).await {
        if controls.get(&spec.id).await.expect("a control").fingerprint != spec.fingerprint {
            return true;
        }
    }
    false
}

/// Takes a lease away from whoever works under it, who may be frozen before it can know.
pub async fn release(world: &Arc<World>, number: u64, freezes: u64) {
    let source = SourceName::new(SOURCE);
    let mut leases = world.leases.list(&source).await.expect("leases");
    leases.retain(|lease| !matches!(lease.key, LeaseKey::Worker(_)));
    let held: Vec<_> = leases.iter().filter_map(|lease| Some((lease, lease.released()?))).collect();
    let Some(chosen) = number.checked_rem(held.len() as u64) else { return };
    let (lease, free) = &held[usize::try_from(chosen).unwrap_or(0)];
    world.leases.put(&source, Some(lease), free).await.expect("a release");
    world.count("lease released");
    world.saw(&format!("{} is taken away from {:?}", lease.key, lease.holder()));
    let holder = lease.holder().map(ToString::to_string).unwrap_or_default();
    for process in world.processes_of(&holder).into_iter().filter(|_| freezes > 0) {
        world.count("its owner freezes");
        process.freeze(true);
        world.send(async move {
            tokio::time::sleep(Duration::from_millis(freezes)).await;
            process.freeze(false);
        });
    }
}

/// Projections that have stopped begin again.
pub async fn start_again(world: &Arc<World>, paused: bool) {
    for (number, kind) in (0..).zip(&world.workload.kinds) {
        if !paused || has_stopped(world, &ProjectionId::new(kind.name(), 1)).await {
            set_paused(world, number, paused).await;
        }
    }
}

/// Whether a projection has stopped somewhere. Where a parent's end is not saved yet, only a worker says so.
async fn has_stopped(world: &Arc<World>, id: &ProjectionId) -> bool {
    let rows = rows(world);
    let saved = rows.all::<Checkpoint>(Table::Checkpoints, &id.row_name()).await.expect("checkpoints");
    let reports = rows.all::<WorkerReport>(Table::Reports, rows::REPORTS).await.expect("reports");
    let mut said = reports.iter().flat_map(|(_, report)| &report.body.projections);
    saved.iter().any(|(_, row)| row.body.stop.is_some())
        || said.any(|said| said.projection == *id && said.stop.is_some())
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
