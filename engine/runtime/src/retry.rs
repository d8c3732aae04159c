//! What each kind of error means for the line, in one place.

use std::{future::Future, time::Duration};

use foldstream_model::{Error, ErrorKind, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the line does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same again after a pause.
    Again,
    /// This projection stops in this shard; the others go on.
    StopProjection,
    /// Somebody else has taken over: drop this work and look anew.
    LookAnew,
    /// The worker stops, and says why.
    StopWorker,
}

pub fn verdict(kind: ErrorKind) -> Verdict {
    match kind {
        ErrorKind::Transient | ErrorKind::Throttled => Verdict::Again,
        ErrorKind::Poison => Verdict::StopProjection,
        ErrorKind::Fenced => Verdict::LookAnew,
        ErrorKind::Invalid | ErrorKind::Internal => Verdict::StopWorker,
    }
}

/// Pauses that double up to a longest one; jitter is not needed, since every retry is for one owner's rows.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    pub fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub async fn pause(&mut self, error: &Error, what: &str) {
        tracing::warn!(%error, pause_ms = self.0.as_millis() as u64, "{what} failed, trying again");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls until it succeeds or fails for good. Whoever cannot wait so long drops it.
pub async fn until_done<T, F, R>(what: &str, mut call: F) -> Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new();
    loop {
        match call().await {
            Err(error) if verdict(error.kind()) == Verdict::Again => backoff.pause(&error, what).await,
            ended => return ended,
        }
    }
}
