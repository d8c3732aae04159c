use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_local::{LocalLog, Relay};
use foldstream_model::{Clock, Result};
use foldstream_runtime::{retry, tasks::Tasks};
use tokio::sync::watch;

use crate::stores::Stores;

/// Events in one transaction of the relay: more are faster, and become readable together.
const BATCH: usize = 1_000;
/// How often records are removed that are kept long enough.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// What moves the events of the event store into the logs.
pub struct Relays<'a> {
    pub stores: &'a Stores,
    pub clock: Arc<dyn Clock>,
    /// Says when no more events come that are waited for; none: that is never asked.
    pub complete: Option<watch::Receiver<bool>>,
}

impl Relays<'_> {
    /// Starts a relay for each log; the answer turns true once the logs hold all that was waited for.
    pub fn start(
        self,
        logs: &BTreeMap<String, LocalLog>,
        tasks: &mut Tasks,
    ) -> Result<watch::Receiver<bool>> {
        let (all_relayed, answer) = watch::channel(logs.is_empty());
        let left = watch::Sender::new(logs.len());
        for (name, log) in logs {
            let relay = self.stores.local()?.relay(log);
            let (complete, left, all_relayed) = (self.complete.clone(), left.clone(), all_relayed.clone());
            tasks.start(format!("relay into {name}"), async move {
                if let Some(complete) = complete {
                    move_until_complete(&relay, complete).await?;
                    left.send_modify(|left| *left -= 1);
                    all_relayed.send_if_modified(|all| {
                        *all = *left.borrow() == 0;
                        *all
                    });
                }
                move_for_ever(&relay).await
            });
            tasks.start(format!("retention of {name}"), trim(log.clone(), self.clock.clone()));
        }
        Ok(answer)
    }
}

/// Returns when everything has been moved that was there when the event store was said to be complete. Whoever fills it
/// and gives up says so itself.
async fn move_until_complete(relay: &Relay, mut complete: watch::Receiver<bool>) -> Result<()> {
    loop {
        let is_complete = *complete.borrow_and_update();
        if moved(relay).await? > 0 {
            continue;
        }
        if is_complete {
            return Ok(());
        }
        tokio::select! {
            biased;
            changed = complete.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
            waited = retry::until_done("waiting for events", || relay.wait_for_events()) => waited?,
        }
    }
}

async fn move_for_ever(relay: &Relay) -> Result<()> {
    loop {
        if moved(relay).await? == 0 {
            retry::until_done("waiting for events", || relay.wait_for_events()).await?;
        }
    }
}

/// Again and again: a process that is frozen while it writes holds the database for as long, and the disk may be full.
async fn moved(relay: &Relay) -> Result<usize> {
    retry::until_done("moving events into a stream", || relay.run_once(BATCH)).await
}

async fn trim(log: LocalLog, clock: Arc<dyn Clock>) -> Result<()> {
    let mut interval = tokio::time::interval(TRIM_INTERVAL);
    loop {
        interval.tick().await;
        let description = retry::until_done("looking at a stream", || log.describe()).await?;
        if description.retention.is_some() {
            while retry::until_done("trimming a stream", || log.trim(clock.now())).await? > 0 {}
        }
    }
}
