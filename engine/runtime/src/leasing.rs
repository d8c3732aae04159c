//! The task that claims, renews and passes on the leases of one source, and says what this worker works on now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Checkpoint, Lease, LeaseKey, Ordering, ProjectionId, Result, Shard, ShardId, SourceName, WorkerId,
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
    leases::{
        Change, Holding, Leases, Offer,
        safe::{self, Safe, Stands},
    },
    lineage::{Lineage, Standing},
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

    /// A merge is worked on, which reads all shards.
    pub fn has_merge(&self) -> bool {
        let is_merge = |(key, holding): (&LeaseKey, &Holding)| {
            matches!((key, holding), (LeaseKey::Merge(_), Holding::Work))
        };
        self.held.iter().any(is_merge)
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
    /// Where the projections stand that this worker serves in a shard.
    Stands(ShardId, BTreeMap<ProjectionId, Stands>),
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
    audit: Option<BoxFuture<'static, (Duration, Result<Needed>)>>,
    /// Something has changed since the last audit began.
    audit_again: bool,
    /// How far all registered projections are, by shard.
    safe: BTreeMap<ShardId, Safe>,
    /// The shards of which nobody needs anything any more, with their children.
    settled: BTreeMap<ShardId, Vec<Shard>>,
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
            safe: BTreeMap::new(),
            settled: BTreeMap::new(),
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
                (at, needed) = pending(&mut self.audit) => self.needed(at, needed?),
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
            Told::Stands(shard, served) => {
                let safe = self.safe.entry(shard.clone()).or_default();
                safe.served(served);
                if let Some(position) = safe.position() {
                    self.leases.settled(LeaseKey::Shard(shard), position);
                }
            }
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

    fn needed(&mut self, asked_at: Duration, needed: Needed) {
        self.settled = needed.settled;
        self.safe.retain(|shard, _| needed.stands.contains_key(shard));
        for (shard, registered) in needed.stands {
            self.safe.entry(shard).or_default().looked_up(registered);
        }
        self.leases.is_new(needed.is_new);
        self.leases.needed(asked_at, needed.work);
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
            let children = match &change.key {
                LeaseKey::Shard(shard) => self.settled.get(shard).cloned().unwrap_or_default(),
                LeaseKey::Worker(_) | LeaseKey::Merge(_) => Vec::new(),
            };
            let (trials, dead) = (self.trials.clone(), self.leases.taken_from(&change).cloned());
            let written = async move {
                // Before the lease is taken: what the dead one left behind is found by its lease.
                if let Some(dead) = dead
                    && let Err(error) = trials.inherit(&dead).await
                {
                    return (change.key, Err(error));
                }
                write(store, source, change, children, patience).await
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

/// What is stored once the change was tried. Of a write without an answer it is asked what came of it. `children`: of its
/// shard, if nobody needs anything of that any more.
async fn write(
    store: Arc<dyn LeaseStore>,
    source: SourceName,
    change: Change,
    children: Vec<Shard>,
    patience: Duration,
) -> (LeaseKey, Result<Option<Lease>>) {
    let Change { key, expected, lease } = &change;
    let written = async {
        match (expected, lease) {
            (expected, Some(lease)) => store.put(&source, expected.as_ref(), lease).await,
            (Some(expected), None) => store.hand_back(&source, expected, &children).await,
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

/// What registered projections of a source need, whether this worker knows them or not.
#[derive(Default)]
struct Needed {
    /// The source was never read.
    is_new: bool,
    /// The shards that some of them may read, as far as they were ever listed, and their merges.
    work: BTreeSet<LeaseKey>,
    /// Where all of them stand, by shard.
    stands: BTreeMap<ShardId, BTreeMap<ProjectionId, Stands>>,
    /// The shards of which none of them needs anything any more, with their children.
    settled: BTreeMap<ShardId, Vec<Shard>>,
}

impl Needed {
    /// As long as its children are not listed, the lease of a shard stays with who has it: others could not go on with them.
    fn look_for_settled(&mut self, lineage: &Lineage) {
        for (shard, _) in self.stands.iter().filter(|(_, registered)| safe::is_settled(registered)) {
            let children: Vec<Shard> = lineage.children(shard).collect();
            let is_listed = lineage.get(shard).is_some_and(|known| known.gone_at.is_none());
            if children.is_empty() && is_listed {
                self.work.insert(LeaseKey::Shard(shard.clone()));
            }
            self.settled.insert(shard.clone(), children);
        }
    }
}

async fn needed(rows: Rows, source: SourceName, asked_at: Duration) -> (Duration, Result<Needed>) {
    (asked_at, look_up(&rows, &source).await)
}

async fn look_up(rows: &Rows, source: &SourceName) -> Result<Needed> {
    let controls = Controls::new(rows.clone()).list().await?;
    let controls: Vec<_> = controls.into_iter().filter(|(_, control)| control.source == *source).collect();
    let merged = controls.iter().filter(|(_, control)| control.ordering == Ordering::Global);
    let mut needed = Needed::default();
    needed.work.extend(merged.map(|(id, _)| LeaseKey::Merge(id.clone())));
    let Some(lineage) = rows.source(source).await?.map(|stored| stored.body) else {
        needed.is_new = true;
        return Ok(needed);
    };
    for fault in lineage.range_faults() {
        tracing::error!(%source, "{fault}: what belongs there is read by nobody, or twice; look at how the source was resharded");
    }
    for (id, control) in controls {
        let stored = rows.all::<Checkpoint>(Table::Checkpoints, &id.row_name()).await?;
        let checkpoint = |shard: &ShardId| {
            let sort = format!("{source}/{shard}");
            let body = stored.iter().find(|(key, _)| *key == sort).map(|(_, stored)| stored.body.clone());
            checkpoint::effective(body, &control, shard)
        };
        for (shard, known) in lineage.shards() {
            let stands = Stands::of(&checkpoint(shard), Some(known));
            needed.stands.entry(shard.clone()).or_default().insert(id.clone(), stands);
        }
        if control.ordering == Ordering::Global {
            continue;
        }
        let outlook = lineage.outlook(&control.gone, |shard| Standing::of(&checkpoint(shard)));
        // What is gone may have been read and be on its way to the documents.
        let lost = outlook.lost.into_iter().filter(|shard| checkpoint(shard).stop.is_none());
        needed.work.extend(outlook.ready.into_iter().chain(lost).map(LeaseKey::Shard));
    }
    needed.look_for_settled(&lineage);
    Ok(needed)
}
