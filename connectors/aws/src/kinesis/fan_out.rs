//! A reader that is pushed to.
//!
//! It polls until its subscription stands, and whenever it has none: because another reader has taken it over, because it
//! was reset, or fell silent. What comes twice by that is taken once.
//!
//! Where nothing arrives, only the next event, some seconds later, says that this is so: a read waits for it, so that it
//! always tells whether the shard is at its tip.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use foldstream_model::{
    Clock, Error, ErrorKind, Position, Result, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    calls::Start,
    consumer::{Consumer, ShardPlace},
    polling::{PollingReader, REST},
    subscription::{Pushed, Subscription, subscribe},
};
#[cfg(feature = "planted")]
use crate::planted;

/// A subscription can be taken over five seconds after it began.
const FIRST_PAUSE: Duration = Duration::from_secs(6);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct FanOutReader {
    polling: PollingReader,
    clock: Arc<dyn Clock>,
    consumer: Arc<Consumer>,
    place: Option<ShardPlace>,
    link: Link,
    attempts: Attempts,
    /// Where the subscription continues, unless something was polled since.
    continuation: Option<String>,
    /// What was pushed and not looked at, and when it came.
    pushed: Option<(Pushed, Timestamp)>,
}

enum Link {
    Down,
    /// Kept between two reads, as one that is given up may stand on the other side.
    Connecting(BoxFuture<'static, Result<Subscription>>),
    Up(Box<Subscription>),
}

/// When the next subscription may be tried.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    not_before: Instant,
    pause: Duration,
}

impl Attempts {
    fn new(now: Instant) -> Self {
        Self { not_before: now, pause: FIRST_PAUSE }
    }

    fn failed(&mut self, now: Instant) {
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// One that ends at once is not renewed at once.
    fn ended(&mut self, begun_at: Instant) {
        self.not_before = begun_at + FIRST_PAUSE;
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.not_before
    }
}

impl FanOutReader {
    pub(super) fn new(polling: PollingReader, clock: Arc<dyn Clock>, consumer: Arc<Consumer>) -> Self {
        Self {
            polling,
            clock,
            consumer,
            place: None,
            link: Link::Down,
            attempts: Attempts::new(Instant::now()),
            continuation: None,
            pushed: None,
        }
    }

    /// Begins to subscribe if it is time to, and goes on with it. `Invalid`: this will never be allowed.
    fn connect(&mut self) -> Result<()> {
        if let Link::Connecting(connecting) = &mut self.link {
            let connected = connecting.now_or_never();
            return connected.map_or(Ok(()), |connected| self.connected(connected));
        }
        if matches!(self.link, Link::Up(_)) || !self.attempts.is_due(Instant::now()) {
            return Ok(());
        }
        let shard = &self.polling.cursor.shard;
        if self.place.is_none() {
            self.place = self.consumer.place(shard);
        }
        match self.place {
            None => self.attempts.failed(Instant::now()),
            Some(_) => {
                let start = self.continuation.clone().map(Start::After);
                let start = start.unwrap_or_else(|| self.polling.cursor.start().clone());
                #[cfg(feature = "planted")]
                let start =
                    match self.continuation.is_some() && planted::is(planted::Bug::ContinuationIgnored) {
                        true => Start::Latest,
                        false => start,
                    };
                self.link = Link::Connecting(subscribe(self.consumer.clone(), shard.clone(), start).boxed());
            }
        }
        Ok(())
    }

    fn connected(&mut self, connected: Result<Subscription>) -> Result<()> {
        match connected {
            Ok(subscription) => {
                self.link = Link::Up(Box::new(subscription));
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled) => {
                self.lost(&error);
                Ok(())
            }
            Err(error) => {
                self.link = Link::Down;
                Err(error)
            }
        }
    }

    fn lost(&mut self, error: &Error) {
        self.link = Link::Down;
        self.attempts.failed(Instant::now());
        let retry_s = self.attempts.not_before.duration_since(Instant::now()).as_secs();
        tracing::info!(shard = %self.polling.cursor.shard, %error, retry_s, "nothing is pushed: the shard is polled");
    }

    /// Takes the next event; whether one came after it was asked for. What had come before says nothing of the tip now.
    async fn receive(&mut self) -> Result<bool> {
        let Link::Up(subscription) = &mut self.link else { return Ok(false) };
        let there = subscription.next().now_or_never();
        let is_new = there.is_none();
        let received = match there {
            Some(received) => received,
            None => subscription.next().await,
        };
        match received {
            Ok(Some(event)) => {
                let mut pushed = self.consumer.stream.pushed(event)?;
                pushed.answer.is_tip &= is_new || pushed.answer.next.is_none();
                self.attempts = Attempts::new(Instant::now());
                self.pushed = Some((pushed, self.clock.now()));
                self.admit().await?;
                return Ok(is_new);
            }
            // Its five minutes are over.
            Ok(None) => {
                self.attempts.ended(subscription.begun_at);
                self.link = Link::Down;
            }
            Err(error) => self.lost(&error),
        }
        Ok(false)
    }

    /// What was pushed stays until it is certain that nothing before it was trimmed.
    async fn admit(&mut self) -> Result<()> {
        let Some((_, came_at)) = self.pushed else { return Ok(()) };
        self.polling.verify(came_at).await?;
        if let Some((pushed, came_at)) = self.pushed.take() {
            self.polling.cursor.take(pushed.answer, came_at)?;
            self.polling.forget_iterator();
            self.continuation = Some(pushed.continuation).filter(|number| !number.is_empty());
        }
        Ok(())
    }

    /// Asks once, then waits for the subscription.
    async fn poll(&mut self, limit: ReadLimit, deadline: Instant) -> Result<()> {
        self.polling.fetch(self.polling.cursor.wanted(limit)).await?;
        self.continuation = None;
        if self.has_something() {
            return Ok(());
        }
        let rest = if self.polling.cursor.is_tip() { limit.wait.min(REST) } else { Duration::ZERO };
        let until = deadline.min(Instant::now() + rest);
        match &mut self.link {
            Link::Connecting(connecting) => match timeout_at(until, connecting).await {
                Ok(connected) => self.connected(connected),
                Err(_) => Ok(()),
            },
            Link::Down | Link::Up(_) => {
                sleep_until(until).await;
                Ok(())
            }
        }
    }

    fn has_something(&self) -> bool {
        self.polling.cursor.next().is_some() || self.polling.cursor.is_end()
    }
}

#[async_trait]
impl ShardReader for FanOutReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let deadline = Instant::now() + limit.wait;
        self.polling.cursor.begin_read();
        if let Some((left, _)) = &mut self.pushed {
            left.answer.is_tip &= left.answer.next.is_none();
        }
        self.admit().await?;
        let mut is_answered = false;
        while !self.has_something() {
            if is_answered && Instant::now() >= deadline {
                break;
            }
            self.connect()?;
            if matches!(self.link, Link::Up(_)) {
                is_answered |= self.receive().await?;
            } else {
                self.poll(limit, deadline).await?;
                is_answered = true;
            }
        }
        Ok(self.polling.cursor.hand_out(limit))
    }

    fn position(&self) -> Position {
        self.polling.position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_less_and_less_often() {
        let now = Instant::now();
        let mut attempts = Attempts::new(now);
        assert!(attempts.is_due(now));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            attempts.failed(now);
            pauses.push(attempts.not_before.duration_since(now).as_secs());
        }
        assert_eq!(pauses, [6, 12, 24, 48, 60, 60]);
    }
}
