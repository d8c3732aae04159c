use std::{collections::VecDeque, sync::Arc};

use foldstream_local::{LocalEventStore, LocalStore};
use foldstream_model::{
    Error, Result, Sequence, StreamId,
    ports::{Append, Appended, EventStore},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::demo::{events::Events, git::Walk, resume::Taken};

/// Commits that are read ahead of the store.
const AHEAD: usize = 64;
/// Events on their way into the store, unless one commit has more: the store syncs what is on its way together.
const EVENTS_ON_THEIR_WAY: usize = 20_000;

/// What was taken so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub commits: u64,
    pub events: u64,
}

/// Takes commits into the event store, each in one append, in their order.
pub struct Taking<'a> {
    pub store: &'a LocalStore,
    pub walk: Walk,
    pub taken: Option<&'a Taken>,
    /// Ends it between two commits.
    pub stop: &'a CancellationToken,
}

/// The appends of a commit on their way, and how many events they are.
struct OnTheWay {
    events: usize,
    appended: BoxFuture<'static, Result<Appended>>,
}

impl Taking<'_> {
    pub async fn run(self, progress: &mut (dyn FnMut(Tally) + Send)) -> Result<Tally> {
        let store = self.store.events();
        let (commits, mut ahead) = mpsc::channel(AHEAD);
        let (reader, asked, taken) = (Handle::current(), store.clone(), self.taken.cloned());
        let walk = self.walk;
        let reading =
            tokio::task::spawn_blocking(move || read(walk, taken.as_ref(), &asked, &reader, &commits));
        let (mut tally, mut on_the_way, mut events) = (Tally::default(), VecDeque::<OnTheWay>::new(), 0);
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                next = ahead.recv() => next,
            };
            let Some(appends) = next else { break };
            let next = send(&store, appends);
            events += next.events;
            on_the_way.push_back(next);
            while events > EVENTS_ON_THEIR_WAY || on_the_way.len() > AHEAD {
                let Some(oldest) = on_the_way.pop_front() else { break };
                events -= oldest.events;
                arrive(oldest, &mut tally).await?;
                progress(tally.clone());
            }
        }
        for oldest in on_the_way {
            arrive(oldest, &mut tally).await?;
        }
        progress(tally.clone());
        let is_stopped = self.stop.is_cancelled();
        drop(ahead);
        match reading.await {
            // The reader fails when nobody takes what it reads any more.
            Ok(_) if is_stopped => Ok(tally),
            Ok(read) => read.map(|()| tally),
            Err(error) => Err(Error::internal(format!("reading the history panicked: {error}"))),
        }
    }
}

/// Reads commits until there are no more, or nobody takes them.
fn read(
    walk: Walk,
    taken: Option<&Taken>,
    store: &Arc<LocalEventStore>,
    runtime: &Handle,
    commits: &mpsc::Sender<Vec<Append>>,
) -> Result<()> {
    let stored = |streams: &[StreamId]| -> Result<Vec<Option<Sequence>>> {
        runtime.block_on(store.last_sequences(streams))
    };
    let mut events = Events::new(walk, taken, stored);
    while let Some(commit) = events.next_commit()? {
        let appends = commit.collect::<Result<Vec<_>>>()?;
        if commits.blocking_send(appends).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends a commit's appends to the store, which takes them in the order in which they are sent.
fn send(store: &Arc<LocalEventStore>, appends: Vec<Append>) -> OnTheWay {
    let events = appends.iter().map(|append| append.events.len()).sum();
    let store = Arc::clone(store);
    // The first look at it is what sends it; nothing is ready then. A task that has done much since it last gave way is
    // told to wait where it need not: this one must not be overtaken by the next.
    let mut appended = tokio::task::unconstrained(async move { store.append(appends).await }).boxed();
    let appended = match (&mut appended).now_or_never() {
        Some(done) => futures::future::ready(done).boxed(),
        None => appended,
    };
    OnTheWay { events, appended }
}

async fn arrive(oldest: OnTheWay, tally: &mut Tally) -> Result<()> {
    match oldest.appended.await? {
        Appended::Done(_) => {
            tally.commits += 1;
            tally.events += oldest.events as u64;
            Ok(())
        }
        Appended::Conflict { stream, last } => Err(Error::invalid(format!(
            "another process wrote to the stream {stream}, which ends with {}; use another folder with --data",
            last.map_or_else(|| "nothing".to_owned(), |last| last.to_string())
        ))),
    }
}
