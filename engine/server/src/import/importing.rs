use std::{
    collections::{BTreeSet, HashMap},
    io::BufRead,
};

use foldstream_declarative::decoder::Parts;
use foldstream_model::{
    Clock, Error,
    ports::{Appended, EventStore},
};
use foldstream_runtime::retry::{self, Backoff, Verdict};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Line, Lines, Mapping,
    judge::{Judge, KnownIds, Verdict as Judgement},
};
use crate::exit::{Failure, Outcome};

/// Lines and bytes of one append. More are faster, and are judged again together when another writer was faster.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    pub lines: usize,
    pub bytes: usize,
}

/// Into the embedded event store.
pub const EMBEDDED: Batch = Batch { lines: 1_000, bytes: 8 << 20 };
/// Into an event table: a transaction of DynamoDB has 100 items and 4 MB at most, of items that may be larger than their lines.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const IN_A_TABLE: Batch = Batch { lines: 100, bytes: 1 << 20 };

/// How many refusals are kept to be listed.
const MAX_REFUSALS: usize = 1_000;
/// How often a batch is judged again before the other writer is left alone.
const MAX_ATTEMPTS: usize = 10;

/// What came of a file so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub taken: u64,
    pub skipped: u64,
    /// Lines that the source's `include` leaves out.
    pub left_out: u64,
    pub refused: u64,
    /// Lines and why, the first thousand of them.
    pub refusals: Vec<(u64, String)>,
    /// Some lines had no recorded-at: the time of the import stands for it.
    pub without_recorded_at: u64,
}

impl Tally {
    pub fn lines(&self) -> u64 {
        self.taken + self.skipped + self.left_out + self.refused
    }

    fn refuse(&mut self, line: u64, reason: String) {
        self.refused += 1;
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push((line, reason));
        }
    }
}

/// Told after every batch.
pub type Progress<'a> = dyn FnMut(&Tally, u64) + 'a;

/// An import of one file.
pub struct Import<'a> {
    store: &'a dyn EventStore,
    clock: &'a dyn Clock,
    mapping: &'a Mapping,
    /// Stop at the first line that is refused.
    strict: bool,
    size: Batch,
    tag: String,
    ids: KnownIds,
    tally: Tally,
}

struct Candidate {
    line: u64,
    text_hash: u64,
    event: Result<Option<Parts>, String>,
}

impl<'a> Import<'a> {
    pub fn new(
        store: &'a dyn EventStore,
        clock: &'a dyn Clock,
        mapping: &'a Mapping,
        strict: bool,
        size: Batch,
    ) -> Self {
        let (tag, ids) = (String::new(), HashMap::new());
        Self { store, clock, mapping, strict, size, tag, ids, tally: Tally::default() }
    }

    /// Takes all lines. What was appended before an error stays; the same file can be imported again.
    ///
    /// A line without sequence and id is known again by the file's first line, its own number and its text.
    pub async fn run(mut self, reader: impl BufRead, progress: &mut Progress<'_>) -> Outcome<Tally> {
        let mut lines = Lines::new(reader);
        loop {
            let batch = self.next_batch(&mut lines)?;
            if batch.is_empty() {
                return Ok(self.tally);
            }
            let go_on = self.store(&batch).await?;
            progress(&self.tally, lines.bytes());
            if !go_on {
                return Ok(self.tally);
            }
        }
    }

    fn next_batch(&mut self, lines: &mut Lines<impl BufRead>) -> Outcome<Vec<Candidate>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < self.size.lines && bytes < self.size.bytes {
            let line =
                lines.next_line().map_err(|error| Failure::failed(format!("cannot read on: {error}")))?;
            let Some(line) = line else { break };
            if self.tag.is_empty() {
                self.look_at_the_first(&line)?;
            }
            bytes += line.text.as_ref().map_or(0, |text| text.len());
            batch.push(self.candidate(&line));
        }
        Ok(batch)
    }

    fn look_at_the_first(&mut self, line: &Line) -> Outcome<()> {
        let text = line.text.as_deref().unwrap_or_default();
        if text.starts_with(b"[") {
            return Err(Failure::invalid(
                "this is a JSON array; one object a line is expected, as `jq -c '.[]' FILE` makes of it",
            ));
        }
        self.tag = format!("import-{:016x}", xxh3_64(text));
        Ok(())
    }

    fn candidate(&self, line: &Line) -> Candidate {
        let event = match &line.text {
            Some(text) => self.mapping.read(text),
            None => Err("longer than 16 MiB".to_owned()),
        };
        let text_hash = line.text.as_deref().map_or(0, xxh3_64);
        Candidate { line: line.number, text_hash, event }
    }

    /// Stores what is new of a batch in one append; says whether to go on. A store that is busy, or of which it is unknown whether it was
    /// done, is asked again: what is stored by then is skipped.
    async fn store(&mut self, batch: &[Candidate]) -> Outcome<bool> {
        let events = batch.iter().filter_map(|candidate| candidate.event.as_ref().ok()?.as_ref());
        let streams: BTreeSet<_> = events.map(|event| event.stream_id.clone()).collect();
        let (mut attempts, mut backoff) = (0, Backoff::new());
        while attempts < MAX_ATTEMPTS {
            let now = self.clock.now();
            let streams = streams.iter().cloned().collect();
            let mut judge =
                Judge::new(self.store, self.mapping.first(), &self.tag, &mut self.ids, streams).await?;
            let mut verdicts = Vec::with_capacity(batch.len());
            for candidate in batch {
                let verdict = match &candidate.event {
                    Ok(Some(event)) => judge.judge(candidate.line, candidate.text_hash, event, now).await?,
                    Ok(None) => Judgement::LeaveOut,
                    Err(reason) => Judgement::Refuse(reason.clone()),
                };
                let stop = self.strict && matches!(verdict, Judgement::Refuse(_));
                verdicts.push((candidate, verdict));
                if stop {
                    break;
                }
            }
            let appends = judge.into_appends();
            if appends.is_empty() {
                return Ok(self.count(verdicts));
            }
            match self.store.append(appends).await {
                Ok(Appended::Done(_)) => return Ok(self.count(verdicts)),
                Ok(Appended::Conflict { .. }) => attempts += 1,
                Err(error) if retry::verdict(error.kind()) == Verdict::Again => {
                    backoff.pause(&error, "appending").await;
                }
                Err(error) => return Err(self.refused(batch, error)),
            }
            // Another writer was faster; what was known of the streams is known no more.
            self.ids.clear();
        }
        Err(Failure::failed("others write to the same streams all the time; import again when they are done"))
    }

    /// The store cannot hold what is in these lines.
    fn refused(&self, batch: &[Candidate], error: Error) -> Failure {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return error.into() };
        let stands = format!("of lines {} to {}, and nothing behind them, was taken", first.line, last.line);
        Failure::from(error.context(format!("nothing {stands}")))
    }

    fn count(&mut self, verdicts: Vec<(&Candidate, Judgement)>) -> bool {
        for (candidate, verdict) in verdicts {
            match verdict {
                Judgement::Take => {
                    self.tally.taken += 1;
                    let event = candidate.event.as_ref().ok().and_then(Option::as_ref);
                    let recorded = event.is_some_and(|event| event.recorded_at.is_some());
                    self.tally.without_recorded_at += u64::from(!recorded);
                }
                Judgement::Skip => self.tally.skipped += 1,
                Judgement::LeaveOut => self.tally.left_out += 1,
                Judgement::Refuse(reason) => self.tally.refuse(candidate.line, reason),
            }
        }
        !(self.strict && self.tally.refused > 0)
    }
}
