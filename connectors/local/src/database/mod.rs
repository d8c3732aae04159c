//! The file: one thread that writes, a few that read, and one that notices what other processes have written.

mod changes;
mod file;
mod readers;
mod values;
mod writer;

use std::path::{Path, PathBuf};

use foldstream_model::{Error, Result};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::errors::Failure;
use changes::Changes;
pub(crate) use file::{Access, NewFile};
use readers::Readers;
pub(crate) use values::{first_behind, number, sql_integer};
use writer::Writer;

pub(crate) struct Database {
    file: PathBuf,
    readers: Readers,
    changes: Changes,
    /// None when the file was opened to be read only.
    writer: Option<Writer>,
}

impl Database {
    /// Opens the file; `new` says what to write into one that has to be made.
    pub(crate) fn open(file: &Path, access: Access, new: &NewFile) -> Result<Self> {
        let first = file::open(file, access, new)?;
        let connect = || file::connect(file, Access::Read);
        let changes = Changes::start(connect()?)?;
        let writer = match access {
            Access::Read => None,
            Access::Write | Access::Create => Some(Writer::start(first, file.to_owned(), changes.teller())?),
        };
        Ok(Self { file: file.to_owned(), readers: Readers::start(file, connect)?, changes, writer })
    }

    /// Runs work on one snapshot that holds everything acknowledged before the call.
    pub(crate) async fn read<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.readers.submit(work, reply).await?;
        answer.await.unwrap_or_else(|_| Err(thread_ended()))
    }

    /// Runs work in a transaction, together with other callers' work; answers when it is synced to disk.
    ///
    /// The work may be run twice, its first effects undone: it must depend on nothing but the database. When it fails,
    /// nothing that it did remains.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.submit(work, false).await
    }

    /// The same for work that somebody may be waiting for with [`Database::changes`].
    pub(crate) async fn write_and_tell<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.submit(work, true).await
    }

    /// Changes whenever events or records may have been added, by this process or another, since the call.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The same, returning as soon as the work is queued behind all work before it.
    pub(crate) async fn queue_and_tell<T, W>(&self, work: W) -> Result<Answer<T>>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.queue(work, true).await
    }

    async fn submit<T, W>(&self, work: W, tells: bool) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.queue(work, tells).await?.wait().await
    }

    async fn queue<T, W>(&self, work: W, tells: bool) -> Result<Answer<T>>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let Some(writer) = &self.writer else {
            return Err(Error::invalid(format!("opened to be read only: file={}", self.file.display())));
        };
        let (reply, answer) = oneshot::channel();
        writer.submit(work, tells, reply).await?;
        Ok(Answer(answer))
    }
}

/// What comes of work that was queued.
pub(crate) struct Answer<T>(oneshot::Receiver<Result<T>>);

impl<T> Answer<T> {
    pub(crate) async fn wait(self) -> Result<T> {
        self.0.await.unwrap_or_else(|_| Err(thread_ended()))
    }
}

fn thread_ended() -> Error {
    Error::internal("a thread of the embedded database has ended")
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
        Error::transient(format!("a thread cannot be started: name={name} reason={error}")).with_source(error)
    })
}
