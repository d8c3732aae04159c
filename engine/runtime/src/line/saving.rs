//! Saving: the cuts first, then the checkpoints that stand on them, beside the line's other work.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{
    Cut, CutId, Ordering, Place, ProjectionId, Result,
    ports::{RowKey, Table},
};

use super::{
    Left, Line, ShardContext,
    apart::{self, Returned},
};
use crate::{
    checkpoint::{CheckpointHandle, Claim, Committed},
    order::cut_rows,
    planted::{self, Bug},
    retry, rows,
    subscription::Active,
    tasks::Task,
};

/// A save on its way; the next one waits for it.
pub(super) type Saving = Task<Saved>;

/// How a save ended, for each projection.
pub(super) struct Saved {
    cuts: BTreeMap<Place, Cut>,
    commits: Vec<(Arc<CheckpointHandle>, Result<Committed>)>,
}

/// What one save writes.
struct Save {
    context: Arc<ShardContext>,
    chain: String,
    cuts: BTreeMap<Place, Cut>,
    claims: Vec<Claimed>,
}

/// One projection's claim.
struct Claimed {
    handle: Arc<CheckpointHandle>,
    claim: Claim,
    projection: Arc<Active>,
    /// What may leave the lot then.
    returned: Vec<Returned>,
}

impl Line {
    /// Begins to save what has settled, unless a save is still on its way.
    pub(super) fn save(&mut self) -> Result<()> {
        if self.saving.is_some() {
            return Ok(());
        }
        let save = self.next_save(false)?;
        match save.claims.is_empty() {
            true => self.remember(BTreeMap::new()),
            false => self.saving = Some(Task::start(save.run())),
        }
        Ok(())
    }

    /// Saves what has settled, and waits for it.
    pub(super) async fn save_now(&mut self, ended: bool) -> Result<()> {
        self.end_saving().await?;
        let saved = self.next_save(ended)?.run().await;
        self.saved(Ok(saved))
    }

    /// What is being saved is, and nothing is on its way.
    async fn end_saving(&mut self) -> Result<()> {
        if self.saving.is_some() {
            let saved = poll(&mut self.saving).await;
            self.saved(saved)?;
        }
        Ok(())
    }

    pub(super) fn saved(&mut self, saved: Result<Saved>) -> Result<()> {
        self.saving = None;
        let saved = saved?;
        self.remember(saved.cuts);
        for (handle, ended) in saved.commits {
            // The cut of a claim that others have overtaken or fenced may add to what is removed: no other projection that comes
            // to its place may stand on it.
            if !matches!(ended, Ok(Committed::Stands)) {
                self.begin_chain();
            }
            let Err(error) = ended else { continue };
            // It may have left meanwhile, and be here again under another generation.
            let found = self.subscribers.iter().find(|subscriber| Arc::ptr_eq(&subscriber.handle, &handle));
            match (retry::verdict(error.kind()), found) {
                (retry::Verdict::LookAnew, Some(subscriber)) => subscriber.subscription.fence(error),
                (retry::Verdict::LookAnew, None) => {}
                _ => return Err(error),
            }
        }
        Ok(())
    }

    fn next_save(&mut self, ended: bool) -> Result<Save> {
        let (context, chain) = (self.context.clone(), self.chain.clone());
        let mut save = Save { context, chain, cuts: BTreeMap::new(), claims: Vec::new() };
        let mut stands: BTreeMap<Place, Vec<CutId>> = BTreeMap::new();
        for subscriber in &mut self.subscribers {
            if subscriber.joining.is_some() || !subscriber.may_checkpoint() {
                continue;
            }
            let mut settled = subscriber.subscription.settled();
            if planted::is(Bug::CheckpointOnRead) {
                settled.place.clone_from(&self.delivered);
            }
            let stop = subscriber.subscription.stopped();
            let ended = ended && stop.is_none() && settled.place >= self.at;
            let has_moved = settled.place > subscriber.from;
            if !has_moved && stop.is_none() && !ended {
                continue;
            }
            let handle = subscriber.handle.clone();
            let place = settled.place;
            let cut = (has_moved || ended).then(|| self.cuts.id(&place));
            if cut.is_some() {
                stands.entry(place).or_default().extend(handle.checkpoint().cut);
            }
            let at = self.context.services.clock.now();
            let waits_from = cut.as_ref().and_then(|cut| self.cuts.waits_from(&cut.place, &self.order));
            let claim = Claim { cut, waits_from, ended, settled_until: settled.recorded_until, stop, at };
            let projection = subscriber.subscription.projection.clone();
            let returned = subscriber.apart.take_returned(&claim.place());
            save.claims.push(Claimed { handle, claim, projection, returned });
        }
        for (place, stands) in stands {
            if self.cuts.saved_at(&place).is_none() {
                let cut = self.cuts.cut(&place, &stands, &self.order)?;
                save.cuts.insert(place, cut);
            }
        }
        Ok(save)
    }

    /// Makes the order state at the end of what was delivered durable, settled or not. It adds to no other cut: one whose
    /// checkpoint others have moved does not hear of that before it commits, and what it saved before may be removed by then.
    pub(super) async fn save_cut_at_end(&mut self) -> Result<CutId> {
        self.end_saving().await?;
        self.begin_chain();
        let (context, chain) = (self.context.clone(), self.chain.clone());
        let mut save = Save { context, chain, cuts: BTreeMap::new(), claims: Vec::new() };
        let end = self.delivered.clone();
        save.cuts.insert(end.clone(), self.cuts.whole(&end, &self.order)?);
        save.write_cuts().await?;
        for (place, cut) in &save.cuts {
            self.cuts.saved(place, cut);
        }
        Ok(self.cuts.id(&end))
    }

    /// No cut of before is added to any more.
    fn begin_chain(&mut self) {
        self.chain = self.context.new_chain();
        self.cuts.begin_chain(self.chain.clone());
    }

    /// The cuts that are durable now may be added to.
    fn remember(&mut self, cuts: BTreeMap<Place, Cut>) {
        for (place, cut) in &cuts {
            self.cuts.saved(place, cut);
        }
        self.forget_settled();
    }

    /// What only cuts before all that is settled need is dropped.
    pub(super) fn forget_settled(&mut self) {
        let behind = self.subscribers.iter().map(|subscriber| match subscriber.joining {
            Some(_) => subscriber.from.clone(),
            None => subscriber.subscription.settled().place,
        });
        if let Some(oldest) = behind.min() {
            self.cuts.forget(&oldest);
        }
    }
}

impl Claimed {
    async fn commit(&self, context: &ShardContext) -> Result<Committed> {
        let handle = &self.handle;
        let commit = || handle.commit(self.claim.clone());
        let committed = retry::until_done("writing a checkpoint", commit).await?;
        // Whoever has brought it there.
        if handle.checkpoint().place() >= self.claim.place() {
            apart::remove(context, &self.projection, &self.returned).await?;
        }
        Ok(committed)
    }
}

impl Save {
    async fn run(self) -> Saved {
        let written = if planted::is(Bug::CheckpointWithoutCut) { Ok(()) } else { self.write_cuts().await };
        let mut commits = Vec::with_capacity(self.claims.len());
        for claimed in &self.claims {
            let committed = match &written {
                Ok(()) => claimed.commit(&self.context).await,
                Err(error) => Err(error.clone()),
            };
            commits.push((claimed.handle.clone(), committed));
        }
        let cuts = if written.is_ok() { self.cuts } else { BTreeMap::new() };
        Saved { cuts, commits }
    }

    async fn write_cuts(&self) -> Result<()> {
        let partition = rows::cuts_partition(&self.context.source.name, &self.context.shard.id);
        for (place, cut) in &self.cuts {
            let id = CutId { chain: self.chain.clone(), place: place.clone() };
            for row in cut_rows::encode(&id, cut)? {
                let (sort, body) = row?;
                let key = RowKey::new(Table::Cuts, partition.clone(), sort);
                let put = || self.context.rows.put_once(&key, body.clone());
                retry::until_done("saving how far the streams of a shard are", put).await?;
            }
        }
        Ok(())
    }
}

pub(super) async fn poll(saving: &mut Option<Saving>) -> Result<Saved> {
    match saving {
        Some(saving) => saving.join().await,
        None => std::future::pending().await,
    }
}

impl super::Subscriber {
    pub(super) fn id(&self) -> &ProjectionId {
        &self.subscription.projection.spec.id
    }

    /// What is at the ends of its parents is settled: a merge reads their children before that.
    pub(super) fn is_past_its_parents(&self) -> bool {
        self.unsettled.iter().all(|parent| parent.checkpoint().ended)
    }

    fn may_checkpoint(&self) -> bool {
        self.is_past_its_parents() || planted::is(Bug::ChildSavedBeforeParents)
    }

    /// Everything that it was given is settled.
    pub(super) fn is_level(&self) -> bool {
        self.joining.is_none() && self.subscription.is_level()
    }

    /// Nothing more is delivered to it.
    pub(super) fn is_gone(&self) -> bool {
        self.subscription.projection.is_leaving()
            || self.subscription.stopped().is_some()
            || self.subscription.fenced().is_some()
    }

    /// How it leaves now, if it does. Who is told to leave settles first what was delivered, but for a merge, which may
    /// hold that until other shards come on.
    pub(super) fn left(&self) -> Option<Left> {
        if let Some(error) = self.subscription.fenced() {
            return Some(Left::Fenced(error));
        }
        if let Some(stop) = self.subscription.stopped() {
            return Some(Left::Stopped(stop));
        }
        let projection = &self.subscription.projection;
        let waits_for_nothing =
            projection.spec.ordering == Ordering::Global || projection.hurry.is_cancelled();
        (projection.is_leaving() && (waits_for_nothing || self.is_level())).then_some(Left::Drained)
    }
}
