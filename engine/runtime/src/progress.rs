//! Progress: which prefix of a shard is settled for one projection.

use std::collections::VecDeque;

use foldstream_model::{Error, Place, Result};

use crate::planted::{self, Bug};

#[cfg(test)]
mod tests;

/// Names a batch within one [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// What one projection has settled in one shard. Batches are opened in the order of their places; their touches settle
/// in any order; the longest prefix of settled batches is what a checkpoint may say.
#[derive(Debug)]
pub struct Progress {
    /// The end of the longest settled prefix.
    settled: Place,
    /// The batches behind it.
    open: VecDeque<Open>,
    /// The id of the first one of them.
    first: u64,
    in_flight: usize,
    halted_at: Option<Place>,
}

#[derive(Debug)]
struct Open {
    end: Place,
    unsettled: usize,
    /// How many of them never settle, as poison in their documents holds them up.
    held_up: usize,
}

impl Progress {
    /// Nothing open behind `settled`, the place of the checkpoint or the shard's beginning.
    pub fn new(settled: Place) -> Self {
        Self { settled, open: VecDeque::new(), first: 0, in_flight: 0, halted_at: None }
    }

    /// Opens the batch that ends at `end` and has so many touches; without touches it is settled at once. Internal when
    /// `end` is not behind every batch before.
    pub fn open(&mut self, end: Place, touches: usize) -> Result<BatchId> {
        let last = self.open.back().map_or(&self.settled, |batch| &batch.end);
        if end <= *last {
            return Err(Error::internal(format!("a batch was opened out of order: end={end} last={last}")));
        }
        let id = BatchId(self.first + self.open.len() as u64);
        let touches = if planted::is(Bug::InFlightIgnored) { 0 } else { touches };
        self.open.push_back(Open { end, unsettled: touches, held_up: 0 });
        self.in_flight += touches;
        self.advance();
        Ok(id)
    }

    /// Settles `touches` more touches of a batch. Internal when that is more than were opened.
    pub fn settle(&mut self, batch: BatchId, touches: usize) -> Result<()> {
        let index = batch.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let open = index.and_then(|index| self.open.get_mut(index));
        let left = open.as_ref().map_or(0, |open| open.unsettled);
        let is_all = planted::is(Bug::OtherLaneIgnored) || planted::is(Bug::InFlightIgnored);
        let touches = if is_all { left } else { touches };
        match open {
            Some(open) if touches <= left => open.unsettled -= touches,
            _ if touches == 0 => return Ok(()),
            _ => {
                let message =
                    format!("more was settled than opened: batch={} touches={touches} left={left}", batch.0);
                return Err(Error::internal(message));
            }
        }
        self.in_flight -= touches;
        self.advance();
        Ok(())
    }

    /// Up to where everything is settled. Never goes back.
    pub fn settled(&self) -> &Place {
        &self.settled
    }

    /// How many touches are opened and not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Poison holds up so many more touches of a batch, itself included; or fewer.
    pub fn hold_up(&mut self, batch: BatchId, change: isize) {
        let index = batch.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(open) = index.and_then(|index| self.open.get_mut(index)) {
            open.held_up = open.held_up.saturating_add_signed(change);
        }
    }

    /// Whether everything before the poison is settled, and of its batch all else that can be.
    pub fn is_settled_before_halt(&self) -> bool {
        let mut last = &self.settled;
        for batch in &self.open {
            if self.halted_at.as_ref().is_some_and(|place| place <= last) {
                break;
            }
            if batch.unsettled > batch.held_up {
                return false;
            }
            last = &batch.end;
        }
        true
    }

    /// Stops at poison: no batch that reaches `place` ever counts as settled. The lowest place counts. Internal when it
    /// is settled already.
    pub fn halt_at(&mut self, place: Place) -> Result<()> {
        if place <= self.settled {
            let settled = &self.settled;
            return Err(Error::internal(format!(
                "poison was met in what is settled: place={place} settled={settled}"
            )));
        }
        if self.halted_at.as_ref().is_none_or(|halted| place < *halted) {
            self.halted_at = Some(place);
        }
        Ok(())
    }

    fn advance(&mut self) {
        while let Some(open) = self.open.front() {
            let halted = self.halted_at.as_ref().is_some_and(|place| open.end >= *place);
            if open.unsettled > 0 || halted {
                return;
            }
            if let Some(open) = self.open.pop_front() {
                self.settled = open.end;
                self.first += 1;
            }
        }
    }
}
