use std::sync::Arc;

use foldstream_local::{LocalEventStore, LocalStore, QueuedAppend};
use foldstream_model::{
    Error, Result, StreamId,
    ports::{Appended, EventStore},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::demo::{events::Events, git::Walk, resume::Taken};

/// Commits on their way into the store: enough of them share one sync to disk.
const COMMITS_ON_THEIR_WAY: usize = 256;
/// Events on their way into the store. A commit that has more goes alone.
const EVENTS_ON_THEIR_WAY: u32 = 20_000;

/// What was taken so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub commits: u64,
    pub events: u64,
}

/// Takes commits into the event store in their order, each in one atomic append.
///
/// A commit's events are held until they are stored: a commit of 100,000 files is, once, some 100 MB. All else is read
/// and passed on as it comes.
pub struct Taking {
    pub store: Arc<LocalEventStore>,
    pub walk: Walk,
    pub taken: Option<Taken>,
    /// Ends it between two commits.
    pub stop: CancellationToken,
}

/// A commit on its way into the store, and its part of what may be on its way.
struct OnItsWay {
    events: u64,
    append: QueuedAppend,
    _room: OwnedSemaphorePermit,
}

impl Taking {
    pub fn new(store: &LocalStore, walk: Walk, taken: Option<Taken>, stop: CancellationToken) -> Self {
        Self { store: store.events(), walk, taken, stop }
    }

    /// Returns when all is stored that there is, or that was read when it was told to stop.
    pub async fn run(self, progress: &watch::Sender<Tally>) -> Result<Tally> {
        let (commits, mut on_their_way) = mpsc::channel(COMMITS_ON_THEIR_WAY);
        let runtime = Handle::current();
        let reading = tokio::task::spawn_blocking(move || self.read(&runtime, &commits));
        let mut tally = Tally::default();
        while let Some(OnItsWay { events, append, _room }) = on_their_way.recv().await {
            stored(append.appended().await?)?;
            tally.commits += 1;
            tally.events += events;
            progress.send_replace(tally.clone());
        }
        match reading.await {
            Ok(read) => read.map(|()| tally),
            Err(error) => Err(Error::internal(format!("reading the history panicked: {error}"))),
        }
    }

    /// Reads commits, and queues each for the store. Ends early when it is told to, or when nobody waits for the store's
    /// answers any more.
    fn read(self, runtime: &Handle, commits: &mpsc::Sender<OnItsWay>) -> Result<()> {
        let Self { store, walk, taken, stop } = self;
        let last_sequences = |streams: &[StreamId]| runtime.block_on(store.last_sequences(streams));
        let mut events = Events::new(walk, taken.as_ref(), last_sequences);
        let room = Arc::new(Semaphore::new(EVENTS_ON_THEIR_WAY as usize));
        while let Some(commit) = events.next_commit()? {
            let mut appends = Vec::new();
            for append in commit {
                if stop.is_cancelled() {
                    return Ok(());
                }
                appends.push(append?);
            }
            let events = appends.iter().map(|append| append.events.len() as u64).sum();
            let wanted = u32::try_from(events).unwrap_or(u32::MAX).min(EVENTS_ON_THEIR_WAY);
            let room = runtime.block_on(Arc::clone(&room).acquire_many_owned(wanted));
            let room = room.map_err(|closed| Error::internal(closed.to_string()))?;
            let append = runtime.block_on(store.queue(appends))?;
            if commits.blocking_send(OnItsWay { events, append, _room: room }).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn stored(appended: Appended) -> Result<()> {
    match appended {
        Appended::Done(_) => Ok(()),
        Appended::Conflict { stream, last } => Err(Error::invalid(format!(
            "another process wrote to the event store meanwhile: stream={stream} last={}; use another folder with \
             --data",
            last.map_or_else(|| "none".to_owned(), |last| last.to_string())
        ))),
    }
}
