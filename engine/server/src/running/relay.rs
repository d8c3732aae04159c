use std::{collections::BTreeMap, time::Duration};

use foldstream_local::{LocalLog, LocalStore};
use foldstream_model::Result;
use foldstream_runtime::tasks::Tasks;
use tokio::sync::watch;

/// Events in one transaction of the relay: more are faster, and become readable together.
const BATCH: usize = 1_000;
/// How often records are removed that are kept long enough.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// What moves the events of the event store into the logs.
pub struct Relays<'a> {
    pub store: &'a LocalStore,
    /// Says when no more events come that are waited for.
    pub complete: Option<watch::Receiver<bool>>,
}

impl Relays<'_> {
    /// Starts a relay for each log; the answer turns true once the logs hold all that was waited for.
    pub fn start(self, logs: &BTreeMap<String, LocalLog>, tasks: &mut Tasks) -> watch::Receiver<bool> {
        let (relayed, all_relayed) = watch::channel(logs.is_empty());
        let (waiting, _) = watch::channel(logs.len());
        for (name, log) in logs {
            let relay = self.store.relay(log);
            let (complete, relayed, waiting) = (self.complete.clone(), relayed.clone(), waiting.clone());
            tasks.start(format!("relay into {name}"), async move {
                if let Some(mut complete) = complete {
                    loop {
                        let is_complete = *complete.borrow_and_update();
                        if relay.run_once(BATCH).await? > 0 {
                            continue;
                        }
                        if is_complete {
                            break;
                        }
                        tokio::select! {
                            biased;
                            changed = complete.changed() => {
                                // Whoever fills the event store has given up, and says so itself.
                                if changed.is_err() { return Ok(()) }
                            }
                            waited = relay.wait_for_events() => waited?,
                        }
                    }
                }
                waiting.send_modify(|logs| *logs -= 1);
                if *waiting.borrow() == 0 {
                    relayed.send_replace(true);
                }
                loop {
                    if relay.run_once(BATCH).await? == 0 {
                        relay.wait_for_events().await?;
                    }
                }
            });
            tasks.start(format!("retention of {name}"), trim(log.clone()));
        }
        all_relayed
    }
}

async fn trim(log: LocalLog) -> Result<()> {
    let clock = crate::clock::SystemClock;
    let mut interval = tokio::time::interval(TRIM_INTERVAL);
    loop {
        interval.tick().await;
        if log.describe().await?.retention.is_some() {
            while log.trim(foldstream_model::Clock::now(&clock)).await? > 0 {}
        }
    }
}
