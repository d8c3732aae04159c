//! From released events to the lanes: fold once for each reducer, then each projection its touches.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Error, ErrorKind, Place, ReEntry, Result, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Left, Line, LineKind, Subscriber, apart::Parts};
use crate::{
    dispatch::{self, Released},
    lanes::Delivery,
    merge::MergeRead,
    merging::MergeInput,
    metrics,
    order::Placed,
    report::Stage,
    subscription::{Recorded, Subscription},
    write::{LaneInput, Outlet},
};

impl Line {
    /// Folds and hands on what was released up to here. An empty batch is handed on too: it moves checkpoints.
    pub(super) async fn deliver(&mut self, placed: Vec<Placed>) -> Result<()> {
        self.deliver_with(placed, None).await
    }

    /// The same, and behind it a stream comes back to one of the projections.
    pub(super) async fn deliver_with(
        &mut self,
        placed: Vec<Placed>,
        re_entry: Option<(Place, ReEntry)>,
    ) -> Result<()> {
        if self.delivered >= self.at {
            return Ok(());
        }
        self.cuts.released(self.at.clone(), self.order.take_changes())?;
        self.forget_settled();
        self.delivered = self.at.clone();
        let forks = self.refuse_forks().await?;
        let released = Arc::new(Released { forks, re_entry, ..self.fold(placed).await? });
        // From the last: one that is too slow is taken out on the way.
        for index in (0..self.subscribers.len()).rev() {
            self.deliver_to(index, &released).await?;
        }
        self.gauge.delivered(&released);
        if let Some(position) = &self.position {
            position.send_replace(self.at.clone());
        }
        Ok(())
    }

    async fn fold(&mut self, placed: Vec<Placed>) -> Result<Released> {
        let working = Instant::now();
        let mut folded = BTreeMap::new();
        for (name, fold) in &mut self.folds {
            folded.insert(name.clone(), fold.fold(&placed, &self.order).await?);
        }
        self.gauge.spent(Stage::Project, working.elapsed());
        let bytes = std::mem::take(&mut self.backlog_bytes);
        // What is released in pieces is older than what the source has said of its tip.
        let is_whole = self.order.unfinished().is_none();
        let recorded = Recorded::of(placed.iter().map(|placed| &*placed.event));
        Ok(Released {
            end: self.at.clone(),
            placed,
            folded,
            re_entry: None,
            forks: Vec::new(),
            recorded,
            tip: self.tip_of_open().filter(|_| self.backlog.is_empty() && is_whole),
            low_watermark: self.low_watermark.filter(|_| is_whole),
            hold: self.share.hold(bytes),
        })
    }

    pub(super) async fn deliver_to(&mut self, index: usize, released: &Arc<Released>) -> Result<()> {
        let subscriber = &mut self.subscribers[index];
        if subscriber.is_gone() || released.end <= subscriber.from {
            return Ok(());
        }
        if let Some(joining) = &mut subscriber.joining {
            joining.keep(released.clone());
            return Ok(());
        }
        let hurry = subscriber.subscription.projection.hurry.clone();
        let (waited, out_of_patience) = (Instant::now(), self.out_of_patience());
        let is_behind = tokio::select! {
            biased;
            parts = self.dispatch_to(index, released) => match parts {
                Err(error) if error.kind() == ErrorKind::Fenced => {
                    self.subscribers[index].subscription.fence(error);
                    false
                }
                parts => self.send_to(index, released, parts?, &hurry).await?,
            },
            // What was settled before is saved with the others.
            () = hurry.cancelled() => false,
            () = out_of_patience => true,
        };
        self.gauge.spent(Stage::Sink, waited.elapsed());
        if is_behind {
            self.leave(index, Left::Behind).await?;
        }
        Ok(())
    }

    /// True: it holds up the others.
    async fn send_to(
        &self,
        index: usize,
        released: &Released,
        parts: Parts,
        hurry: &CancellationToken,
    ) -> Result<bool> {
        let now = self.context.services.clock.now();
        tokio::select! {
            biased;
            sent = send(&self.subscribers[index].subscription, released, parts, now) => sent.map(|()| false),
            () = hurry.cancelled() => Ok(false),
            () = self.out_of_patience() => Ok(true),
        }
    }

    /// One projection by itself may take as long as it needs, unless another waits for the line.
    pub(super) fn may_wait(&self) -> bool {
        self.subscribers.len() == 1 && !*self.wanted.borrow()
    }

    /// Returns when the line has waited long enough for one of its projections; for one by itself, only when another waits for
    /// the line.
    fn out_of_patience(&self) -> impl Future<Output = ()> + use<> {
        let (patience, is_alone) = (self.patience, self.subscribers.len() == 1);
        let mut wanted = self.wanted.clone();
        async move {
            tokio::time::sleep(patience).await;
            if is_alone && wanted.wait_for(|wanted| *wanted).await.is_err() {
                // The owner of the shard is gone, which ends this line, too.
                std::future::pending().await
            }
        }
    }

    /// What is held leaves no room. Those who have settled everything do not wait for the others, who go on by
    /// themselves; when nobody has, and nobody waits for the line, there is nothing to do but wait.
    pub(super) async fn shed(&mut self) -> Result<()> {
        let someone_is_level = self.subscribers.iter().any(Subscriber::is_level);
        if self.kind == LineKind::Merge || !(someone_is_level || *self.wanted.borrow()) {
            return Ok(());
        }
        for index in (0..self.subscribers.len()).rev() {
            if let Some(joining) = &mut self.subscribers[index].joining {
                joining.overflow();
            } else if !self.subscribers[index].is_level() {
                self.leave(index, Left::Behind).await?;
            }
        }
        Ok(())
    }

    /// The tip as a merge may take it. Behind the last record of a shard there is none: what has come since is in its
    /// children, and the merge waits where the shard ended until they have begun.
    fn tip_of_open(&self) -> Option<Timestamp> {
        self.tip.filter(|_| !self.end)
    }

    /// A merge moves with time where nothing comes: the tip that was found is told.
    pub(super) async fn tell_tip(&self) -> Result<()> {
        let read = MergeRead {
            up_to: self.delivered.clone(),
            newest: None,
            tip: self.tip_of_open(),
            low_watermark: self.low_watermark,
        };
        for subscriber in self.subscribers.iter().filter(|subscriber| !subscriber.is_gone()) {
            let projection = &subscriber.subscription.projection;
            if let Outlet::Merge { inputs, .. } = &projection.outlet {
                let input = MergeInput::Tip { shard: self.context.known.number, read: read.clone() };
                // Shards at rest are read at the same time again and again: each has its turn. What is not told in
                // time is told anew by the next read.
                let mut is_over = false;
                self.wait_for(&projection.hurry, async { is_over = inputs.send(input).await.is_err() }).await;
                if is_over {
                    return Err(gone(&subscriber.subscription));
                }
            }
        }
        Ok(())
    }

    /// Poison for everybody: nobody gets beyond this place. Who has settled it before, under what was configured then,
    /// goes on by itself from there.
    pub(super) async fn stop_all(&mut self, place: &Place, error: &Error) -> Result<()> {
        self.is_over = true;
        // Who was to join finds out in its own line.
        self.subscribers.retain(|subscriber| subscriber.joining.is_none());
        let at = self.context.services.clock.now();
        for index in (0..self.subscribers.len()).rev() {
            let subscription = &self.subscribers[index].subscription;
            if subscription.settled().place < *place {
                subscription.stop(dispatch::stop(place.clone(), error, None, at))?;
            } else {
                self.leave(index, Left::Behind).await?;
            }
        }
        Ok(())
    }
}

/// Opens the batch for one subscriber and sends its touches. Dropped half-way it leaves the batch unsettled, which is
/// only right when the subscriber is then made to leave.
async fn send(
    subscription: &Arc<Subscription>,
    released: &Released,
    parts: Parts,
    now: Timestamp,
) -> Result<()> {
    let poison = parts.iter().find_map(|(part, dispatched)| Some((part, dispatched.poison.as_ref()?)));
    let read = merge_read(released, poison.map(|(_, (place, _))| place));
    if let Some((part, (place, error))) = poison {
        let event = part.placed.iter().find(|placed| placed.place == *place).map(|placed| &*placed.event);
        subscription.stop(dispatch::stop(place.clone(), error, event, now))?;
    }
    let touches = parts.iter().map(|(_, dispatched)| dispatched.touches.len()).sum();
    metrics::touches(subscription.projection.name(), touches);
    let hold = released.hold.clone();
    let batch = subscription.open(released.end.clone(), touches, released.recorded, hold)?;
    let lanes = match &subscription.projection.outlet {
        Outlet::Lanes(lanes) => lanes.number(),
        Outlet::Merge { lanes, .. } => *lanes,
    };
    let mut by_lane: Vec<Vec<Delivery>> = (0..lanes.get()).map(|_| Vec::new()).collect();
    for (part, dispatched) in parts {
        let deliveries = part.deliveries(subscription, batch, dispatched.touches, lanes);
        by_lane.iter_mut().zip(deliveries).for_each(|(lane, deliveries)| lane.extend(deliveries));
    }
    match &subscription.projection.outlet {
        Outlet::Lanes(lanes) => {
            for (lane, deliveries) in lanes.senders().iter().zip(by_lane) {
                if !deliveries.is_empty() {
                    let input = LaneInput::Deliver { subscription: subscription.clone(), deliveries };
                    lane.send(input).await.map_err(|_| gone(subscription))?;
                }
            }
        }
        Outlet::Merge { inputs, .. } => {
            let input = MergeInput::Released { subscription: subscription.clone(), by_lane, read };
            inputs.send(input).await.map_err(|_| gone(subscription))?;
        }
    }
    Ok(())
}

/// How far a merge has read with this batch: not beyond poison, since what is behind it was not handed over.
fn merge_read(released: &Released, poison: Option<&Place>) -> MergeRead {
    let before = |placed: &&Placed| poison.is_none_or(|poison| placed.place < *poison);
    let newest = released.placed.iter().filter(before).map(|placed| placed.raised_at).max();
    let Some(poison) = poison else {
        let (tip, low_watermark) = (released.tip, released.low_watermark);
        return MergeRead { up_to: released.end.clone(), newest, tip, low_watermark };
    };
    let last = released.placed.iter().rfind(before);
    let up_to = last.map_or(Place::BEGINNING, |placed| placed.place.clone());
    debug_assert!(up_to < *poison);
    MergeRead { up_to, newest, tip: None, low_watermark: released.low_watermark }
}

fn gone(subscription: &Subscription) -> Error {
    Error::internal(format!(
        "projection={}: a lane has ended before its line",
        subscription.projection.spec.id
    ))
}
