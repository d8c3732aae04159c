//! A redrive, as it stands between two steps. Its code can take what no worker's can.

use std::collections::BTreeSet;

use foldstream_runtime::guard::Judgement;

use super::{
    OrderedParking, Wrong,
    durable::{Condition, Durable, Event, Request, Stored, judge, origin},
};
use crate::store::SHARDS;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Redrive {
    #[default]
    AtRest,
    /// The document carried a mark.
    Read(Stored),
    /// Rows that were listed after that, and those of them that were found on record as late; how many were looked for.
    Listed(Stored, Vec<Event>, BTreeSet<Event>, usize),
    /// The rows are judged by this; whether those that are late are on record.
    Folding(Stored, Vec<Event>, bool),
    /// They are in the document, or on record.
    Removing(BTreeSet<Event>),
    /// Nothing waited when the document was read.
    Closing(Stored),
    Clearing(Stored),
}

/// What a step comes to.
pub enum Step {
    To(Redrive),
    /// Where it stands when that is done, and when it is refused.
    Ask(Request, Redrive, Redrive),
}

impl Redrive {
    /// The document as it was read.
    pub fn base(&mut self) -> Option<&mut Stored> {
        match self {
            Self::Read(base)
            | Self::Listed(base, ..)
            | Self::Folding(base, ..)
            | Self::Closing(base)
            | Self::Clearing(base) => Some(base),
            Self::AtRest | Self::Removing(_) => None,
        }
    }

    pub fn step(&self, model: &OrderedParking, durable: &Durable) -> Step {
        match self.clone() {
            Self::AtRest => {
                let marked = durable.stored.clone().filter(|stored| stored.mark().is_some());
                Step::To(marked.map_or(Self::AtRest, Self::Read))
            }
            Self::Read(base) => Step::To(listed(model, durable, base)),
            Self::Listed(mut base, rows, mut late, asked) => {
                let Some(event) = rows.get(asked) else { unreachable!("all were asked") };
                if durable.late.contains(event) && !model.is(Wrong::RecordNotAsked) {
                    late.insert(*event);
                }
                if let (true, Some(stored)) = (model.is(Wrong::RecordAskedFirst), &durable.stored) {
                    base.clone_from(stored);
                }
                Step::To(match asked + 1 == rows.len() {
                    true if !late.is_empty() => Self::Removing(late),
                    true => Self::Folding(base, rows, false),
                    false => Self::Listed(base, rows, late, asked + 1),
                })
            }
            Self::Folding(base, rows, is_recorded) => fold(model, base, rows, is_recorded),
            Self::Removing(events) => Step::Ask(Request::Remove(events), Self::AtRest, Self::AtRest),
            Self::Closing(base) => {
                let close = Request::Close(base.mark().unwrap_or_default());
                Step::Ask(close, Self::Clearing(base), Self::AtRest)
            }
            Self::Clearing(base) => {
                let cleared = model.cleared(&base, &[0; SHARDS]);
                let put = Request::Put(Condition::GuardIs(Some(base.guard)), cleared);
                Step::Ask(put, Self::AtRest, Self::AtRest)
            }
        }
    }
}

/// The first rows in the lot, without those that are on their way only.
fn listed(model: &OrderedParking, durable: &Durable, base: Stored) -> Redrive {
    if durable.lot.is_empty() {
        return Redrive::Closing(base);
    }
    let judge = judge(Some(&base));
    let is_parked = |event: &Event| {
        judge.is_parked(&origin(&model.events, *event)) || model.is(Wrong::TakenBehindTheReach)
    };
    let first = durable.lot.iter().copied().take(model.page);
    let rows: Vec<_> = first.filter(is_parked).collect();
    match rows.is_empty() {
        true => Redrive::AtRest,
        false => Redrive::Listed(base, rows, BTreeSet::new(), 0),
    }
}

/// What is late is recorded before the others are applied.
fn fold(model: &OrderedParking, base: Stored, rows: Vec<Event>, is_recorded: bool) -> Step {
    let mut judge = judge(Some(&base));
    let judged = |event: &Event| {
        let judged = judge.judge_parked(&origin(&model.events, *event)).expect("no stream is refused");
        let is_overtaken = judged == Judgement::Late && model.is(Wrong::OvertakenApplied);
        if is_overtaken { Judgement::Apply } else { judged }
    };
    let all: Vec<_> = rows.iter().map(|event| (*event, judged(event))).collect();
    let those = |of| all.iter().filter(move |(_, judged)| *judged == of).map(|(event, _)| *event);
    let late: BTreeSet<_> = those(Judgement::Late).collect();
    if !late.is_empty() && !is_recorded {
        let again = Redrive::Folding(base, rows, true);
        return Step::Ask(Request::RecordLate(late), again.clone(), again);
    }
    let applied: Vec<_> = those(Judgement::Apply).collect();
    let done = Redrive::Removing(rows.iter().copied().collect());
    if applied.is_empty() {
        return Step::To(done);
    }
    applied.iter().for_each(|event| judge.advance(&origin(&model.events, *event)));
    let put = Stored::of(Some(&base), judge, &[0; SHARDS], &applied);
    Step::Ask(Request::Put(Condition::GuardIs(Some(base.guard)), put), done, Redrive::AtRest)
}
