//! The merge of a `global` projection: its task takes what the shards' lines release, and hands it to the lanes with how
//! far the merge has come.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Place, Result, ShardNumber, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    budget::Exemption,
    lanes::{Bounds, Delivery, LineId},
    merge::{Merge, MergeRead},
    subscription::Subscription,
    write::{LaneInput, Lanes},
};

/// Messages that wait for a merge; each holds one batch, whose bytes are in the budget.
pub const MERGE_QUEUE: usize = 4;

pub enum MergeInput {
    /// Readings of these shards will begin: nothing is written before.
    Expect { shards: Vec<ShardNumber> },
    /// A reading of a shard begins behind a place; nothing of it is written before.
    Begin {
        shard: ShardNumber,
        from: Place,
        settled_until: Option<Timestamp>,
        exemption: Exemption,
        begun: oneshot::Sender<()>,
    },
    /// What a batch of a shard has brought.
    Released { subscription: Arc<Subscription>, by_lane: Vec<Vec<Delivery>>, read: MergeRead },
    /// A read of a shard found nothing new.
    Tip { shard: ShardNumber, read: MergeRead },
    /// A shard was read to its end.
    Ended { shard: ShardNumber, children: Vec<ShardNumber> },
    /// This shard was settled to its end before.
    Closed { shard: ShardNumber },
    /// A reading has ended; `closed`: its shard is settled to its end.
    Leave { line: LineId, shard: ShardNumber, closed: bool },
}

/// One projection's merge.
pub struct MergeTask {
    pub merge: Merge,
    pub lanes: Lanes,
    pub inputs: mpsc::Receiver<MergeInput>,
    pub exemptions: BTreeMap<ShardNumber, Exemption>,
}

impl MergeTask {
    pub async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.take_all() => {}
        }
        Ok(())
    }

    async fn take_all(&mut self) {
        while let Some(input) = self.inputs.recv().await {
            self.take(input).await;
            let held_by = self.merge.held_by();
            for (shard, exemption) in &self.exemptions {
                exemption.set(Some(*shard) == held_by);
            }
        }
    }

    async fn take(&mut self, input: MergeInput) {
        match input {
            MergeInput::Expect { shards } => shards.into_iter().for_each(|shard| self.merge.expect(shard)),
            MergeInput::Begin { shard, from, settled_until, exemption, begun } => {
                self.merge.begin(shard, from, settled_until);
                self.exemptions.insert(shard, exemption);
                // The line that asked may have been cancelled.
                let _ = begun.send(());
            }
            MergeInput::Released { subscription, by_lane, read } => {
                self.merge.read(subscription.shard, read);
                self.hand_on(Some(&subscription), by_lane).await;
            }
            MergeInput::Tip { shard, read } => {
                self.merge.read(shard, read);
                self.hand_on(None, Vec::new()).await;
            }
            MergeInput::Ended { shard, children } => {
                self.merge.ended(shard, &children);
                self.hand_on(None, Vec::new()).await;
            }
            MergeInput::Closed { shard } => self.lanes.closed(shard).await,
            MergeInput::Leave { line, shard, closed } => {
                if closed {
                    self.lanes.closed(shard).await;
                } else {
                    self.merge.expect(shard);
                    self.lanes.leave(line).await;
                }
            }
        }
    }

    /// Every lane is told all bounds, in order.
    async fn hand_on(&self, subscription: Option<&Arc<Subscription>>, by_lane: Vec<Vec<Delivery>>) {
        let bounds: Bounds = self.merge.bounds();
        let mut by_lane = by_lane.into_iter();
        for lane in self.lanes.senders() {
            let deliveries = by_lane.next().unwrap_or_default();
            let subscription = subscription.filter(|_| !deliveries.is_empty()).cloned();
            let input = LaneInput::Merged { subscription, deliveries, bounds: bounds.clone() };
            // A lane that has ended has failed, and the worker is stopping.
            let _ = lane.send(input).await;
        }
    }
}
