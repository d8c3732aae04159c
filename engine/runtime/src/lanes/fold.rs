//! Folding a document's pending events on what is stored.

use std::mem;

use foldstream_model::{
    DocumentKey, Epoch, Error, Guard, MarkNumber, Ordering, Result, ShardPlaces, Timestamp,
    ports::StoredDocument,
};

use super::words::{Bounds, Delivery, LaneMode, LateEvent};
use crate::{
    guard::{Judge, Judgement, Origin},
    planted::{self, Bug},
};

/// By what a lane folds.
pub(super) struct Rules {
    pub ordering: Ordering,
    pub epoch: Epoch,
    pub mode: LaneMode,
    /// Shards of which the projection has settled everything.
    pub closed: ShardPlaces,
    /// `global`: how far the merge has come, where that is known.
    pub bounds: Option<Bounds>,
}

/// What the stored guard says of the pending events; those to be applied stay pending, and those to be recorded.
#[derive(Default)]
pub(super) struct Sorted {
    pub duplicates: Vec<Delivery>,
    pub late: Vec<Delivery>,
    pub late_events: Vec<LateEvent>,
    /// How many of those that stay pending are discarded and not on record. They stand in front.
    pub unrecorded: usize,
    /// `global`: whoever wrote the stored guard had read further than this merge.
    pub is_behind: bool,
    /// The mark that the document carries.
    pub mark: Option<MarkNumber>,
}

/// What to write, and how many of the pending events settle with it.
pub(super) struct Folded {
    pub base_guard: Option<Guard>,
    pub put: StoredDocument,
    pub taken: usize,
    pub applied: usize,
}

/// The event behind the first `applied` ones cannot be applied.
pub(super) struct Failed {
    pub applied: usize,
    pub error: Error,
}

impl Rules {
    /// Puts the pending events in their order, and takes out what is a duplicate or late by the stored guard.
    pub fn sort_out(
        &self,
        key: &DocumentKey,
        stored: Option<&StoredDocument>,
        pending: &mut Vec<Delivery>,
    ) -> Result<Sorted> {
        if self.ordering == Ordering::Global {
            pending.sort_by(|a, b| a.origin.order().cmp(&b.origin.order()));
        }
        let judge = Judge::new(key, self.ordering, self.epoch, stored.map(|stored| &stored.guard))?;
        // A document of another stream is the fold's to refuse.
        let judgement =
            |delivery: &Delivery| self.judge(&judge, &delivery.origin).unwrap_or(Judgement::Apply);
        let mut sorted = Sorted { mark: judge.mark(), ..Sorted::default() };
        if let Some(bounds) = &self.bounds {
            let is_behind = judge.is_ahead_of(&bounds.read, &self.closed);
            sorted.is_behind = is_behind && !planted::is(Bug::WrittenBehindGuard);
        }
        if pending.iter().all(|delivery| judgement(delivery) == Judgement::Apply) {
            return Ok(sorted);
        }
        let mut unrecorded = Vec::new();
        for delivery in mem::take(pending) {
            match judgement(&delivery) {
                Judgement::Apply => pending.push(delivery),
                Judgement::Unrecorded if !planted::is(Bug::SettledUnrecorded) => unrecorded.push(delivery),
                Judgement::Duplicate | Judgement::Unrecorded => sorted.duplicates.push(delivery),
                Judgement::Late => {
                    let (key, origin) = (key.clone(), delivery.origin.clone());
                    sorted.late_events.extend(judge.order_key().cloned().map(|behind| LateEvent {
                        epoch: self.epoch,
                        key,
                        origin,
                        behind,
                    }));
                    sorted.late.push(delivery);
                }
            }
        }
        sorted.unrecorded = unrecorded.len();
        pending.splice(0..0, unrecorded);
        Ok(sorted)
    }

    /// How many of the pending events may be written by now.
    pub fn due(&self, pending: &[Delivery]) -> usize {
        match (self.ordering, &self.bounds) {
            _ if self.mode == LaneMode::Redrive => pending.len(),
            (Ordering::PerStream | Ordering::Commutative, _) => pending.len(),
            (Ordering::Global, None) => 0,
            (Ordering::Global, Some(bounds)) => {
                pending.partition_point(|delivery| delivery.origin.recorded_at <= bounds.watermark)
            }
        }
    }

    /// When the first of the pending events may be written.
    pub fn first_due(pending: &[Delivery]) -> Timestamp {
        pending.first().map_or(Timestamp::MIN, |first| first.origin.recorded_at)
    }

    /// Folds events that are due on what is stored; applies at most `at_most`. The stored guard covers none of them, but for
    /// those that it was moved past and that are on record now.
    pub fn fold(
        &self,
        key: &DocumentKey,
        stored: Option<StoredDocument>,
        due: &[Delivery],
        at_most: usize,
    ) -> Result<Folded, Failed> {
        let (base_guard, mut document) =
            stored.map_or((None, None), |stored| (Some(stored.guard), stored.document));
        if base_guard.as_ref().is_some_and(|guard| guard.epoch < self.epoch) {
            document = None;
        }
        let (mut taken, mut applied) = (0, 0);
        let failed = |applied| move |error| Failed { applied, error };
        let mut judge = Judge::new(key, self.ordering, self.epoch, base_guard.as_ref()).map_err(failed(0))?;
        for delivery in due {
            if applied == at_most {
                break;
            }
            match self.judge(&judge, &delivery.origin).map_err(failed(applied))? {
                Judgement::Apply => {
                    let change = &delivery.touch.change;
                    if applied == 0 || !planted::is(Bug::CoalescerKeepsFirst) {
                        crate::pure::guarded("the projector", || change.apply(&mut document))
                            .map_err(failed(applied))?;
                    }
                    judge.advance(&delivery.origin);
                    applied += 1;
                }
                Judgement::Unrecorded => {
                    judge.recorded(&delivery.origin);
                    applied += 1;
                }
                Judgement::Duplicate | Judgement::Late => {}
            }
            taken += 1;
        }
        match self.guard_of(judge) {
            Some(mut guard) => {
                if planted::is(Bug::RealDelete) && document.is_none() {
                    guard.fed = foldstream_model::Fed::Nothing;
                }
                Ok(Folded { base_guard, put: StoredDocument { guard, document }, taken, applied })
            }
            None => {
                Err(Failed { applied, error: Error::internal(format!("a fold of no event: document={key}")) })
            }
        }
    }

    fn judge(&self, judge: &Judge<'_>, origin: &Origin) -> Result<Judgement> {
        match self.mode {
            LaneMode::Live(_) => judge.judge(origin),
            LaneMode::Redrive => judge.judge_parked(origin),
        }
    }

    fn guard_of(&self, judge: Judge<'_>) -> Option<Guard> {
        let nothing = ShardPlaces::default();
        judge.into_guard(&self.closed, self.bounds.as_ref().map_or(&nothing, |bounds| &*bounds.read))
    }

    /// The document as it is, under a guard that was changed: with a mark, or without it, or past an event.
    pub fn reguard(
        &self,
        key: &DocumentKey,
        stored: Option<StoredDocument>,
        change: impl FnOnce(&mut Judge<'_>) -> Result<()>,
    ) -> Result<Folded> {
        let (base_guard, document) =
            stored.map_or((None, None), |stored| (Some(stored.guard), stored.document));
        let document =
            document.filter(|_| base_guard.as_ref().is_some_and(|guard| guard.epoch == self.epoch));
        let mut judge = Judge::new(key, self.ordering, self.epoch, base_guard.as_ref())?;
        change(&mut judge)?;
        match self.guard_of(judge) {
            Some(guard) => {
                let put = StoredDocument { guard, document };
                Ok(Folded { base_guard, put, taken: 0, applied: 0 })
            }
            None => Err(Error::internal(format!("a mark that is not there was taken off: document={key}"))),
        }
    }
}
