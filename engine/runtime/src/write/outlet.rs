//! Where the touches of a projection go, and what its lanes are told.

use std::{num::NonZeroUsize, sync::Arc};

use foldstream_model::ShardNumber;
use tokio::sync::{mpsc, oneshot};

use crate::{
    lanes::{Bounds, Delivery, LineId},
    merging::MergeInput,
    subscription::Subscription,
};

/// Where a projection's touches go.
pub enum Outlet {
    /// To the lane of the touched document.
    Lanes(Lanes),
    /// To the one merge that puts the shards in order, and from there to the lanes.
    Merge { inputs: mpsc::Sender<MergeInput>, lanes: NonZeroUsize },
}

/// The lanes of one projection.
#[derive(Clone)]
pub struct Lanes {
    senders: Vec<mpsc::Sender<LaneInput>>,
    number: NonZeroUsize,
}

impl Lanes {
    /// None without a sender.
    pub fn new(senders: Vec<mpsc::Sender<LaneInput>>) -> Option<Self> {
        let number = NonZeroUsize::new(senders.len())?;
        Some(Self { senders, number })
    }

    pub fn number(&self) -> NonZeroUsize {
        self.number
    }

    pub fn senders(&self) -> &[mpsc::Sender<LaneInput>] {
        &self.senders
    }

    /// `global` only: every lane forgets what a reading delivered and is not done.
    pub async fn leave(&self, line: LineId) {
        for sender in &self.senders {
            // A lane that has ended holds nothing.
            let _ = sender.send(LaneInput::Leave { line }).await;
        }
    }

    /// Returns when every lane has taken what waited for it, has forgotten what its documents were known to hold, and
    /// has heard of what was on its way to the store.
    pub async fn clear_caches(&self) {
        for sender in &self.senders {
            let (done, cleared) = oneshot::channel();
            if sender.send(LaneInput::ClearCache { done }).await.is_ok() {
                // A lane that has ended meanwhile holds nothing.
                let _ = cleared.await;
            }
        }
    }

    pub async fn closed(&self, shard: ShardNumber) {
        for sender in &self.senders {
            // A lane that has ended writes no guard any more.
            let _ = sender.send(LaneInput::Closed(shard)).await;
        }
    }
}

pub enum LaneInput {
    Deliver {
        subscription: Arc<Subscription>,
        deliveries: Vec<Delivery>,
    },
    /// `global` only: what one batch brings to this lane, and how far the merge has come with it.
    Merged {
        subscription: Option<Arc<Subscription>>,
        deliveries: Vec<Delivery>,
        bounds: Bounds,
    },
    /// This projection has settled the shard to its sealed end.
    Closed(ShardNumber),
    /// `global` only: forget what a reading delivered and is not done, behind all bounds that were told with it.
    Leave {
        line: LineId,
    },
    /// Forget cached documents; answered when that is done and nothing is on its way that was before.
    ClearCache {
        done: oneshot::Sender<()>,
    },
}
