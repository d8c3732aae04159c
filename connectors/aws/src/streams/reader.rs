//! A reader of a shard.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use foldstream_model::{
    ErrorKind, Position, Record, Result,
    ports::{Batch, ReadLimit, ShardReader},
};
use tokio::time::{Instant, sleep_until};

use super::{
    calls::{Answer, Refused},
    cursor::Cursor,
    shards::Listing,
    stream::TableStream,
};
use crate::polled::pace::Pace;

/// A read that waits longer looks so often.
const REST: Duration = Duration::from_secs(1);

/// Between two calls everything it knows is in its cursor and its iterator, which may be used again: a future that is
/// dropped has changed nothing.
pub(super) struct StreamsReader {
    pub stream: TableStream,
    pub arn: String,
    pub listing: Arc<Listing>,
    pub cursor: Cursor,
    pub pace: Arc<Mutex<Pace>>,
    pub iterator: Option<String>,
}

impl StreamsReader {
    /// Asks once. `Invalid`: records were trimmed before they were fetched.
    pub(super) async fn fetch(&mut self, most: usize) -> Result<(), Refused> {
        let answer = match self.ask(most).await {
            Err(Refused::Expired) => {
                self.iterator = None;
                self.ask(most).await
            }
            answered => answered,
        }?;
        let next = answer.next.clone();
        self.cursor.take(answer).map_err(Refused::Failed)?;
        self.iterator = next;
        Ok(())
    }

    /// The next record, which stays where it is; none up to the tip.
    pub(super) async fn peek(&mut self) -> Result<Option<&Record>, Refused> {
        while self.cursor.next().is_none() && !self.cursor.is_tip() {
            self.fetch(super::calls::MOST_RECORDS).await?;
        }
        Ok(self.cursor.next())
    }

    async fn ask(&mut self, most: usize) -> Result<Answer, Refused> {
        let shard = self.cursor.shard.id.clone();
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => {
                let start = self.cursor.start();
                let iterator = self.stream.iterator(&self.arn, shard.as_str(), &start).await?;
                self.iterator.insert(iterator).clone()
            }
        };
        let at = self.pace(|pace| pace.reserve(Instant::now()));
        sleep_until(at).await;
        let answer = self.stream.records(&self.listing, (shard.as_str(), &iterator), most).await;
        match &answer {
            Ok(answer) => self.pace(|pace| pace.answered(Instant::now(), answer.bytes)),
            Err(Refused::Failed(error)) if error.kind() == ErrorKind::Throttled => {
                self.pace(|pace| pace.throttled(Instant::now()));
            }
            Err(_) => {}
        }
        answer
    }

    fn pace<T>(&self, look: impl FnOnce(&mut Pace) -> T) -> T {
        look(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch_more(&mut self, most: usize) -> Result<()> {
        match self.fetch(most).await {
            Err(Refused::Trimmed) => Err(self.cursor.trimmed(None)),
            fetched => Ok(fetched?),
        }
    }
}

#[async_trait]
impl ShardReader for StreamsReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let deadline = Instant::now() + limit.wait;
        let rest = limit.wait.min(REST);
        loop {
            if self.cursor.next().is_none() && !self.cursor.is_end() {
                self.fetch_more(limit.records).await?;
            }
            if self.cursor.next().is_some() || self.cursor.is_end() {
                return Ok(self.cursor.hand_out(limit));
            }
            // Only after some answers without a record is it known that there is none.
            if !self.cursor.is_tip() {
                continue;
            }
            let next = Instant::now() + rest;
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
