//! Where a reader stands, and whether all that came before it was read: synchronous, whatever brings the records.

use std::collections::VecDeque;

use foldstream_model::{
    Error, Position, Record, Result,
    ports::{Batch, ReadLimit},
};

use super::{
    calls::{Answer, Start},
    shards::KnownShard,
};
use crate::polled::{
    fetched,
    proof::{self, Proof},
};

/// DynamoDB tells no lag, and goes through stretches without records call by call: after so many answers without any, the
/// newest has been seen.
const EMPTY_ANSWERS: u32 = 3;

/// The records of a shard that were fetched and not handed out, and what is known about those to come.
#[derive(Debug)]
pub(super) struct Cursor {
    pub shard: KnownShard,
    /// Behind the last record that was handed out.
    position: Position,
    /// How to ask for what was not fetched.
    start: Start,
    proof: Proof,
    /// The last record that was fetched; one that comes again is none.
    last: Option<Position>,
    fetched: VecDeque<Record>,
    empty_answers: u32,
    is_end: bool,
}

impl Cursor {
    pub(super) fn new(shard: KnownShard, position: Position, start: Start, proof: Proof) -> Self {
        let fetched = VecDeque::new();
        Self { shard, position, start, proof, last: None, fetched, empty_answers: 0, is_end: false }
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    pub(super) fn next(&self) -> Option<&Record> {
        self.fetched.front()
    }

    pub(super) fn pop(&mut self) -> Option<Record> {
        self.fetched.pop_front()
    }

    /// There was nothing newer when the shard was last asked.
    pub(super) fn is_tip(&self) -> bool {
        self.is_end || self.empty_answers >= EMPTY_ANSWERS
    }

    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    /// What `from` came to: in front of what was fetched and not popped.
    pub(super) fn begins_at(&mut self, position: Position) {
        self.position = position;
    }

    /// How an iterator is to be asked for: at the last record that was fetched, which must come again.
    pub(super) fn start(&mut self) -> Start {
        if let Some(last) = &self.last {
            self.start = Start::At(last.number());
            self.proof = Proof::Meets(last.clone());
        }
        self.start.clone()
    }

    /// Takes what a call brought. `Invalid`: records were trimmed, and nothing is taken.
    pub(super) fn take(&mut self, answer: Answer) -> Result<()> {
        let is_end = answer.next.is_none();
        match answer.records.first() {
            Some(first) => self.prove(first)?,
            None if is_end || self.empty_answers + 1 >= EMPTY_ANSWERS => self.give_up_proof(is_end)?,
            None => {}
        }
        self.empty_answers = if answer.records.is_empty() { self.empty_answers.saturating_add(1) } else { 0 };
        for record in answer.records {
            if self.last.as_ref().is_some_and(|last| record.position <= *last) {
                continue;
            }
            self.last = Some(record.position.clone());
            if record.position > self.position {
                self.fetched.push_back(record);
            }
        }
        self.is_end = is_end;
        Ok(())
    }

    fn prove(&mut self, first: &Record) -> Result<()> {
        if !self.proof.admits(first) {
            return Err(self.trimmed(Some(first)));
        }
        self.proof = Proof::None;
        Ok(())
    }

    /// Nothing is kept. In a quiet shard that says nothing; of a closed one, whose last number is behind the position, it
    /// says that something was lost.
    fn give_up_proof(&mut self, is_end: bool) -> Result<()> {
        if self.proof == Proof::None {
            return Ok(());
        }
        let was_read = self.shard.last.as_ref().is_some_and(|last| self.position >= *last);
        if is_end && !was_read {
            return Err(self.trimmed(None));
        }
        if !was_read {
            tracing::warn!(
                shard = %self.shard.id,
                position = %self.position,
                "the record that reading continues behind is not kept any more, and none behind it; if this shard was not read for 24 hours, look whether events are missing",
            );
        }
        self.proof = Proof::None;
        Ok(())
    }

    /// What a reader says of records that are gone.
    pub(super) fn trimmed(&self, found: Option<&Record>) -> Error {
        let kept = proof::kept(found);
        Error::invalid(format!(
            "records may have been trimmed before they were read: shard={} after={} {kept} retention_hours=24; what lay \
             between is not in the table's stream any more, but its items are in the table. Give the projections a new \
             version, which begins with what is kept and can be filled from an archive or the table; a relay goes on when \
             it is told to begin anew, and the reader fills the gaps from the table. The time that DynamoDB keeps changes \
             cannot be made longer: relay them into a Kinesis stream, which can keep them for a year",
            self.shard.id, self.position
        ))
    }

    /// What was fetched, up to a limit; nothing if nothing was.
    pub(super) fn hand_out(&mut self, limit: ReadLimit) -> Batch {
        let is_tip = self.is_tip();
        let batch = fetched::hand_out(&mut self.fetched, limit, is_tip, self.is_end);
        if let Some(last) = batch.records.last() {
            self.position = last.position.clone();
        }
        batch
    }
}
