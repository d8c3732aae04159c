//! Stores that crash the worker: at one of their calls they never answer, before or after having done it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use foldstream_model::{Error, Result, ports::Table};
use foldstream_runtime::assembly::ProjectionSpec;
use tokio::sync::{Notify, watch};

use crate::around::{Around, Aspect, Call};

/// Counts calls that change something, over all stores that share it, and crashes at one of them.
pub struct Crash {
    left: AtomicUsize,
    after: bool,
    /// Instead of crashing, calls fail now and then, before they are done or after.
    flaky: bool,
    crashed: AtomicBool,
    happened: Notify,
}

impl Crash {
    /// Crashes at the call after `calls` others, before doing it or after.
    pub fn new(calls: usize, after: bool) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(calls),
            after,
            flaky: false,
            crashed: AtomicBool::new(false),
            happened: Notify::new(),
        })
    }

    /// Never crashes: every fifth call is lost, and of every seventh the answer.
    pub fn flaky() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(0),
            after: false,
            flaky: true,
            crashed: AtomicBool::new(false),
            happened: Notify::new(),
        })
    }

    /// Returns when the crash has come.
    pub async fn happened(&self) {
        self.happened.notified().await;
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if self.flaky {
            let number = self.left.fetch_add(1, Ordering::SeqCst);
            if number % 5 == 1 {
                return Err(Error::transient("the request was lost"));
            }
            let answer = call.await?;
            return if number % 7 == 3 { Err(Error::transient("the answer was lost")) } else { Ok(answer) };
        }
        if self.crashed.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let crashes =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if !crashes || self.crashed.swap(true, Ordering::SeqCst) {
            return call.await;
        }
        if self.after {
            call.await?;
        }
        self.happened.notify_one();
        std::future::pending().await
    }
}

impl Aspect for Arc<Crash> {
    async fn around<T: Send>(&self, call: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match call {
            Call::Other | Call::Change(Table::Reports) => answer.await,
            Call::Write(_) | Call::Change(_) => self.call(answer).await,
        }
    }
}

/// Lets documents be written only when it is open; one that is gone stays open.
struct Gate(watch::Receiver<bool>);

impl Aspect for Gate {
    async fn around<T: Send>(&self, call: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if let Call::Write(_) = call {
            let _ = self.0.clone().wait_for(|open| *open).await;
        }
        answer.await
    }
}

/// The projection with documents whose writes wait until true is sent.
pub fn gated(mut spec: ProjectionSpec) -> (watch::Sender<bool>, ProjectionSpec) {
    let (sender, gate) = watch::channel(false);
    spec.documents = Arc::new(Around { inner: spec.documents, aspect: Gate(gate) });
    (sender, spec)
}
