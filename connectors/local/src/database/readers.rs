//! The threads that read, each with a connection of its own.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use foldstream_model::Result;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{spawn, thread_ended};
use crate::errors::Failure;

/// Reads are short and mostly answered from memory; more threads would only share the same cores.
const THREADS: usize = 4;
/// Reads that wait for a thread; beyond it callers wait.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Readers {
    file: Arc<Path>,
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(file: &Path, connect: impl Fn() -> Result<Connection>) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::with_capacity(THREADS);
        for _ in 0..THREADS {
            let (connection, jobs) = (connect()?, Arc::clone(&jobs));
            threads.push(spawn("local-reader", move || serve(&connection, &jobs))?);
        }
        Ok(Self { file: file.into(), queue: Some(queue), threads })
    }

    pub(super) async fn submit<T, W>(&self, work: W, reply: oneshot::Sender<Result<T>>) -> Result<()>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        let job: Job = Box::new(move |connection| {
            let outcome = on_snapshot(connection, work).map_err(|failure| failure.into_error(&file));
            // Nobody waits for the answer when the caller has given up.
            let _ = reply.send(outcome);
        });
        let queue = self.queue.as_ref().ok_or_else(thread_ended)?;
        queue.send(job).await.map_err(|_| thread_ended())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.queue.take());
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve(connection: &Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match next {
            Some(job) => job(connection),
            None => return,
        }
    }
}

/// A transaction that only reads sees one state of the database; it is ended by being dropped.
fn on_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let snapshot = connection.unchecked_transaction()?;
    work(&snapshot)
}
