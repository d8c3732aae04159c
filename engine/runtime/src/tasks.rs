//! Every task has an owner, a name, and says how it ended.

use std::future::Future;

use foldstream_model::{Error, Result};
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument;

/// Tasks that end with their owner: dropping it aborts them.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<(String, Result<()>)>,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task under a name that its errors and log lines carry.
    pub fn start(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let name = name.into();
        let span = tracing::debug_span!("task", name = %name);
        self.set.spawn(async move { (name, task.await) }.instrument(span));
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits for the next task to end. None when there is none left.
    pub async fn next(&mut self) -> Option<(String, Result<()>)> {
        match self.set.join_next().await? {
            Ok(ended) => Some(ended),
            Err(error) if error.is_panic() => Some((
                "task".to_owned(),
                Err(Error::internal(format!("a task of the line panicked: {error}"))),
            )),
            Err(_) => Some(("task".to_owned(), Ok(()))),
        }
    }

    /// Waits for all; the first error is returned, the others are logged.
    pub async fn finish(&mut self) -> Result<()> {
        let mut first = Ok(());
        while let Some((name, ended)) = self.next().await {
            match ended {
                Err(error) if first.is_ok() => first = Err(error.context(name)),
                Err(error) => tracing::error!(task = %name, %error, "a task failed after another"),
                Ok(()) => {}
            }
        }
        first
    }
}

/// One task with a result, aborted when its owner drops it.
pub struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    #[expect(clippy::disallowed_methods, reason = "this is where tasks get their owner")]
    pub fn start(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    pub async fn join(&mut self) -> Result<T> {
        match (&mut self.0).await {
            Ok(value) => Ok(value),
            Err(error) => Err(Error::internal(format!("a task of the line panicked: {error}"))),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
