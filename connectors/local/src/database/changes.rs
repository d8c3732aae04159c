//! Tells those who wait at the end of the events or of a log that there may be more.

use std::{
    convert::Infallible,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use foldstream_model::Result;
use rusqlite::Connection;
use tokio::sync::watch;

use super::spawn;

/// How long what another process has written can go unnoticed. SQLite answers from shared memory in microseconds.
const POLL: Duration = Duration::from_millis(25);

pub(super) struct Changes {
    told: Arc<watch::Sender<()>>,
    stop: Option<mpsc::SyncSender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Changes {
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let told = Arc::new(watch::Sender::new(()));
        let (stop, stopped) = mpsc::sync_channel(0);
        let teller = Arc::clone(&told);
        let thread = spawn("local-changes", move || poll(&connection, &teller, &stopped))?;
        Ok(Self { told, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// For the writer: what this process writes is told at once.
    pub(super) fn teller(&self) -> Arc<watch::Sender<()>> {
        Arc::clone(&self.told)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// Until the other end of `stopped` is gone.
fn poll(connection: &Connection, told: &watch::Sender<()>, stopped: &mpsc::Receiver<Infallible>) {
    let mut seen = None;
    while stopped.recv_timeout(POLL) == Err(mpsc::RecvTimeoutError::Timeout) {
        if told.receiver_count() == 0 {
            continue;
        }
        match connection.query_row("PRAGMA data_version", (), |row| row.get::<_, i64>(0)) {
            Ok(version) if seen == Some(version) => {}
            Ok(version) => {
                seen = Some(version);
                told.send_modify(|()| ());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot ask the embedded database for changes; asking again")
            }
        }
    }
}
