//! Redriving one document: its parked events are applied in order, removed from the lot, and when none is left its mark
//! is closed and taken off.
//!
//! Every step may be lost, repeated, or done by several at once: what is in the document is known by its guard, and a
//! mark is closed only when nothing waits. The document is read before what waits is listed, and whoever discards an event
//! changes the guard after it is on record; so a redrive that does not know of it finds a conflict, and lists anew.

use std::{collections::BTreeSet, mem};

use foldstream_model::{
    DocumentKey, Epoch, Error, Guard, Mark, MarkNumber, Ordering, ParkedOrder,
    ports::{Condition, DocumentWrite, StoredDocument, Touch, Written},
};

use crate::{
    guard::Origin,
    lanes::{Delivery, Lane, LaneMode, LaneOptions, LateEvent, LineId},
    progress::BatchId,
};

const LINE: LineId = LineId(0);

/// One document's redrive. Its driver does what [`Redrive::step`] says and answers it, until it has ended.
pub struct Redrive {
    document: DocumentKey,
    options: LaneOptions,
    /// Stop at the first event that is not discarded.
    only_discarded: bool,
    stage: Stage,
    done: u64,
    refused: Option<(Origin, Error)>,
}

enum Stage {
    Reading,
    /// The document carries this mark.
    Listing(StoredDocument, MarkNumber),
    Folding(Folding),
    Removing(Vec<ParkedOrder>),
    Closing(StoredDocument, MarkNumber),
    Clearing(Box<DocumentWrite>),
    Over,
}

struct Folding {
    lane: Box<Lane>,
    /// What is stored, as far as known.
    stored: StoredDocument,
    /// Of the events in the lane, each at the number of its batch.
    orders: Vec<ParkedOrder>,
    writing: Option<DocumentWrite>,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Read the document, for [`Redrive::read`].
    Read,
    /// List the first parked events of the document, for [`Redrive::listed`].
    List,
    /// Write it, for [`Redrive::written`], or [`Redrive::unknown`] if nobody knows how it ended.
    Write(DocumentWrite),
    /// Record these as late, for [`Redrive::late_recorded`].
    RecordLate(Vec<LateEvent>),
    /// Remove these from the lot, for [`Redrive::removed`].
    Remove(Vec<ParkedOrder>),
    /// Close this mark, for [`Redrive::closed`].
    Close(MarkNumber),
    Ended(Ended),
}

/// How a redrive has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// So many events have left the lot.
    pub done: u64,
    /// The first event that is left, and why it could not be taken.
    pub refused: Option<(Origin, Error)>,
}

/// A parked event, ready to be applied.
pub struct Waiting {
    pub order: ParkedOrder,
    pub origin: Origin,
    /// What it does to the document; of one that is discarded, nothing.
    pub touch: Touch,
    pub is_discarded: bool,
}

impl Redrive {
    pub fn new(document: DocumentKey, ordering: Ordering, epoch: Epoch, only_discarded: bool) -> Self {
        let options = LaneOptions { ordering, epoch, mode: LaneMode::Redrive, cache_bytes: 0 };
        Self { document, options, only_discarded, stage: Stage::Reading, done: 0, refused: None }
    }

    pub fn step(&mut self) -> Step {
        loop {
            match &mut self.stage {
                Stage::Reading => return Step::Read,
                Stage::Listing(..) => return Step::List,
                Stage::Folding(folding) => {
                    if let Some(step) = folding.step(&self.document) {
                        return step;
                    }
                    self.folded();
                }
                Stage::Removing(orders) => return Step::Remove(orders.clone()),
                Stage::Closing(_, mark) => return Step::Close(*mark),
                Stage::Clearing(write) => return Step::Write(DocumentWrite::clone(write)),
                Stage::Over => {
                    return Step::Ended(Ended { done: self.done, refused: self.refused.clone() });
                }
            }
        }
    }

    /// A document that carries no mark is not parked: nothing is to be done.
    pub fn read(&mut self, stored: Option<StoredDocument>) {
        let ours = stored.filter(|stored| stored.guard.epoch == self.options.epoch);
        let marked = ours.and_then(|stored| match stored.guard.mark {
            Some(Mark::Set(mark)) => Some((stored, mark)),
            Some(Mark::Cleared(_)) | None => None,
        });
        self.stage = marked.map_or(Stage::Over, |(stored, mark)| Stage::Listing(stored, mark));
    }

    /// The first parked events of the document, in their order; none if none waits.
    pub fn listed(&mut self, mut events: Vec<Waiting>) {
        let Stage::Listing(stored, mark) = mem::replace(&mut self.stage, Stage::Over) else { return };
        if events.is_empty() {
            self.stage = Stage::Closing(stored, mark);
            return;
        }
        if self.only_discarded {
            let discarded = events.iter().take_while(|event| event.is_discarded).count();
            events.truncate(discarded);
        }
        if !events.is_empty() {
            self.stage = Stage::Folding(Folding::new(self.options, stored, events));
        }
    }

    pub fn written(&mut self, written: Written) {
        match (&mut self.stage, written) {
            (Stage::Folding(folding), Written::Done) => folding.written(&self.document),
            (Stage::Folding(folding), rejected @ Written::Rejected(_)) => {
                folding.lane.written(&self.document, rejected);
            }
            // Of one that is rejected the mark stays, closed: whoever meets it next takes it off.
            (Stage::Clearing(_), Written::Done | Written::Rejected(_)) => self.stage = Stage::Over,
            (_, Written::Conflict(_)) => self.stage = Stage::Reading,
            _ => {}
        }
    }

    /// Nobody knows how the write ended.
    pub fn unknown(&mut self) {
        self.stage = Stage::Reading;
    }

    pub fn late_recorded(&mut self) {
        if let Stage::Folding(folding) = &mut self.stage {
            folding.lane.late_recorded(&self.document);
        }
    }

    pub fn removed(&mut self) {
        if let Stage::Removing(orders) = &self.stage {
            self.done += orders.len() as u64;
            self.stage = if self.refused.is_some() { Stage::Over } else { Stage::Reading };
        }
    }

    /// Whether the mark is closed now; if not, events have come meanwhile.
    pub fn closed(&mut self, is_closed: bool) {
        self.stage = match mem::replace(&mut self.stage, Stage::Reading) {
            Stage::Closing(stored, mark) if is_closed => {
                let write = remarked(&self.document, stored, Mark::Cleared(mark));
                Stage::Clearing(Box::new(write))
            }
            _ => Stage::Reading,
        };
    }

    /// What is in the document is removed from the lot.
    fn folded(&mut self) {
        let Stage::Folding(Folding { lane, orders, .. }) = &mut self.stage else { return };
        let poison = lane.take_poison().into_iter().next();
        self.refused = poison.map(|poison| (poison.origin, poison.error));
        let settled: BTreeSet<BatchId> = lane.take_settled().into_iter().map(|(_, batch, _)| batch).collect();
        let orders = mem::take(orders).into_iter().zip((0..).map(BatchId));
        let settled: Vec<_> =
            orders.filter_map(|(order, batch)| settled.contains(&batch).then_some(order)).collect();
        self.stage = if settled.is_empty() { Stage::Over } else { Stage::Removing(settled) };
    }
}

impl Folding {
    fn new(options: LaneOptions, stored: StoredDocument, events: Vec<Waiting>) -> Self {
        let mut lane = Box::new(Lane::new(options));
        let mut orders = Vec::with_capacity(events.len());
        for (batch, event) in (0..).map(BatchId).zip(events) {
            let Waiting { order, origin, touch, .. } = event;
            orders.push(order);
            lane.deliver(Delivery { line: LINE, batch, origin, touch, carried: None, bytes: 0 });
        }
        Self { lane, stored, orders, writing: None }
    }

    fn step(&mut self, document: &DocumentKey) -> Option<Step> {
        loop {
            let late = self.lane.take_late();
            if !late.is_empty() {
                return Some(Step::RecordLate(late));
            }
            if !self.lane.to_read(1).is_empty() {
                self.lane.loaded(document, Some(self.stored.clone()));
                continue;
            }
            self.writing = self.lane.to_write(1).pop();
            if self.writing.is_none() && self.lane.has_work() {
                continue;
            }
            return self.writing.clone().map(Step::Write);
        }
    }

    fn written(&mut self, document: &DocumentKey) {
        if let Some(write) = self.writing.take() {
            self.stored = write.put;
        }
        self.lane.written(document, Written::Done);
    }
}

/// The document as it is, with another mark.
pub fn remarked(document: &DocumentKey, stored: StoredDocument, mark: Mark) -> DocumentWrite {
    let guard = Guard { mark: Some(mark), ..stored.guard.clone() };
    let (key, condition) = (document.clone(), Condition::GuardIs(stored.guard));
    DocumentWrite { key, condition, put: StoredDocument { guard, document: stored.document } }
}
