//! One projection in one reading of a shard: what it was given, what of that is settled, and why it stopped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldstream_model::{Error, Event, Lot, OnFailure, Ordering, Place, Result, ShardNumber, Stop, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::ProjectionSpec,
    board::Board,
    budget::Hold,
    lanes::LineId,
    progress::{BatchId, Progress},
    report::Busy,
    write::Outlet,
};

/// A projection from one start to the next stop.
pub struct Active {
    pub spec: ProjectionSpec,
    /// Where the events of its parked streams wait.
    pub streams_lot: Lot,
    pub outlet: Outlet,
    /// Cancelled when it is to be read for no more, and leaves every line and shard.
    pub drain: CancellationToken,
    /// Cancelled when its leaving has lasted: what has settled is saved, and nothing else is waited for.
    pub hurry: CancellationToken,
    /// Tells those who read for many projections to look at both.
    pub departures: Board<()>,
    /// Told when another generation or epoch has taken over.
    pub fenced: mpsc::Sender<(Error, Busy)>,
}

impl Active {
    pub fn name(&self) -> &str {
        self.spec.id.name.as_str()
    }

    /// It is to leave: what was delivered settles and is saved, and nothing more is delivered.
    pub fn leave(&self) {
        self.drain.cancel();
        self.departures.put(());
    }

    pub fn is_leaving(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub fn hurry_up(&self) {
        self.hurry.cancel();
        self.departures.put(());
    }

    /// Another generation or epoch has taken over: it leaves, and looks anew.
    pub fn is_fenced(&self, error: Error, busy: Busy) {
        self.leave();
        // Once is enough.
        let _ = self.fenced.try_send((error, busy));
    }

    /// What is told to its merge or lanes while it stays; they may hang.
    pub async fn while_it_stays(&self, told: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.drain.cancelled() => {}
            () = told => {}
        }
    }
}

/// Shared between the line, which opens batches, and the lanes, which settle them.
pub struct Subscription {
    pub line: LineId,
    pub shard: ShardNumber,
    pub projection: Arc<Active>,
    settling: Mutex<Settling>,
    changed: Notify,
}

struct Settling {
    progress: Progress,
    open: BTreeMap<BatchId, OpenBatch>,
    settled_until: Option<Timestamp>,
    stop: Option<Stop>,
    fenced: Option<Error>,
    abandoned: bool,
}

struct OpenBatch {
    end: Place,
    recorded: Option<Recorded>,
    _hold: Arc<Hold>,
}

/// Recorded-at of the oldest and the newest event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Recorded {
    /// None: there is no event.
    pub fn of<'e>(events: impl Iterator<Item = &'e Event>) -> Option<Self> {
        let at = events.map(|event| event.recorded_at);
        at.fold(None, |known: Option<Self>, at| match known {
            None => Some(Self { from: at, until: at }),
            Some(Self { from, until }) => Some(Self { from: from.min(at), until: until.max(at) }),
        })
    }
}

/// How far a subscription is.
#[derive(Debug, Clone)]
pub struct Settled {
    pub place: Place,
    pub recorded_until: Option<Timestamp>,
}

impl Subscription {
    pub fn new(line: LineId, shard: ShardNumber, projection: Arc<Active>, from: Place) -> Arc<Self> {
        let settling = Settling {
            progress: Progress::new(from),
            open: BTreeMap::new(),
            settled_until: None,
            stop: None,
            fenced: None,
            abandoned: false,
        };
        Arc::new(Self { line, shard, projection, settling: Mutex::new(settling), changed: Notify::new() })
    }

    /// What becomes of what cannot be taken, where no document is known that could be parked.
    pub fn on_failure(&self) -> OnFailure {
        self.projection.spec.on_failure
    }

    /// A batch of this many touches begins; its bytes are held until it is settled.
    pub fn open(
        &self,
        end: Place,
        touches: usize,
        recorded: Option<Recorded>,
        hold: Arc<Hold>,
    ) -> Result<BatchId> {
        let mut settling = self.lock();
        let batch = settling.progress.open(end.clone(), touches)?;
        settling.open.insert(batch, OpenBatch { end, recorded, _hold: hold });
        settling.release();
        drop(settling);
        self.changed.notify_waiters();
        Ok(batch)
    }

    /// So many of a batch's touches are durable, or were before.
    pub fn settle(&self, batch: BatchId, touches: usize) -> Result<()> {
        let mut settling = self.lock();
        settling.progress.settle(batch, touches)?;
        settling.release();
        drop(settling);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Poison: nothing at or beyond its place ever settles here. The earliest poison is kept.
    pub fn stop(&self, mut stop: Stop) -> Result<()> {
        if self.projection.spec.ordering == Ordering::Global {
            stop.reason.push_str("; a `global` projection stops in all shards at once, as any of them may hold what is ordered behind this");
        }
        let mut settling = self.lock();
        settling.progress.halt_at(stop.place.clone())?;
        if settling.stop.as_ref().is_none_or(|kept| stop.place < kept.place) {
            settling.stop = Some(stop);
        }
        drop(settling);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The reading is over for this projection: what it held is given back, and its lanes forget what is undone.
    pub fn abandon(&self) {
        let mut settling = self.lock();
        settling.abandoned = true;
        settling.open.clear();
    }

    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Another epoch or generation has taken over.
    pub fn fence(&self, error: Error) {
        self.lock().fenced.get_or_insert(error);
        self.changed.notify_waiters();
    }

    pub fn stopped(&self) -> Option<Stop> {
        self.lock().stop.clone()
    }

    pub fn fenced(&self) -> Option<Error> {
        self.lock().fenced.clone()
    }

    pub fn settled(&self) -> Settled {
        let settling = self.lock();
        Settled { place: settling.progress.settled().clone(), recorded_until: settling.settled_until }
    }

    /// Recorded-at of the oldest event that was delivered and is not settled.
    pub fn unsettled_since(&self) -> Option<Timestamp> {
        let settling = self.lock();
        let recorded = settling.open.values().filter_map(|batch| batch.recorded);
        recorded.map(|recorded| recorded.from).min()
    }

    /// Nothing of what was opened is unsettled, but what poison halted.
    pub fn is_level(&self) -> bool {
        let settling = self.lock();
        settling.stop.is_some() || settling.fenced.is_some() || settling.progress.in_flight() == 0
    }

    /// Waits until everything opened is settled, or the subscription was stopped or fenced.
    pub async fn level(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_level() {
                return;
            }
            changed.await;
        }
    }

    /// Poison in their documents holds up so many more of a batch's touches, itself included; or fewer.
    pub fn hold_up(&self, batch: BatchId, change: isize) {
        self.lock().progress.hold_up(batch, change);
        self.changed.notify_waiters();
    }

    /// Waits until everything before the poison that stopped it is settled.
    pub async fn level_before_stop(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().progress.is_settled_before_halt() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Settling> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settling {
    /// Gives back what the settled prefix held.
    fn release(&mut self) {
        while let Some(first) = self.open.first_entry() {
            if first.get().end > *self.progress.settled() {
                return;
            }
            let batch = first.remove();
            self.settled_until = self.settled_until.max(batch.recorded.map(|recorded| recorded.until));
        }
    }
}
