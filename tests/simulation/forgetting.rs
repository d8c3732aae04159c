//! What the source forgets: records that every projection has settled, and once in a while some that one has not.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Checkpoint, Position, ProjectionId, ShardId, SourceName, Stop, ports::Table};
use foldstream_runtime::{
    checkpoint,
    lineage::Lineage,
    report::WorkerReport,
    rows::{self, Rows},
};

use crate::{operator, projections::Kind, watcher::SOURCE, world::World};

type Stands = BTreeMap<ShardId, Checkpoint>;

/// Where each projection stands in each shard; none if one is not registered yet.
async fn standings(world: &Arc<World>, rows: &Rows, lineage: &Lineage) -> Option<Vec<(Kind, Stands)>> {
    let source = SourceName::new(SOURCE);
    let mut standings = Vec::new();
    for kind in &world.workload.kinds {
        let id = ProjectionId::new(kind.name(), 1);
        let control = rows.control(&id).await.expect("a control")?.body;
        let mut stands = Stands::new();
        for (shard, _) in lineage.shards() {
            let stored = rows.checkpoint(&id, &source, shard).await.expect("a checkpoint");
            let counts = checkpoint::effective(stored.map(|stored| stored.body), &control, shard);
            stands.insert(shard.clone(), counts);
        }
        standings.push((*kind, stands));
    }
    Some(standings)
}

/// Forgets in some shards what all have settled; or whatever is there, if that `loses` something.
pub async fn forget(world: &Arc<World>, loses: bool) {
    let (rows, source) = (operator::rows(world), SourceName::new(SOURCE));
    let Some(lineage) = rows.source(&source).await.expect("a source").map(|stored| stored.body) else {
        return;
    };
    let Some(standings) = standings(world, &rows, &lineage).await else { return };
    for (shard, known) in lineage.shards() {
        // What of a shard was never looked at is not kept from before, by the start policy.
        let is_begun = world.checkpoints.body(&rows::journal_key(&source, shard)).is_some();
        if known.gone_at.is_some() || (known.initial && !is_begun) || world.chance().one_in(3) {
            continue;
        }
        let stands: Vec<_> = standings.iter().map(|(kind, stands)| (*kind, &stands[shard])).collect();
        let is_over = stands.iter().all(|(_, checkpoint)| checkpoint.ended);
        let settled = stands.iter().map(|(_, checkpoint)| checkpoint.place().position).min();
        let up_to = if loses || is_over {
            Position::new(u64::MAX.into())
        } else {
            settled.unwrap_or(Position::BEGINNING)
        };
        world.log.trim(shard, &up_to);
        let Some((_, forgotten)) = world.log.forgotten().into_iter().find(|(known, _)| known == shard) else {
            continue;
        };
        world.count("records forgotten");
        world.saw(&format!("{shard} is forgotten up to {forgotten}"));
        for (kind, checkpoint) in stands {
            if !checkpoint.ended && checkpoint.place().position < forgotten {
                world.count("records lost");
                world.lose(kind);
            }
        }
    }
}

/// Whether a stop says of a projection that records were lost to it, as they were.
pub fn is_said(world: &World, kind: Kind, stop: &Stop) -> bool {
    let reason = &stop.reason;
    // The last is said by a reader that was ahead of those to whom records were lost, of what waited with it.
    let words = ["were trimmed before", "retention time", "was removed with what the source has trimmed"];
    let is_said = words.iter().any(|words| reason.contains(words));
    world.has_lost(kind) && is_said
}

/// Whether a projection has stopped where records were lost to it: what it has made is all that it can. Only reports say
/// so of a child whose parents have not ended: it has no checkpoint yet.
pub async fn has_stopped(world: &Arc<World>, kind: Kind) -> bool {
    if !world.has_lost(kind) {
        return false;
    }
    let (rows, id) = (operator::rows(world), ProjectionId::new(kind.name(), 1));
    let saved = rows.all::<Checkpoint>(Table::Checkpoints, &id.row_name()).await.expect("checkpoints");
    let saved = saved.into_iter().filter_map(|(_, row)| row.body.stop);
    let reports = rows.all::<WorkerReport>(Table::Reports, rows::REPORTS).await.expect("reports");
    let reports = reports.into_iter().flat_map(|(_, row)| row.body.projections);
    let told = reports.filter(|report| report.projection == id).filter_map(|report| report.stop);
    saved.chain(told).any(|stop| is_said(world, kind, &stop))
}
