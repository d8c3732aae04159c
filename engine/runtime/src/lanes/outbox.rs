//! What a lane has to tell, and the counts of what it holds.

use std::collections::BTreeMap;

use foldstream_model::{DocumentKey, Error};

use super::words::{Delivery, Discard, LanePoison, LateEvent, LineId, ParkRequest};
use crate::progress::BatchId;

#[derive(Default)]
pub(super) struct Outbox {
    pub settled: BTreeMap<(LineId, BatchId), usize>,
    /// How many events more, or fewer, poison holds up, itself included.
    pub held_up: BTreeMap<(LineId, BatchId), isize>,
    pub poison: Vec<LanePoison>,
    pub late: Vec<LateEvent>,
    pub parking: Vec<ParkRequest>,
    pub discards: Vec<Discard>,
    /// Events that may yet settle.
    pub undone: usize,
    /// The weight of all events in the lane.
    pub bytes: usize,
}

impl Outbox {
    pub fn settle(&mut self, deliveries: &[Delivery]) {
        for of_batch in deliveries.chunk_by(|a, b| (a.line, a.batch) == (b.line, b.batch)) {
            of_batch.iter().for_each(|delivery| self.forget(delivery));
            if let Some(Delivery { line, batch, .. }) = of_batch.first() {
                *self.settled.entry((*line, *batch)).or_default() += of_batch.len();
            }
        }
    }

    pub fn refuse(&mut self, key: &DocumentKey, delivery: Delivery, error: Error) {
        self.forget(&delivery);
        self.count_held_up(&delivery, 1);
        let (key, Delivery { line, origin, .. }) = (key.clone(), delivery);
        self.poison.push(LanePoison { line, key, origin, error });
    }

    /// An event waits behind poison.
    pub fn hold(&mut self, delivery: &Delivery) {
        self.undone -= 1;
        self.count_held_up(delivery, 1);
    }

    /// It waits for that no longer.
    pub fn unhold(&mut self, delivery: &Delivery) {
        self.undone += 1;
        self.count_held_up(delivery, -1);
    }

    fn count_held_up(&mut self, delivery: &Delivery, change: isize) {
        *self.held_up.entry((delivery.line, delivery.batch)).or_default() += change;
    }

    /// An event that could have settled leaves the lane.
    pub fn forget(&mut self, delivery: &Delivery) {
        self.undone -= 1;
        self.bytes -= delivery.bytes;
    }
}
