//! Which shards a source has; and where it is read for the first time, where another application has left them.

use std::collections::BTreeMap;

use foldstream_model::{Error, ForeignLease, LeftAt, Result, Shard, ShardId};

use super::SourceTask;
use crate::{
    assembly::Start,
    lineage::Lineage,
    retry,
    rows::{self, Rows},
};

/// Every shard that is listed.
pub(super) type Listed = BTreeMap<ShardId, Shard>;

/// The first look at a source; none: it was told to stop while it waited for another application to.
pub(super) async fn first(task: &SourceTask, rows: &Rows) -> Result<Option<(Lineage, Listed)>> {
    if rows.source(&task.spec.name).await?.is_some() {
        return discover(task, rows).await.map(Some);
    }
    let left = tokio::select! {
        biased;
        () = task.drain.cancelled() => return Ok(None),
        left = left(task, rows) => left?,
    };
    discover_new(task, rows, left.as_ref()).await.map(Some)
}

/// Lists the shards, and makes what is new about them durable before anything is read.
pub(super) async fn discover(task: &SourceTask, rows: &Rows) -> Result<(Lineage, Listed)> {
    discover_new(task, rows, None).await
}

/// The source is asked after the row was read: a shard that another worker has added since an older list was made is not gone.
async fn discover_new(
    task: &SourceTask,
    rows: &Rows,
    left: Option<&BTreeMap<ShardId, LeftAt>>,
) -> Result<(Lineage, Listed)> {
    let description = task.spec.source.describe().await?;
    loop {
        let stored = rows.source(&task.spec.name).await?;
        let listed = task.spec.source.shards().await?;
        let revision = stored.as_ref().map(|stored| stored.revision);
        let is_new = stored.is_none();
        let mut lineage = match stored {
            Some(stored) => stored.body,
            None => Lineage::new(description.incarnation.clone()),
        };
        let changed = lineage.discover(&description.incarnation, &listed, task.services.clock.now())?;
        if let Some(left) = left.filter(|_| is_new) {
            lineage.take_over(left);
        }
        let key = rows::source_key(&task.spec.name);
        if !changed || rows.put(&key, revision, &lineage).await?.is_some() {
            let listed = listed.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            return Ok((lineage, listed));
        }
    }
}

/// Where another application has left the shards, once none of its workers is alive. None: there is no other. What it has
/// left is neither taken over nor passed over unsaid: both are decided in the configuration.
async fn left(task: &SourceTask, rows: &Rows) -> Result<Option<BTreeMap<ShardId, LeftAt>>> {
    let source = &task.spec.name;
    let mut leases = ask(task).await?;
    let is_wanted = task.spec.start == Start::LeaseTable;
    match (is_wanted, leases.iter().find(|lease| is_wanted || !lease.is_ours)) {
        (false, None) => return Ok(None),
        (false, Some(lease)) => {
            return Err(Error::invalid(format!(
                "the lease table of source={source} holds the checkpoints of another application, as for shard={}. To go on \
                 behind them, give the source `start: LEASE_TABLE`; to begin elsewhere and leave them as they are, name \
                 another `lease_table`, or none",
                lease.shard
            )));
        }
        (true, None) => {
            return Err(Error::invalid(format!(
                "`start: LEASE_TABLE` finds no leases of another application to go on with: source={source}. Is `lease_table` \
                 the name of that application? If nothing is to be taken over, begin at TRIM_HORIZON, LATEST or AT_TIMESTAMP"
            )));
        }
        (true, Some(_)) => {}
    }
    loop {
        let before = leases;
        tokio::time::sleep(task.settings.takeover_patience).await;
        leases = ask(task).await?;
        if rows.source(source).await?.is_some() {
            // Another worker of ours has taken over, and renews by now.
            return Ok(None);
        }
        let Some(alive) = leases.iter().find(|lease| !before.contains(lease)) else { break };
        tracing::warn!(%source, shard = %alive.shard, owner = ?alive.owner, "another application still works under the leases of this source: its shards are taken over once it has stopped");
    }
    for ForeignLease { shard, left_at, .. } in &leases {
        tracing::info!(%source, %shard, ?left_at, "taking the shard over where another application has left it");
    }
    Ok(Some(leases.into_iter().map(|lease| (lease.shard, lease.left_at)).collect()))
}

async fn ask(task: &SourceTask) -> Result<Vec<ForeignLease>> {
    let (leases, source) = (&task.services.leases, &task.spec.name);
    retry::until_done("reading the leases of another application", || leases.foreign(source)).await
}
