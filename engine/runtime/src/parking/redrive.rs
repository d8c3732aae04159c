//! Redriving one document: its parked events are applied in order, removed from the lot, and when none is left its mark
//! is closed and taken off.
//!
//! Every step may be lost, repeated, or done by several at once: what is in the document is known by its guard, and a
//! mark is closed only when nothing waits.
//!
//! Of a `global` document an event is parked once the guard says so. What is in the lot and ordered behind that is on its way
//! and stays. What is ordered before it, and was not read by whoever moved the guard, is late, whenever it has come. Whether it
//! is on record as such is asked after the document was read: until the guard says that it was read, it may yet be recorded.
//!
//! The discard of an event is asked for at any time, and decided by whoever redrives. The document is read before what
//! waits and what was asked for is listed; then its mark gets another number, so that every redrive that has listed before
//! finds a conflict. From there on nobody applies the event or leaves it out before it is decided, so the guard of that
//! moment says to all of them whether it is in the document.

use std::{collections::BTreeSet, mem};

use foldstream_model::{
    DocumentKey, Epoch, Error, Guard, Mark, MarkNumber, Ordering, ParkedOrder, Result, ShardPlaces,
    ports::{Condition, DocumentWrite, StoredDocument, Touch, Written},
};

use crate::{
    guard::{Judge, Judgement, Origin},
    lanes::{Delivery, Lane, LaneMode, LaneOptions, LateEvent, LineId},
    planted::{self, Bug},
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
    is_under_way: bool,
}

enum Stage {
    Reading,
    /// The document carries this mark.
    Listing(StoredDocument, MarkNumber),
    /// The mark gets another number, before these are decided.
    Renumbering(Box<DocumentWrite>, Vec<Asked>),
    Deciding(Vec<Decision>),
    Folding(Box<Folding>),
    Removing(Vec<ParkedOrder>),
    Closing(StoredDocument, MarkNumber),
    Clearing(Box<DocumentWrite>),
    Over,
}

struct Folding {
    lane: Lane,
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
    /// List the first parked events of the document and all discards that are asked for, for [`Redrive::listed`].
    List,
    /// Write down what is decided, each where the discard is still only asked for, for [`Redrive::decided`].
    Decide(Vec<Decision>),
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
    /// Others are left that a worker is just parking: it has not written that into the document yet.
    pub is_under_way: bool,
}

/// A parked event, ready to be applied.
pub struct Waiting {
    pub order: ParkedOrder,
    pub origin: Origin,
    /// What it does to the document; of one that is discarded, nothing.
    pub touch: Touch,
    pub is_discarded: bool,
    /// It is on record as late: whoever put it there was overtaken, and nobody applies it.
    pub is_late: bool,
}

/// An event of the document whose discard is asked for.
pub struct Asked {
    pub order: ParkedOrder,
    pub origin: Origin,
}

/// Whether the event is discarded, or was in the document before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub order: ParkedOrder,
    pub is_discarded: bool,
}

impl Redrive {
    pub fn new(document: DocumentKey, ordering: Ordering, epoch: Epoch, only_discarded: bool) -> Self {
        let options = LaneOptions { ordering, epoch, mode: LaneMode::Redrive, cache_bytes: 0 };
        let stage = Stage::Reading;
        Self { document, options, only_discarded, stage, done: 0, refused: None, is_under_way: false }
    }

    pub fn step(&mut self) -> Step {
        loop {
            match &mut self.stage {
                Stage::Reading => return Step::Read,
                Stage::Listing(..) => return Step::List,
                Stage::Renumbering(write, _) => return Step::Write(DocumentWrite::clone(write)),
                Stage::Deciding(decisions) => return Step::Decide(decisions.clone()),
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
                    let (refused, is_under_way) = (self.refused.clone(), self.is_under_way);
                    return Step::Ended(Ended { done: self.done, refused, is_under_way });
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

    /// The first parked events of the document, in their order, none if none waits; and those whose discard is asked for,
    /// listed after them.
    pub fn listed(&mut self, mut events: Vec<Waiting>, asked: Vec<Asked>) {
        let Stage::Listing(stored, mark) = mem::replace(&mut self.stage, Stage::Over) else { return };
        if !asked.is_empty() {
            let write = self.remarked(stored, |judge| judge.set_mark());
            self.stage = write.map_or(Stage::Over, |write| Stage::Renumbering(Box::new(write), asked));
            return;
        }
        if events.is_empty() {
            self.is_under_way = false;
            self.stage = Stage::Closing(stored, mark);
            return;
        }
        if planted::is(Bug::NewestRedrivenFirst) {
            events.reverse();
        }
        self.is_under_way = self.keep_parked(&stored.guard, &mut events);
        let (late, mut events): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| event.is_late && !planted::is(Bug::OvertakenRedriven));
        if !late.is_empty() {
            self.stage = Stage::Removing(late.into_iter().map(|event| event.order).collect());
            return;
        }
        if self.only_discarded {
            let discarded = events.iter().take_while(|event| event.is_discarded).count();
            events.truncate(discarded);
        }
        if !events.is_empty() {
            self.stage = Stage::Folding(Box::new(Folding::new(self.options, stored, events)));
        }
    }

    /// Drops what is not known to be parked; says whether there was any.
    fn keep_parked(&self, guard: &Guard, events: &mut Vec<Waiting>) -> bool {
        let before = events.len();
        // A guard that this cannot judge by is the lane's to refuse.
        if let Ok(judge) = self.judge(guard) {
            events.retain(|event| judge.is_parked(&event.origin));
        }
        events.len() < before
    }

    fn judge<'a>(&'a self, guard: &Guard) -> Result<Judge<'a>> {
        Judge::new(&self.document, self.options.ordering, self.options.epoch, Some(guard))
    }

    pub fn written(&mut self, written: Written) {
        match (&mut self.stage, written) {
            (Stage::Folding(folding), Written::Done) => folding.written(&self.document),
            (Stage::Folding(folding), rejected @ Written::Rejected(_)) => {
                folding.lane.written(&self.document, rejected);
            }
            (Stage::Renumbering(write, asked), Written::Done) => {
                let (asked, guard) = (mem::take(asked), write.put.guard.clone());
                self.stage = Stage::Deciding(self.decide(&guard, asked));
            }
            (Stage::Renumbering(..), Written::Rejected(_)) => self.stage = Stage::Over,
            // Of one that is rejected the mark stays, closed: whoever meets it next takes it off.
            (Stage::Clearing(_), Written::Done | Written::Rejected(_)) => self.stage = Stage::Over,
            (_, Written::Conflict(_)) => self.stage = Stage::Reading,
            _ => {}
        }
    }

    fn decide(&self, guard: &Guard, asked: Vec<Asked>) -> Vec<Decision> {
        let judge = self.judge(guard);
        let is_in = |origin: &Origin| {
            let judged = judge.as_ref().ok().and_then(|judge| judge.judge_parked(origin).ok());
            judged.is_some_and(|judged| judged != Judgement::Apply)
        };
        let decided = asked
            .into_iter()
            .map(|Asked { order, origin }| Decision { is_discarded: !is_in(&origin), order });
        decided.collect()
    }

    /// The document as it is, with another mark.
    fn remarked(&self, stored: StoredDocument, change: fn(&mut Judge<'_>)) -> Option<DocumentWrite> {
        let mut judge = self.judge(&stored.guard).ok()?;
        change(&mut judge);
        let nothing = ShardPlaces::default();
        let guard = judge.into_guard(&nothing, &nothing)?;
        let (key, condition) = (self.document.clone(), Condition::GuardIs(stored.guard));
        Some(DocumentWrite { key, condition, put: StoredDocument { guard, document: stored.document } })
    }

    pub fn decided(&mut self) {
        if let Stage::Deciding(_) = self.stage {
            self.stage = Stage::Reading;
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
            Stage::Closing(stored, _) if is_closed || planted::is(Bug::UnparkedWithoutCondition) => {
                let write = self.remarked(stored, |judge| judge.clear_mark());
                write.map_or(Stage::Over, |write| Stage::Clearing(Box::new(write)))
            }
            _ => Stage::Reading,
        };
    }

    /// What is in the document is removed from the lot.
    fn folded(&mut self) {
        let Stage::Folding(folding) = &mut self.stage else { return };
        let Folding { lane, orders, .. } = &mut **folding;
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
        let mut lane = Lane::new(options);
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
            if !self.lane.to_read(1).is_empty() {
                self.lane.loaded(document, Some(self.stored.clone()));
            }
            self.writing = self.lane.to_write(1).pop();
            if self.writing.is_some() {
                return self.writing.clone().map(Step::Write);
            }
            let late = self.lane.take_late();
            if !late.is_empty() {
                return Some(Step::RecordLate(late));
            }
            if !self.lane.has_work() {
                return None;
            }
        }
    }

    fn written(&mut self, document: &DocumentKey) {
        if let Some(write) = self.writing.take() {
            self.stored = write.put;
        }
        self.lane.written(document, Written::Done);
    }
}
