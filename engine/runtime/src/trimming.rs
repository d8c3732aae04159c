//! The task that removes what a source's retention has made useless: cuts, and entries of journals.
//!
//! Any number of workers may do it at once, and a crash may leave it half done. Removing is repeated without harm; the
//! first page of a cut goes first, and without it the cut counts as not there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Checkpoint, CutId, Journal, Position, ProjectionId, Result, ShardId, SourceName,
    ports::{From, RowKey, Source, Table},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint,
    control::Controls,
    lineage::Lineage,
    metrics,
    order::cut_rows,
    planted::{self, Bug},
    retention::{self, Kept, KnownCut, Needed, Stands},
    rows::{self, Rows},
};

/// A round reads every cut of a shard; it may take so much of the time that passes.
const SHARE_OF_TIME: u32 = 100;
/// A journal that changes all the while is left for the next round.
const TRIES: usize = 8;

/// What a round has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Rows of cuts and of early events.
    pub rows: usize,
    /// Rows of journals' entries.
    pub entries: usize,
}

pub struct Trimming {
    source: Arc<dyn Source>,
    name: SourceName,
    rows: Rows,
    /// What the last round has found: as long as that is so, there is nothing new to remove.
    found: BTreeMap<ShardId, Found>,
    /// What was found of a shard and its descendants when the rows of its early events were last looked at.
    swept: BTreeMap<ShardId, Vec<Option<Found>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kept: Kept,
    needed: Needed,
    /// Nobody begins before it any more.
    floor: Option<Position>,
}

impl Trimming {
    pub fn new(name: SourceName, source: Arc<dyn Source>, rows: Rows) -> Self {
        Self { source, name, rows, found: BTreeMap::new(), swept: BTreeMap::new() }
    }

    /// A round now and then, until drained. A round that fails is not worth stopping for: the next one does its work.
    pub async fn run(mut self, interval: Duration, drain: CancellationToken) -> Result<()> {
        let rounds = async {
            loop {
                let began = Instant::now();
                if let Err(error) = self.round().await {
                    tracing::warn!(source = %self.name, %error, "what nobody needs any more could not be removed");
                }
                tokio::time::sleep(interval.max(SHARE_OF_TIME * began.elapsed())).await;
            }
        };
        tokio::select! {
            biased;
            () = drain.cancelled() => Ok(()),
            () = rounds => Ok(()),
        }
    }

    /// Removes what nobody needs any more.
    pub async fn round(&mut self) -> Result<Removed> {
        let mut removed = Removed::default();
        let Some(lineage) = self.rows.source(&self.name).await? else { return Ok(removed) };
        let lineage = lineage.body;
        let mut kept = BTreeMap::new();
        for (shard, known) in lineage.shards() {
            kept.insert(
                shard.clone(),
                if known.gone_at.is_some() { Kept::Nothing } else { self.kept(shard).await },
            );
        }
        kept.retain(|_, kept| *kept != Kept::Behind(Position::BEGINNING));
        if kept.is_empty() {
            return Ok(removed);
        }
        // Before any cut is listed: one that is written from now on adds to what is known to be needed now.
        let projections = stands(&self.rows, &self.name, &lineage).await?;
        let projections: Vec<Stands> = projections.into_iter().map(|(_, stands)| stands).collect();
        for (shard, kept) in kept {
            let needed = retention::needed(&lineage, &shard, &projections);
            let is_so = |found: &Found| found.kept == kept && found.needed == needed;
            if !self.found.get(&shard).is_some_and(is_so) {
                let trimmed = self.trim(&shard, kept, needed, &mut removed).await?;
                self.found.extend(trimmed.map(|found| (shard, found)));
            }
        }
        self.sweep(&lineage, &mut removed).await?;
        metrics::removed(self.name.as_str(), removed.rows, removed.entries);
        Ok(removed)
    }

    /// A source that cannot tell what it keeps says that it begins at the beginning, and one that has just forgotten the
    /// shard will not list it next time.
    async fn kept(&self, shard: &ShardId) -> Kept {
        let opened = self.source.open(shard, From::TrimHorizon).await;
        Kept::Behind(opened.map_or(Position::BEGINNING, |reader| reader.position()))
    }

    /// None: something is left for the next round.
    async fn trim(
        &self,
        shard: &ShardId,
        kept: Kept,
        needed: Needed,
        removed: &mut Removed,
    ) -> Result<Option<Found>> {
        let mut keys = self.cuts(shard).await?;
        let cuts: Vec<KnownCut> = keys.values().map(|(cut, _)| cut.clone()).collect();
        let expired = retention::expired(&cuts, &kept, &needed);
        for id in expired.cuts {
            let Some((_, pages)) = keys.remove(&id) else { continue };
            for key in pages {
                self.rows.delete(&key).await?;
                removed.rows += 1;
            }
        }
        let floor = expired.entries_before;
        let is_done = match &floor {
            Some(before) => self.trim_journal(shard, before, removed).await?,
            None => true,
        };
        Ok(is_done.then_some(Found { kept, needed, floor }))
    }

    /// Removes the rows of early events that came so long ago that nobody meets them again, and that wait in no cut that is
    /// left: not in the shard's, nor in those of its descendants, which inherit them. An event that waits at the floor
    /// waits in the cut there, so what a reader behind the floor still holds is in one of these cuts, too.
    async fn sweep(&mut self, lineage: &Lineage, removed: &mut Removed) -> Result<()> {
        for (shard, found) in &self.found {
            let is_over = found.kept == Kept::Nothing && found.needed.is_over;
            if found.floor.is_none() && !is_over {
                continue;
            }
            let family = retention::with_descendants(lineage, shard);
            let state: Vec<_> = family.iter().map(|shard| self.found.get(shard).cloned()).collect();
            if self.swept.get(shard) == Some(&state) {
                continue;
            }
            let before = found.floor.as_ref().filter(|_| !is_over);
            let mut spilled = self.rows.spilled_before(&self.name, shard, before).await?;
            for shard in &family {
                if spilled.is_empty() {
                    break;
                }
                let waiting = self.rows.early_in_cuts(&self.name, shard).await?;
                spilled.retain(|(_, name)| !waiting.contains(name));
            }
            for (key, _) in spilled {
                self.rows.delete(&key).await?;
                removed.rows += 1;
            }
            self.swept.insert(shard.clone(), state);
        }
        Ok(())
    }

    /// The cuts of a shard with the keys of their pages, the first page first.
    async fn cuts(&self, shard: &ShardId) -> Result<BTreeMap<CutId, (KnownCut, Vec<RowKey>)>> {
        let mut cuts: BTreeMap<CutId, (KnownCut, Vec<RowKey>)> = BTreeMap::new();
        let partition = rows::cuts_partition(&self.name, shard);
        let mut after: Option<String> = None;
        loop {
            let page = self.rows.cut_pages(&partition, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(cuts) };
            after = Some(last.key.sort.clone());
            for row in page {
                let Some(id) = cut_rows::id_of(&row.key.sort) else { continue };
                let outline = cut_rows::outline(&row.body)?;
                let (cut, pages) = cuts.entry(id.clone()).or_insert_with(|| {
                    (KnownCut { id, since: outline.since, is_complete: false }, Vec::new())
                });
                let is_next = usize::try_from(outline.page).ok() == Some(pages.len());
                pages.push(row.key);
                cut.is_complete = is_next && usize::try_from(outline.of).ok() == Some(pages.len());
            }
        }
    }

    async fn trim_journal(&self, shard: &ShardId, before: &Position, removed: &mut Removed) -> Result<bool> {
        let key = rows::journal_key(&self.name, shard);
        let entries = self.rows.entry_rows_before(&self.name, shard, before).await?;
        if entries.is_empty() {
            return Ok(true);
        }
        for _ in 0..TRIES {
            let Some(mut stored) = self.rows.get::<Journal>(&key).await? else { return Ok(true) };
            let is_said = stored.body.trimmed.as_ref() >= Some(before);
            stored.body.trimmed = stored.body.trimmed.max(Some(before.clone()));
            if is_said || self.rows.put(&key, Some(stored.revision), &stored.body).await?.is_some() {
                removed.entries += entries.len();
                for key in &entries {
                    self.rows.delete(key).await?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Every registered projection, whether it runs here, elsewhere or not at all.
pub(crate) async fn stands(
    rows: &Rows,
    source: &SourceName,
    lineage: &Lineage,
) -> Result<Vec<(ProjectionId, Stands)>> {
    let mut projections = Vec::new();
    for (id, control) in Controls::new(rows.clone()).list().await? {
        if control.paused && planted::is(Bug::CleanedUnderPaused) {
            continue;
        }
        let mut stored: BTreeMap<String, Checkpoint> = rows
            .all::<Checkpoint>(Table::Checkpoints, &id.row_name())
            .await?
            .into_iter()
            .map(|(sort, checkpoint)| (sort, checkpoint.body))
            .collect();
        let mut stands = Stands { is_elsewhere: control.source != *source, ..Stands::default() };
        for (shard, _) in lineage.shards() {
            let stored = stored.remove(&rows::checkpoint_key(&id, source, shard).sort);
            if stored.is_some() || control.starts.contains_key(shard) {
                let counts = checkpoint::effective(stored, &control, shard);
                stands.checkpoints.insert(shard.clone(), counts);
            }
        }
        projections.push((id, stands));
    }
    Ok(projections)
}
