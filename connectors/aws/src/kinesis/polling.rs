//! A reader that polls its shard.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use foldstream_model::{
    Clock, ErrorKind, Position, Record, Result, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use tokio::time::{Instant, sleep_until};

use super::{
    calls::{Answer, Refused, Start},
    cursor::Cursor,
    stream::Stream,
};
#[cfg(feature = "planted")]
use crate::planted;
use crate::polled::pace::Pace;

/// A read that waits longer looks so often.
pub(super) const REST: Duration = Duration::from_secs(1);

/// Between two calls everything it knows is in its cursor and its iterator, which may be used again: a future that is
/// dropped has changed nothing.
pub(super) struct PollingReader {
    stream: Stream,
    clock: Arc<dyn Clock>,
    pub(super) cursor: Cursor,
    pace: Arc<Mutex<Pace>>,
    iterator: Option<String>,
}

impl PollingReader {
    pub(super) fn new(stream: Stream, clock: Arc<dyn Clock>, cursor: Cursor, pace: Arc<Mutex<Pace>>) -> Self {
        Self { stream, clock, cursor, pace, iterator: None }
    }

    /// Asks once. `Invalid`: records were trimmed before they were fetched.
    pub(super) async fn fetch(&mut self, most: usize) -> Result<(), Refused> {
        let asked_at = self.clock.now();
        let answer = match self.ask(most).await {
            Err(Refused::Expired) => {
                self.iterator = None;
                #[cfg(feature = "planted")]
                if planted::is(planted::Bug::ExpiredIteratorToLatest) {
                    self.iterator = Some(self.stream.iterator(&self.cursor.shard, &Start::Latest).await?);
                }
                self.ask(most).await
            }
            answered => answered,
        }?;
        self.verify(asked_at).await.map_err(Refused::Failed)?;
        let next = answer.next.clone();
        self.cursor.take(answer, asked_at).map_err(Refused::Failed)?;
        self.iterator = next;
        Ok(())
    }

    /// That nothing was trimmed which should be in an answer. Asked after it: if the last record is kept even now, none
    /// behind it was trimmed before.
    pub(super) async fn verify(&self, asked_at: Timestamp) -> Result<()> {
        if !self.cursor.is_in_doubt(asked_at) {
            return Ok(());
        }
        let found = self.find_last().await?;
        self.cursor.must_be_kept(found.as_ref())
    }

    /// Something was taken that came from elsewhere.
    pub(super) fn forget_iterator(&mut self) {
        self.iterator = None;
    }

    async fn ask(&mut self, most: usize) -> Result<Answer, Refused> {
        if self.iterator.is_none() {
            self.iterator = Some(self.stream.iterator(&self.cursor.shard, self.cursor.start()).await?);
        }
        let iterator = self.iterator.clone().unwrap_or_default();
        self.records(&iterator, most).await
    }

    fn pace<T>(&self, look: impl FnOnce(&mut Pace) -> T) -> T {
        look(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn records(&self, iterator: &str, most: usize) -> Result<Answer, Refused> {
        let at = self.pace(|pace| pace.reserve(Instant::now()));
        sleep_until(at).await;
        let answer = self.stream.records(&self.cursor.shard, iterator, most).await;
        match &answer {
            Ok(answer) => self.pace(|pace| pace.answered(Instant::now(), answer.bytes)),
            Err(Refused::Failed(error)) if error.kind() == ErrorKind::Throttled => {
                self.pace(|pace| pace.throttled(Instant::now()));
            }
            Err(_) => {}
        }
        answer
    }

    /// What is found where the last record that was fetched was.
    async fn find_last(&self) -> Result<Option<Record>, Refused> {
        let Start::After(number) = self.cursor.start().clone() else { return Ok(None) };
        let iterator = self.stream.iterator(&self.cursor.shard, &Start::At(number)).await?;
        Ok(self.records(&iterator, 1).await?.records.into_iter().next())
    }
}

#[async_trait]
impl ShardReader for PollingReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let begun = Instant::now();
        let deadline = begun + limit.wait;
        let rest = limit.wait.min(REST);
        self.cursor.begin_read();
        loop {
            if self.cursor.next().is_none() && !self.cursor.is_end() {
                self.fetch(self.cursor.wanted(limit)).await?;
            }
            if self.cursor.next().is_some() || self.cursor.is_end() {
                return Ok(self.cursor.hand_out(limit));
            }
            // In front of the tip there are stretches without records, which Kinesis goes through call by call.
            let next = if self.cursor.is_tip() { Instant::now() + rest } else { Instant::now() };
            sleep_until(next.min(deadline)).await;
            if next >= deadline {
                return Ok(self.cursor.hand_out(limit));
            }
        }
    }

    fn position(&self) -> Position {
        self.cursor.position().clone()
    }
}
