//! The task that claims, renews and passes on the leases of one source, and says what this worker works on now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Checkpoint, Lease, LeaseKey, Ordering, Position, Result, ShardId, SourceName, WorkerId,
    ports::{LeaseStore, PutLease, Table},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    board::{Board, Reader},
    checkpoint,
    control::Controls,
    invariants,
    leases::{Change, Holding, Leases, Offer},
    lineage::Standing,
    metrics,
    report::{Busy, Registry},
    retry::{self, Backoff, Verdict},
    rows::Rows,
    settings::Settings,
    trying::Trials,
};

/// Messages to a leasing; whoever sends more waits.
const QUEUE: usize = 64;
/// A lease that ends sooner could not be renewed in time.
const SHORTEST: Duration = Duration::from_millis(100);
/// Looks within the interval of a lease's states, while something is passed on to this worker.
const LOOKS: u32 = 10;

/// What a worker works on, by lease.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    held: BTreeMap<LeaseKey, Holding>,
    version: u64,
}

impl Holdings {
    pub fn get(&self, key: &LeaseKey) -> Option<Holding> {
        self.held.get(key).copied()
    }

    /// The shards that are to be read.
    pub fn to_work_on(&self) -> impl Iterator<Item = &ShardId> {
        self.held.iter().filter_map(|(key, holding)| match (key, holding) {
            (LeaseKey::Shard(shard), Holding::Work) => Some(shard),
            _ => None,
        })
    }

    /// The work that is to end now, so that it can be passed on.
    pub fn to_pass_on(&self) -> impl Iterator<Item = (&LeaseKey, Offer)> {
        self.held.iter().filter_map(|(key, holding)| match holding {
            Holding::PassOn(offer) => Some((key, *offer)),
            Holding::Work => None,
        })
    }
}

/// What the owners of the work tell the leasing.
#[derive(Debug)]
pub enum Told {
    /// The work under a lease that is to be passed on has ended.
    Drained(LeaseKey, Offer),
    /// What a worker serves under the lease is settled up to here.
    Settled(LeaseKey, Position),
    /// There may be new work, or less; the worker counts as busy until that is looked up.
    Changed(Busy),
    /// An owner works as these holdings say.
    Follows { owner: usize, version: u64 },
}

/// The end of one owner of work.
pub struct Claims {
    owner: usize,
    pub held: Reader<Holdings>,
    tell: mpsc::Sender<Told>,
}

impl Claims {
    /// What is held now. [`Claims::follows`] is to be said when the work is as this says.
    pub fn look(&mut self) -> Holdings {
        self.held.see().clone()
    }

    pub async fn tell(&self, told: Told) {
        // A leasing that is gone has failed, or has given everything away.
        let _ = self.tell.send(told).await;
    }

    pub async fn follows(&self, holdings: &Holdings) {
        self.tell(Told::Follows { owner: self.owner, version: holdings.version }).await;
    }
}

/// Runs the leases of one source.
pub struct Leasing {
    source: SourceName,
    store: Arc<dyn LeaseStore>,
    rows: Rows,
    leases: Leases,
    discovery_interval: Duration,
    began: Instant,
    held: Board<Holdings>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    writes: FuturesUnordered<BoxFuture<'static, (LeaseKey, Result<Option<Lease>>)>>,
    listing: Option<BoxFuture<'static, (Duration, Result<Vec<Lease>>)>>,
    audit: Option<BoxFuture<'static, (Duration, Result<BTreeSet<LeaseKey>>)>>,
    /// Something has changed since the last audit began.
    audit_again: bool,
    /// The versions that the owners of the work follow.
    followed: Vec<u64>,
    trials: Arc<Trials>,
    registry: Arc<Registry>,
    /// Held as long as it is not known who works on what, or somebody is still to follow.
    busy: Option<Busy>,
}

impl Leasing {
    pub fn new(
        me: WorkerId,
        source: SourceName,
        store: Arc<dyn LeaseStore>,
        rows: Rows,
        settings: &Settings,
        trials: Arc<Trials>,
        registry: Arc<Registry>,
    ) -> Self {
        let (tell, told) = mpsc::channel(QUEUE);
        Self {
            source,
            store,
            rows,
            leases: Leases::new(me, settings.lease_duration.max(SHORTEST)),
            discovery_interval: settings.discovery_interval,
            began: Instant::now(),
            held: Board::new(Holdings::default()),
            tell,
            told,
            followed: Vec::new(),
            busy: Some(registry.busy()),
            trials,
            registry,
            writes: FuturesUnordered::new(),
            listing: None,
            audit: None,
            audit_again: true,
        }
    }

    /// The end of another owner of work.
    pub fn claims(&mut self) -> Claims {
        let (owner, held, tell) = (self.followed.len(), self.held.reader(), self.tell.clone());
        self.followed.push(0);
        Claims { owner, held, tell }
    }

    /// Runs until everything is given away after `leave` was cancelled.
    pub async fn run(mut self, leave: CancellationToken) -> Result<()> {
        let interval = self.leases.interval();
        let mut look = tokio::time::interval(interval / LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut listed_at, mut next_audit) = (None, Duration::ZERO);
        loop {
            let now = self.now();
            // At each tick then, even if that is a little early, but not at whatever happens between two.
            let wait = if self.leases.expects() { interval / LOOKS / 2 } else { interval };
            if self.listing.is_none() && listed_at.is_none_or(|at| now >= at + wait) {
                listed_at = Some(now);
                self.list(now);
            }
            if self.audit.is_none() && (now >= next_audit || self.audit_again) {
                next_audit = now + self.discovery_interval;
                self.audit_again = false;
                self.audit = Some(needed(self.rows.clone(), self.source.clone(), now).boxed());
            }
            self.write();
            self.publish();
            self.look_whether_busy();
            if leave.is_cancelled() && self.leases.has_left() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(told) = self.told.recv() => self.told(told),
                Some((key, stored)) = self.writes.next() => {
                    let now = self.now();
                    self.leases.answered(now, &key, stored?);
                }
                (at, leases) = pending(&mut self.listing) => self.listed(at, leases)?,
                (at, work) = pending(&mut self.audit) => self.leases.needed(at, work?),
                () = leave.cancelled(), if !self.leases.is_leaving() => self.leases.leave(),
                _ = look.tick() => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Drained(key, offer) => self.leases.drained(key, offer),
            Told::Settled(key, position) => self.leases.settled(key, position),
            Told::Changed(busy) => {
                self.audit_again = true;
                self.busy.get_or_insert(busy);
            }
            Told::Follows { owner, version } => {
                if let Some(followed) = self.followed.get_mut(owner) {
                    *followed = version;
                }
            }
        }
    }

    fn look_whether_busy(&mut self) {
        let version = self.held.look().version;
        let is_followed = self.followed.iter().all(|followed| *followed == version);
        let is_looking = self.audit_again || self.audit.is_some();
        match is_followed && self.leases.is_settled(self.now()) {
            true if !is_looking => self.busy = None,
            // What is looked up now and then anew brings nothing by itself.
            true => {}
            false => {
                self.busy.get_or_insert_with(|| self.registry.busy());
            }
        }
    }

    fn list(&mut self, now: Duration) {
        let (store, source) = (self.store.clone(), self.source.clone());
        self.listing = Some(async move { (now, store.list(&source).await) }.boxed());
    }

    /// A list that failed is asked for again at the next look.
    fn listed(&mut self, asked_at: Duration, leases: Result<Vec<Lease>>) -> Result<()> {
        match leases {
            Ok(leases) => {
                let now = self.now();
                self.leases.listed(asked_at, now, leases);
                let claimed = self.leases.holdings(now).len();
                metrics::leases(self.source.as_str(), claimed, self.leases.unclaimed(now).len());
                Ok(())
            }
            Err(error) if retry::verdict(error.kind()) == Verdict::Again => {
                tracing::warn!(source = %self.source, %error, "the leases could not be listed, trying again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) {
        let now = self.now();
        for change in self.leases.changes(now) {
            tell(&self.source, &change);
            if let (Some(before), Some(after)) = (&change.expected, &change.lease) {
                metrics::watch("lease_moves_on", invariants::lease_moves_on(before, after));
            }
            let (store, source, patience) = (self.store.clone(), self.source.clone(), self.leases.interval());
            let (trials, dead) = (self.trials.clone(), self.leases.taken_from(&change).cloned());
            let written = async move {
                // Before the lease is taken: what the dead one left behind is found by its lease.
                if let Some(dead) = dead
                    && let Err(error) = trials.inherit(&dead).await
                {
                    return (change.key, Err(error));
                }
                write(store, source, change, patience).await
            };
            self.writes.push(written.boxed());
        }
    }

    fn publish(&self) {
        let holdings = self.leases.holdings(self.now());
        self.held.change(|held| {
            let changes = held.held != holdings;
            held.held = holdings;
            held.version += u64::from(changes);
            changes
        });
    }
}

/// What is stored once the change was tried. Of a write without an answer it is asked what came of it.
async fn write(
    store: Arc<dyn LeaseStore>,
    source: SourceName,
    change: Change,
    patience: Duration,
) -> (LeaseKey, Result<Option<Lease>>) {
    let Change { key, expected, lease } = &change;
    let written = async {
        match (expected, lease) {
            (expected, Some(lease)) => store.put(&source, expected.as_ref(), lease).await,
            (Some(expected), None) => store.delete(&source, expected).await,
            (None, None) => Ok(PutLease::Done),
        }
    };
    let answer = match tokio::time::timeout(patience, written).await {
        Ok(Ok(PutLease::Done)) => Ok(lease.clone()),
        Ok(Ok(PutLease::Conflict(stored))) => Ok(stored),
        Ok(Err(error)) if retry::verdict(error.kind()) != Verdict::Again => Err(error),
        Ok(Err(_)) | Err(_) => read_back(&*store, &source, key, patience).await,
    };
    (change.key, answer)
}

async fn read_back(
    store: &dyn LeaseStore,
    source: &SourceName,
    key: &LeaseKey,
    patience: Duration,
) -> Result<Option<Lease>> {
    let mut backoff = Backoff::new();
    loop {
        match tokio::time::timeout(patience, store.get(source, key)).await {
            Ok(Err(error)) if retry::verdict(error.kind()) == Verdict::Again => {
                backoff.pause(&error, "reading a lease").await;
            }
            Ok(answer) => return answer,
            Err(_) => {
                tracing::warn!(%source, lease = %key, "a lease could not be read in time, trying again")
            }
        }
    }
}

fn tell(source: &SourceName, change: &Change) {
    let holder = |lease: &Option<Lease>| lease.as_ref().and_then(|lease| lease.holder().cloned());
    let (before, after) = (holder(&change.expected), holder(&change.lease));
    let offered = change.lease.as_ref().and_then(|lease| lease.from.as_ref().and(lease.owner.as_ref()));
    let was_offered = change.expected.as_ref().is_some_and(|lease| lease.from.is_some());
    match (offered, before == after) {
        (Some(to), _) if !was_offered => {
            tracing::info!(%source, lease = %change.key, %to, "offering a lease")
        }
        (_, false) => tracing::debug!(%source, lease = %change.key, ?before, ?after, "a lease changes hands"),
        _ => {}
    }
}

async fn pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(waiting) => {
            let output = waiting.await;
            *future = None;
            output
        }
        None => std::future::pending().await,
    }
}

/// The work that some registered projection of the source has, whether this worker knows the projection or not: the
/// shards that it may read, as far as they were ever listed, and its merge.
async fn needed(
    rows: Rows,
    source: SourceName,
    asked_at: Duration,
) -> (Duration, Result<BTreeSet<LeaseKey>>) {
    (asked_at, look_up(&rows, &source).await)
}

async fn look_up(rows: &Rows, source: &SourceName) -> Result<BTreeSet<LeaseKey>> {
    let controls = Controls::new(rows.clone()).list().await?;
    let controls = controls.into_iter().filter(|(_, control)| control.source == *source);
    let (merged, others): (Vec<_>, Vec<_>) =
        controls.partition(|(_, control)| control.ordering == Ordering::Global);
    let mut work: BTreeSet<LeaseKey> = merged.into_iter().map(|(id, _)| LeaseKey::Merge(id)).collect();
    let Some(lineage) = rows.source(source).await? else { return Ok(work) };
    for fault in lineage.body.range_faults() {
        tracing::error!(%source, "{fault}: what belongs there is read by nobody, or twice; look at how the source was resharded");
    }
    for (id, control) in others {
        let stored = rows.all::<Checkpoint>(Table::Checkpoints, &id.row_name()).await?;
        let checkpoint = |shard: &ShardId| {
            let sort = format!("{source}/{shard}");
            let body = stored.iter().find(|(key, _)| *key == sort).map(|(_, stored)| stored.body.clone());
            checkpoint::effective(body, &control, shard)
        };
        let outlook = lineage.body.outlook(&control.gone, |shard| Standing::of(&checkpoint(shard)));
        // What is gone may have been read and be on its way to the documents.
        let lost = outlook.lost.into_iter().filter(|shard| checkpoint(shard).stop.is_none());
        work.extend(outlook.ready.into_iter().chain(lost).map(LeaseKey::Shard));
    }
    Ok(work)
}
