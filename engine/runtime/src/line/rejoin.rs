//! The rejoin: a catch-up line hands its projections over to the shared one at a place J.
//!
//! The shared line answers a `Join` with J, the place it has delivered up to, and from then on keeps what it releases
//! for that projection. The catch-up line works up to J, waits until all of that is settled and saved, has caches
//! dropped, and says `Joined`; only then does the shared line deliver what it kept, from behind J on. Nothing durable
//! changes hands, so a crash at any step is only a crash: each projection starts again from its checkpoint.

use std::sync::Arc;

use foldstream_model::{Place, ProjectionId, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Apart, Left, Line, LineEvent, Subscriber};
use crate::{
    checkpoint::CheckpointHandle,
    dispatch::Released,
    planted::{self, Bug},
    report::Busy,
    subscription::{Active, Subscription},
    write::Outlet,
};

/// Batches that a shared line keeps for a projection that is joining; with more, it must catch up further first.
const KEPT: usize = 64;

/// How a catch-up line reaches the shared one of its shard.
#[derive(Clone)]
pub struct SharedLine {
    pub commands: mpsc::Sender<Command>,
    /// The place that it has delivered up to.
    pub position: watch::Receiver<Place>,
}

pub enum Command {
    /// Begin to keep what is released for these projections; the answer is J.
    Join {
        projections: Vec<(Arc<Active>, Arc<CheckpointHandle>)>,
        /// Cancelled when this hand-over is past: who has not joined by then does not come.
        past: CancellationToken,
        answer: oneshot::Sender<Place>,
    },
    /// Everything up to `settled`, which is J or beyond, is settled: deliver what was kept behind it. False: too much
    /// was kept, catch up further.
    Joined { projection: ProjectionId, settled: Place, answer: oneshot::Sender<bool> },
}

/// What a shared line keeps for a projection between its `Join` and its `Joined`.
pub struct Joining {
    kept: Vec<Arc<Released>>,
    overflowed: bool,
    pub past: CancellationToken,
}

impl Joining {
    fn new(past: CancellationToken) -> Self {
        Self { kept: Vec::new(), overflowed: false, past }
    }

    pub fn keep(&mut self, released: Arc<Released>) {
        match self.overflowed || self.kept.len() >= KEPT {
            true => self.overflow(),
            false => self.kept.push(released),
        }
    }

    /// Gives up keeping: the projection must catch up further.
    pub fn overflow(&mut self) {
        self.overflowed = true;
        self.kept.clear();
    }
}

/// The shared line's side.
impl Line {
    pub(super) async fn command(&mut self, command: Command) -> Result<()> {
        match command {
            // Its own line goes on without an answer.
            Command::Join { .. } if self.is_over => Ok(()),
            Command::Join { projections, past, answer } => {
                for (projection, handle) in projections {
                    self.join(projection, handle, past.clone());
                }
                // Whoever has stopped waiting for the answer has ended the hand-over, too.
                let _ = answer.send(self.at.clone());
                self.tell_gauge();
                Ok(())
            }
            Command::Joined { projection, settled, answer } => {
                let joined = self.joined(&projection, settled).await?;
                let _ = answer.send(joined);
                Ok(())
            }
        }
    }

    fn join(&mut self, projection: Arc<Active>, handle: Arc<CheckpointHandle>, past: CancellationToken) {
        let id = projection.spec.id.clone();
        self.subscribers.retain(|subscriber| *subscriber.id() != id);
        self.add_fold(&projection.spec);
        let from = self.at.clone();
        let subscription = Subscription::new(self.id, self.context.known.number, projection, from.clone());
        let joining = Some(Joining::new(past));
        let (unsettled, apart) = (Vec::new(), Apart::default());
        self.subscribers.push(Subscriber { subscription, handle, unsettled, from, joining, apart });
    }

    async fn joined(&mut self, projection: &ProjectionId, settled: Place) -> Result<bool> {
        let found = self.subscribers.iter().position(|subscriber| subscriber.id() == projection);
        let Some(index) = found else { return Ok(false) };
        let Some(joining) = self.subscribers[index].joining.take() else { return Ok(false) };
        if joining.overflowed {
            self.subscribers.remove(index);
            self.tell_gauge();
            return Ok(false);
        }
        let active = &self.subscribers[index].subscription.projection;
        let apart = Apart::load(&self.context, active, &settled, true).await?;
        self.subscribers[index].apart = apart;
        self.subscribers[index].from = settled;
        for released in joining.kept {
            // It may have been too slow for this line already, and be out of it.
            if self.subscribers.get(index).is_none_or(|subscriber| subscriber.id() != projection) {
                break;
            }
            self.deliver_to(index, &released).await?;
        }
        Ok(true)
    }
}

/// The catch-up line's side.
impl Line {
    /// Hands over to the shared line when this batch reaches it. True: the backlog was dealt with.
    pub(super) async fn hand_over(&mut self) -> Result<bool> {
        let Some(shared) = self.shared.clone() else { return Ok(false) };
        let reached = self.backlog.back().map_or(&self.at.position, |record| &record.position).clone();
        let is_over = shared.commands.is_closed();
        if self.tip.is_none() && (is_over || reached < shared.position.borrow().position) {
            return Ok(false);
        }
        if is_over && !self.end {
            return self.hand_back().await;
        }
        let past = CancellationToken::new();
        let _past = past.clone().drop_guard();
        let Some(until) = self.ask_to_join(&shared, past).await? else { return Ok(false) };
        self.reload_journal().await?;
        self.put_in_order(Some(&until)).await?;
        if self.at < until {
            // The rest of the way to J is in the next batches; the next one asks again and is given a newer J.
            return Ok(true);
        }
        if !planted::is(Bug::RejoinWithoutBarrier) {
            self.settle_and_save().await?;
        }
        for index in (0..self.subscribers.len()).rev() {
            let subscriber = &self.subscribers[index];
            if subscriber.is_gone() {
                continue;
            }
            if (subscriber.is_level() || planted::is(Bug::RejoinWithoutBarrier))
                && self.clear_caches(index).await
            {
                if self.confirm(&shared, index).await {
                    self.leave(index, Left::Rejoined).await?;
                }
            } else if !self.may_wait() {
                self.leave(index, Left::Behind).await?;
            }
        }
        Ok(false)
    }

    /// The shared line is no more. Those that were level with it here are the next one.
    async fn hand_back(&mut self) -> Result<bool> {
        self.put_in_order(None).await?;
        self.settle_and_save().await?;
        self.drop_left().await?;
        while let Some(index) = self.subscribers.len().checked_sub(1) {
            self.leave(index, Left::Behind).await?;
        }
        Ok(true)
    }

    async fn ask_to_join(&mut self, shared: &SharedLine, past: CancellationToken) -> Result<Option<Place>> {
        let staying = self.subscribers.iter().filter(|subscriber| !subscriber.is_gone());
        let projections = staying
            .map(|subscriber| (subscriber.subscription.projection.clone(), subscriber.handle.clone()))
            .collect();
        let (answer, answered) = oneshot::channel();
        let ask = async {
            shared.commands.send(Command::Join { projections, past, answer }).await.ok()?;
            answered.await.ok()
        };
        // A shared line that is held up answers too late: catching up goes on, and asks again.
        Ok(tokio::time::timeout(self.patience, ask).await.ok().flatten())
    }

    /// False: its lanes have no room, as what another shard has brought them hangs.
    async fn clear_caches(&self, index: usize) -> bool {
        match &self.subscribers[index].subscription.projection.outlet {
            Outlet::Lanes(lanes) => tokio::time::timeout(self.patience, lanes.clear_caches()).await.is_ok(),
            Outlet::Merge { .. } => true,
        }
    }

    async fn confirm(&self, shared: &SharedLine, index: usize) -> bool {
        let (answer, answered) = oneshot::channel();
        let projection = self.subscribers[index].id().clone();
        let joined = Command::Joined { projection, settled: self.at.clone(), answer };
        shared.commands.send(joined).await.is_ok() && answered.await.unwrap_or(false)
    }

    pub(super) async fn tell(&self, projection: &ProjectionId, left: Left, busy: Busy) {
        let event = LineEvent { kind: self.kind, projection: projection.clone(), left, busy };
        // The owner of the shard is gone only when the whole worker stops.
        let _ = self.events.send(event).await;
    }
}
