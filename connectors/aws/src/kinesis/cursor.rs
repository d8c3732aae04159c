//! Where a reader stands, and whether all that came before it was read: synchronous, whatever brings the records.
//!
//! Kinesis trims from the front, and goes on at the trim horizon if it is asked for what is behind a record that is gone.
//! So a reader begins *at* the record that it is to continue behind: where that is kept, all behind it is. From then on it
//! knows up to which instant it has read everything that had arrived; only if that is about as long ago as records are
//! kept must it look for its last record again.

use std::{collections::VecDeque, time::Duration};

use foldstream_model::{
    Error, HashKeyRange, Position, Record, Result, ShardId, Timestamp,
    ports::{Batch, ReadLimit},
};

use super::{
    aggregate,
    calls::{Answer, Start},
};
use crate::{
    planted::{self, Bug},
    polled::{
        fetched, numbers,
        proof::{self, Proof},
    },
};

/// Clocks differ by less: AWS refuses requests that were signed minutes ago.
const CLOCKS: Duration = Duration::from_secs(60 * 60);

/// The records of a shard that were fetched and not handed out, and what is known about those to come.
#[derive(Debug)]
pub(super) struct Cursor {
    pub shard: ShardId,
    range: HashKeyRange,
    retention: Duration,
    /// Behind the last record that was handed out.
    position: Position,
    /// How to ask for what was not fetched.
    start: Start,
    proof: Proof,
    /// Everything that arrived until then was fetched.
    fetched_until: Option<Timestamp>,
    /// The last record that was fetched; one that comes again is none.
    last: Option<Position>,
    /// Of one record, on average, when some were fetched last.
    record_bytes: Option<usize>,
    fetched: VecDeque<Record>,
    is_tip: bool,
    is_end: bool,
}

impl Cursor {
    pub(super) fn new(
        (shard, range, retention): (ShardId, HashKeyRange, Duration),
        position: Position,
        start: Start,
        proof: Proof,
    ) -> Self {
        Self {
            shard,
            range,
            retention,
            position,
            start,
            proof,
            fetched_until: None,
            last: None,
            record_bytes: None,
            fetched: VecDeque::new(),
            is_tip: false,
            is_end: false,
        }
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    pub(super) fn next(&self) -> Option<&Record> {
        self.fetched.front()
    }

    pub(super) fn pop(&mut self) -> Option<Record> {
        self.fetched.pop_front()
    }

    pub(super) fn is_tip(&self) -> bool {
        self.is_tip
    }

    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    /// What `from` came to: in front of a record that was fetched, or wherever the shard was when nothing was.
    pub(super) fn begins_at(&mut self, position: Position) {
        self.position = position;
    }

    pub(super) fn is_unproven(&self) -> bool {
        self.proof != Proof::None
    }

    /// The oldest record that is kept was looked for: what this reader continues behind must not be older.
    pub(super) fn is_not_before(&self, oldest: &Record) -> Result<()> {
        let is_kept = oldest.position <= self.position.clone().with_index(0);
        match is_kept || numbers::is_directly_before(&self.position, &oldest.position) {
            true => Ok(()),
            false => Err(self.trimmed(Some(oldest))),
        }
    }

    /// How many records to ask for, so that about as many bytes come as are wanted.
    pub(super) fn wanted(&self, limit: ReadLimit) -> usize {
        self.record_bytes.map_or(limit.records, |bytes| limit.bytes.div_ceil(bytes.max(1)))
    }

    /// The last record that was fetched must be looked for, as some behind it may have been trimmed by now.
    pub(super) fn is_in_doubt(&self, now: Timestamp) -> bool {
        let safe = self.retention.saturating_sub(CLOCKS).as_micros();
        let is_old = |until: Timestamp| u128::from(now.micros_since(until)) > safe;
        self.proof == Proof::None && self.fetched_until.is_some_and(is_old)
    }

    /// The last record that was fetched was looked for, and this was found in its place.
    pub(super) fn must_be_kept(&self, found: Option<&Record>) -> Result<()> {
        match (&self.start, found) {
            (Start::After(number), Some(found)) if found.position.number() == *number => Ok(()),
            _ => Err(self.trimmed(found)),
        }
    }

    /// Takes what a call brought that was sent at this instant. `Invalid`: records were trimmed, and nothing is taken.
    pub(super) fn take(&mut self, answer: Answer, asked_at: Timestamp) -> Result<()> {
        match answer.records.first() {
            Some(first) => self.prove(first)?,
            None if answer.is_tip => self.give_up_proof(answer.next.is_none())?,
            None => {}
        }
        self.record_bytes = answer.bytes.checked_div(answer.records.len()).or(self.record_bytes);
        for record in answer.records {
            if self.last.as_ref().is_some_and(|last| is_no_newer(&record.position, last)) {
                continue;
            }
            self.start = Start::After(record.position.number());
            self.last = Some(record.position.clone());
            self.fetched_until = self.fetched_until.max(Some(record.arrived_at));
            let is_behind = |part: &Record| {
                let is_inside = part.position.number() == self.position.number();
                part.position > self.position && !(is_inside && planted::is(Bug::SubSequenceIgnored))
            };
            self.fetched.extend(aggregate::expand(record, self.range).into_iter().filter(is_behind));
        }
        self.is_tip = answer.is_tip;
        self.is_end = answer.next.is_none();
        if self.is_tip {
            self.fetched_until = self.fetched_until.max(Some(asked_at));
        }
        Ok(())
    }

    fn prove(&mut self, first: &Record) -> Result<()> {
        if !self.proof.admits(first) {
            return Err(self.trimmed(Some(first)));
        }
        self.proof = Proof::None;
        Ok(())
    }

    /// Nothing is kept. In a quiet shard that says nothing; but an end would be taken for that of a shard that was read.
    fn give_up_proof(&mut self, is_end: bool) -> Result<()> {
        if self.proof == Proof::None {
            return Ok(());
        }
        if is_end && self.proof != Proof::Nothing {
            return Err(self.trimmed(None));
        }
        tracing::warn!(
            shard = %self.shard,
            position = %self.position,
            retention_hours = self.retention.as_secs() / 3600,
            "the record that reading continues behind is not kept any more, and none behind it; if this shard was not read for as long as the retention time, look whether events are missing",
        );
        self.proof = Proof::None;
        Ok(())
    }

    fn trimmed(&self, found: Option<&Record>) -> Error {
        let kept = proof::kept(found);
        Error::invalid(format!(
            "records may have been trimmed before they were read: shard={} after={} {kept} retention_hours={}; what lay \
             between is not in the stream any more. Give the projections a new version, which begins with what is kept \
             and can be filled from an archive or an event store, and the stream a retention time that is longer than \
             any time without a worker",
            self.shard,
            self.position,
            self.retention.as_secs() / 3600
        ))
    }

    /// A read begins. What was fetched before it says nothing of the tip now.
    pub(super) fn begin_read(&mut self) {
        self.is_tip &= self.fetched.is_empty() || self.is_end;
    }

    /// What was fetched, up to a limit; nothing if nothing was.
    pub(super) fn hand_out(&mut self, limit: ReadLimit) -> Batch {
        let batch = fetched::hand_out(&mut self.fetched, limit, self.is_tip, self.is_end);
        if let Some(last) = batch.records.last() {
            self.position = last.position.clone();
        }
        batch
    }
}

fn is_no_newer(record: &Position, last: &Position) -> bool {
    match planted::is(Bug::SequencesAsText) {
        true => record.number() <= last.number(),
        false => record <= last,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const RECORDS: u128 = 40;

    fn cursor(position: Position, proof: Proof) -> Cursor {
        let shard = (ShardId::new("shard"), HashKeyRange::ALL, Duration::from_secs(24 * 60 * 60));
        Cursor::new(shard, position, Start::TrimHorizon, proof)
    }

    /// Records from one number to before another; every third is an aggregate of two.
    fn answer(first: u128, end: u128) -> Answer {
        let records: Vec<Record> = (first..end).map(record).collect();
        let next = (end <= RECORDS).then(String::new);
        Answer { bytes: records.iter().map(fetched::size).sum(), is_tip: next.is_none(), next, records }
    }

    fn record(number: u128) -> Record {
        let parts = [("a", "1"), ("b", "2")];
        let data = if is_aggregate(number) { aggregate::tests::aggregate(&parts) } else { vec![b'x'] };
        let arrived_at = Timestamp::from_millis(i64::try_from(number).unwrap());
        Record { position: Position::new(number), partition_key: "key".into(), arrived_at, data: data.into() }
    }

    fn is_aggregate(number: u128) -> bool {
        number.is_multiple_of(3)
    }

    fn all() -> Vec<Position> {
        let indices = |number| if is_aggregate(number) { 0..2 } else { 0..1 };
        let parts = |number| indices(number).map(move |index| Position::new(number).with_index(index));
        (1..=RECORDS).flat_map(parts).collect()
    }

    proptest! {
        /// Polled or pushed, some of it again, and handed out in pieces of any size.
        #[test]
        fn every_part_is_handed_out_once_and_in_order(
            steps in vec((0u128..6, 0u128..6, 1usize..5, 1usize..200), 1..60),
            begin in 0usize..50,
        ) {
            let parts = all();
            let position = begin.checked_sub(1).map_or(Position::BEGINNING, |at| parts[at].clone());
            let from: u128 = position.number().parse().unwrap();
            let proof = if from == 0 { Proof::None } else { Proof::Meets(position.clone()) };
            let mut cursor = cursor(position, proof);
            let (mut next, mut handed_out) = (from.max(1), Vec::new());
            for (again, more, records, bytes) in steps {
                let first = next.saturating_sub(again).max(from.max(1));
                let end = (next + more).min(RECORDS + 1);
                cursor.take(answer(first, end.max(first)), Timestamp::EPOCH).unwrap();
                next = next.max(end);
                let limit = ReadLimit { records, bytes, wait: Duration::ZERO };
                let batch = cursor.hand_out(limit);
                prop_assert!(batch.records.len() <= records);
                handed_out.extend(batch.records.into_iter().map(|record| record.position));
                prop_assert!(!batch.end || handed_out.len() == parts.len() - begin);
            }
            prop_assert_eq!(&handed_out[..], &parts[begin..begin + handed_out.len()]);
        }

        #[test]
        fn only_the_record_itself_or_the_next_number_proves_that_nothing_is_missing(at in 1u128..20, found in 1u128..20) {
            let found = found.max(at);
            let position = Position::new(at);
            let mut cursor = cursor(position.clone(), Proof::Meets(position));
            let taken = cursor.take(answer(found, found + 1), Timestamp::EPOCH);
            prop_assert_eq!(taken.is_ok(), found <= at + 1);
        }
    }
}
