//! What a lane has to tell, and the counts of what it holds.

use std::collections::BTreeMap;

use foldstream_model::{DocumentKey, Error};

use super::words::{Delivery, LanePoison, LateEvent, LineId};
use crate::progress::BatchId;

#[derive(Default)]
pub(super) struct Outbox {
    pub settled: BTreeMap<(LineId, BatchId), usize>,
    pub poison: Vec<LanePoison>,
    pub late: Vec<LateEvent>,
    /// Events that may yet settle.
    pub undone: usize,
    /// The weight of all events in the lane.
    pub bytes: usize,
}

impl Outbox {
    pub fn settle(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        for delivery in deliveries {
            self.forget(&delivery);
            *self.settled.entry((delivery.line, delivery.batch)).or_default() += 1;
        }
    }

    pub fn refuse(&mut self, key: &DocumentKey, delivery: Delivery, error: Error) {
        self.forget(&delivery);
        let (key, Delivery { line, origin, .. }) = (key.clone(), delivery);
        self.poison.push(LanePoison { line, key, origin, error });
    }

    /// An event that could have settled leaves the lane.
    pub fn forget(&mut self, delivery: &Delivery) {
        self.undone -= 1;
        self.bytes -= delivery.bytes;
    }
}
