//! The thread that writes: it takes what is queued, commits it together with one sync to disk, then answers everybody.

use std::{path::PathBuf, sync::Arc, thread::JoinHandle};

use foldstream_model::{Error, Result};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{spawn, thread_ended};
use crate::errors::Failure;

/// Requests that wait for the next commit; beyond it callers wait. Each is bounded by the caller: a flush, a batch.
const QUEUE: usize = 256;

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, file: PathBuf, told: Arc<watch::Sender<()>>) -> Result<Self> {
        let (queue, mut jobs) = mpsc::channel(QUEUE);
        let thread = spawn("local-writer", move || {
            let mut committer = Committer { connection, file, told };
            let mut batch = Vec::with_capacity(QUEUE);
            while jobs.blocking_recv_many(&mut batch, QUEUE) > 0 {
                committer.commit_together(&mut batch);
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn submit<T, W>(
        &self,
        work: W,
        tells: bool,
        reply: oneshot::Sender<Result<T>>,
    ) -> Result<()>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let queue = self.queue.as_ref().ok_or_else(thread_ended)?;
        let job = Asked { work, tells, outcome: None, reply };
        queue.send(Box::new(job)).await.map_err(|_| thread_ended())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// A piece of work whose caller waits.
trait Job: Send {
    fn run(&mut self, transaction: &Connection) -> Result<(), Failure>;
    fn tells(&self) -> bool;
    /// Hands the outcome to the caller.
    fn succeed(self: Box<Self>);
    fn fail(self: Box<Self>, error: Error);
}

struct Asked<T, W> {
    work: W,
    tells: bool,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, W> Job for Asked<T, W>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, Failure> + Send,
{
    fn run(&mut self, transaction: &Connection) -> Result<(), Failure> {
        self.outcome = Some((self.work)(transaction)?);
        Ok(())
    }

    fn tells(&self) -> bool {
        self.tells
    }

    // Nobody waits for the answer when the caller has given up: the send may fail.
    fn succeed(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            let _ = self.reply.send(Ok(outcome));
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

/// Why nothing of a batch was committed.
enum Undone {
    /// A job failed: the others must not suffer for it.
    ByJob(Failure),
    /// The transaction could not begin or end.
    ByCommit(Failure),
}

struct Committer {
    connection: Connection,
    file: PathBuf,
    told: Arc<watch::Sender<()>>,
}

impl Committer {
    /// Takes all jobs out of the batch and answers each.
    fn commit_together(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        match commit(&mut self.connection, batch) {
            Ok(()) => {
                if batch.iter().any(|job| job.tells()) {
                    self.told.send_modify(|()| ());
                }
                batch.drain(..).for_each(Job::succeed);
            }
            Err(Undone::ByJob(_)) if batch.len() > 1 => {
                for job in batch.drain(..) {
                    self.commit_together(&mut vec![job]);
                }
            }
            Err(Undone::ByJob(failure) | Undone::ByCommit(failure)) => {
                let error = failure.into_error(&self.file);
                batch.drain(..).for_each(|job| job.fail(error.clone()));
            }
        }
    }
}

fn commit(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Undone> {
    let by_commit = |error: rusqlite::Error| Undone::ByCommit(error.into());
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(by_commit)?;
    for job in batch {
        job.run(&transaction).map_err(Undone::ByJob)?;
    }
    transaction.commit().map_err(by_commit)
}
