//! Setting events of a document aside: in the lot, under the document's mark, or as discarded.
//!
//! The document is marked by its own conditional write before anything of it is parked; whoever meets the mark parks
//! instead of applying. A mark that turns out to be closed is taken off in the same way.
//!
//! The guard of a `global` document also says what is parked of it, as it says what the document has: only when it was
//! moved on by a conditional write are events settled that have gone into the lot.
//!
//! An event is discarded by a conditional write that moves the document past it, and leaves in the guard that this is not
//! recorded yet. Whoever meets the event then records it, and takes that out of the guard; only then is it settled.

use std::{mem, sync::Arc};

use foldstream_model::{
    DocumentKey, Error, ErrorKind, MarkNumber, OnFailure, Ordering, Place, Result, ShardNumber,
    ports::StateCarried,
};

use super::{
    Lane,
    buffer::{Buffer, Phase, Turn},
    fold::{Folded, Rules},
    outbox::Outbox,
    words::{Delivery, Discard, LaneMode, LineId, ParkAnswer, ParkRequest, SetAside},
};

use crate::planted::{self, Bug};

/// Events of a document that are parked at once: a transaction of any store takes as many.
const PARKED_AT_ONCE: usize = 90;

/// What is being set aside of a document.
#[derive(Default)]
pub(super) struct Aside {
    /// The first pending event could not be taken.
    refused: Option<Refused>,
    /// Events on their way into the lot.
    pub parking: Vec<Delivery>,
    /// The mark under which they go there.
    mark: MarkNumber,
    /// Where they stand, in their order.
    asked: Vec<(ShardNumber, Place)>,
    /// Those that have arrived there under that mark.
    in_lot: Vec<(ShardNumber, Place)>,
    /// This mark was found closed.
    closed: Option<MarkNumber>,
    /// Of this event it is on record, once the document goes on, that it is discarded.
    recorded: Option<(ShardNumber, Place)>,
}

fn stands_among(Delivery { origin, .. }: &Delivery, places: &[(ShardNumber, Place)]) -> bool {
    places.iter().any(|(shard, place)| (*shard, place) == (origin.shard, &origin.place))
}

struct Refused {
    line: LineId,
    shard: ShardNumber,
    place: Place,
    error: Error,
}

impl Refused {
    fn is(&self, delivery: &Delivery) -> bool {
        let origin = &delivery.origin;
        (self.line, self.shard, &self.place) == (delivery.line, origin.shard, &origin.place)
    }
}

impl Rules {
    /// Whether an event that fails like this is set aside, so that the others go on.
    fn sets_aside(&self, error: &Error) -> bool {
        let sets_aside = matches!(self.mode, LaneMode::Live(OnFailure::Park | OnFailure::Discard));
        sets_aside && error.kind() == ErrorKind::Poison
    }
}

impl Buffer {
    fn refused(&self) -> Option<&Refused> {
        let refused = self.aside.as_ref()?.refused.as_ref()?;
        refused.is(self.pending.first()?).then_some(refused)
    }

    pub fn refuses_first(&self) -> bool {
        self.refused().is_some()
    }

    /// Remembers that the first event cannot be taken; false if it was known, and setting it aside has failed, or if
    /// such events are not set aside.
    pub fn sets_first_aside(&mut self, error: &Error, rules: &Rules) -> bool {
        let Some(first) = self.pending.first() else { return false };
        if !rules.sets_aside(error) || self.refused().is_some() {
            return false;
        }
        let (line, origin) = (first.line, &first.origin);
        let (shard, place) = (origin.shard, origin.place.clone());
        let refused = Refused { line, shard, place, error: error.clone() };
        self.aside.get_or_insert_default().refused = Some(refused);
        true
    }

    /// The turn of a document that carries this mark, or none, where it is not simply to apply what is due.
    pub fn set_aside(
        &mut self,
        rules: &Rules,
        mark: Option<MarkNumber>,
        due: usize,
        out: &mut Outbox,
    ) -> Option<Turn> {
        let is_refused = self.refused().is_some();
        let closed = self.aside.as_ref().and_then(|aside| aside.closed);
        match (rules.mode, mark) {
            (LaneMode::Live(_), Some(_)) if planted::is(Bug::MarkIgnored) => None,
            (LaneMode::Redrive, Some(_)) => None,
            (LaneMode::Redrive, None) => {
                // Only what is parked is redriven.
                self.pending.drain(..).for_each(|delivery| out.forget(&delivery));
                Some(Turn::Rest)
            }
            (LaneMode::Live(_), Some(mark)) if closed == Some(mark) => {
                let folded = rules.reguard(&self.key, self.base.take(), |judge| {
                    judge.clear_mark();
                    Ok(())
                });
                Some(self.write_guard(folded, rules, out))
            }
            (LaneMode::Live(OnFailure::Park), Some(mark)) => Some(self.park(mark, due, rules, out)),
            (LaneMode::Live(_), Some(_)) => {
                let message = "events of the document are parked, and this one stands behind them: redrive or discard them, or write `on_failure: park`";
                Some(self.stop_at_first(Error::poison(message), rules, out))
            }
            (LaneMode::Live(OnFailure::Park), None) if is_refused => {
                let folded = rules.reguard(&self.key, self.base.take(), |judge| {
                    judge.set_mark();
                    Ok(())
                });
                Some(self.write_guard(folded, rules, out))
            }
            (LaneMode::Live(OnFailure::Discard), None) if is_refused => Some(self.discard(rules, out)),
            (LaneMode::Live(_), None) => None,
        }
    }

    fn write_guard(&mut self, folded: Result<Folded>, rules: &Rules, out: &mut Outbox) -> Turn {
        match folded {
            Ok(folded) => Turn::Write(self.take_off(folded)),
            Err(error) => self.stop_at_first(error, rules, out),
        }
    }

    /// Only what is due: what is ordered before that, and comes only then, is late.
    fn park(&mut self, mark: MarkNumber, due: usize, rules: &Rules, out: &mut Outbox) -> Turn {
        if let Some(last) = self.in_lot(mark, due) {
            let taken = last + 1;
            let last = self.pending.get(last).map(|delivery| delivery.origin.clone());
            let folded = rules.reguard(&self.key, self.base.take(), |judge| {
                last.iter().for_each(|last| judge.park(last));
                Ok(())
            });
            return self.write_guard(folded.map(|folded| Folded { taken, ..folded }), rules, out);
        }
        let first = due.min(PARKED_AT_ONCE);
        let mut events = Vec::with_capacity(first);
        for delivery in self.pending.iter().take(first) {
            let error = events.is_empty().then(|| self.refused().map(|refused| refused.error.clone()));
            match set_aside(&self.key, delivery, error.flatten()) {
                Ok(event) => events.push(event),
                Err(error) => return self.stop_at_first(error, rules, out),
            }
        }
        let rest = self.pending.split_off(first);
        let aside = self.aside.get_or_insert_default();
        aside.parking = mem::replace(&mut self.pending, rest);
        aside.mark = mark;
        aside.asked = events.iter().map(|event| (event.origin.shard, event.origin.place.clone())).collect();
        if planted::is(Bug::ParkedAfterCheckpoint) {
            out.settle(&mem::take(&mut aside.parking));
        }
        out.parking.push(ParkRequest { key: self.key.clone(), mark, events });
        Turn::Park
    }

    /// The last of the first events that have gone into the lot under this mark, where that is still to be written down.
    fn in_lot(&self, mark: MarkNumber, due: usize) -> Option<usize> {
        let aside = self.aside.as_ref().filter(|aside| aside.mark == mark)?;
        let first = self.pending.iter().take(due);
        first.take_while(|delivery| stands_among(delivery, &aside.in_lot)).count().checked_sub(1)
    }

    /// The first event has no effect from now on: the document's guard moves past it, and nothing else.
    fn discard(&mut self, rules: &Rules, out: &mut Outbox) -> Turn {
        if planted::is(Bug::RecordedUndecided)
            && let Some(turn) = self.record_first(rules, out)
        {
            return turn;
        }
        let Some(first) = self.pending.first() else { return Turn::Rest };
        let folded = rules.reguard(&self.key, self.base.take(), |judge| judge.pass_over(&first.origin));
        self.write_guard(folded, rules, out)
    }

    /// The document was moved past the first event. None: that is on record, and may be taken out of the guard.
    pub fn record_first(&mut self, rules: &Rules, out: &mut Outbox) -> Option<Turn> {
        let first = self.pending.first()?;
        let at = (first.origin.shard, first.origin.place.clone());
        if self.aside.as_ref().is_some_and(|aside| aside.recorded.as_ref() == Some(&at)) {
            return None;
        }
        if rules.mode == LaneMode::Live(OnFailure::Stop) {
            let message = "the document is without this event, which was discarded, and that is not on record yet: write `on_failure: discard` until it is";
            return Some(self.stop_at_first(Error::poison(message), rules, out));
        }
        let error = self.refused().map(|refused| refused.error.clone());
        Some(match set_aside(&self.key, first, error) {
            Ok(event) => {
                out.discards.push(Discard { key: self.key.clone(), event });
                self.aside.get_or_insert_default().recorded = Some(at);
                Turn::Record
            }
            Err(error) => self.stop_at_first(error, rules, out),
        })
    }

    /// Events that were on their way into the lot stand again before those that came after them.
    fn unpark(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.parking.append(&mut self.pending);
            mem::swap(&mut aside.parking, &mut self.pending);
        }
    }
}

fn set_aside(key: &DocumentKey, delivery: &Delivery, error: Option<Error>) -> Result<SetAside> {
    let carried: Option<&Arc<StateCarried>> = delivery.carried.as_ref();
    let Some(carried) = carried.cloned() else {
        return Err(Error::internal(format!(
            "an event came without what is to be set aside: document={key}"
        )));
    };
    Ok(SetAside { origin: delivery.origin.clone(), carried, error })
}

impl Lane {
    /// Events that are to be parked, since the last call. Each of their documents rests until [`Lane::parked`] names it.
    pub fn take_parking(&mut self) -> Vec<ParkRequest> {
        mem::take(&mut self.out.parking)
    }

    /// How the parking of this document's events ended.
    pub fn parked(&mut self, key: &DocumentKey, answer: ParkAnswer) {
        let Some((slot, buffer)) = self.documents.find(key) else { return };
        if buffer.phase != Phase::Parking {
            return;
        }
        let Some(aside) = &mut buffer.aside else { return };
        let full = match answer {
            ParkAnswer::Closed if planted::is(Bug::ParkedUnderClosedMark) => {
                self.out.settle(&mem::take(&mut aside.parking));
                aside.refused = None;
                None
            }
            ParkAnswer::Parked(first) => {
                aside.refused = None;
                aside.in_lot = mem::take(&mut aside.asked);
                aside.in_lot.truncate(first);
                if self.rules.ordering != Ordering::Global {
                    let in_lot = mem::take(&mut aside.in_lot);
                    let parked = aside.parking.extract_if(.., |delivery| stands_among(delivery, &in_lot));
                    self.out.settle(&parked.collect::<Vec<_>>());
                }
                None
            }
            ParkAnswer::Closed => {
                aside.closed = Some(aside.mark);
                aside.refused = None;
                None
            }
            ParkAnswer::Full(error) => Some(error),
        };
        buffer.unpark();
        let turn = match full {
            _ if buffer.pending.is_empty() => Turn::Rest,
            Some(error) => buffer.stop_at_first(error, &self.rules, &mut self.out),
            None => Turn::Ready,
        };
        self.follow(slot, turn);
    }

    /// Events that are to be recorded as discarded, since the last call. Each of their documents rests until
    /// [`Lane::discarded`] names it.
    pub fn take_discards(&mut self) -> Vec<Discard> {
        mem::take(&mut self.out.discards)
    }

    /// It is on record that this document's event is discarded.
    pub fn discarded(&mut self, key: &DocumentKey) {
        if let Some((slot, buffer)) = self.documents.find(key)
            && buffer.phase == Phase::Recording
        {
            self.follow(slot, Turn::Ready);
        }
    }
}
