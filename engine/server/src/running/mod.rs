//! A line at work: the embedded logs are filled, the worker runs, and both end in order.

mod relay;
mod emf;
mod service;
mod watched;
mod signals;

use std::sync::Arc;

use foldstream_config::Config;
use foldstream_model::Result;
use foldstream_runtime::{
    tasks::Tasks,
    worker::{Outcome, Until, Worker},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use emf::Namespace;
pub use service::Service;
pub use signals::stop_on_signals;
pub use watched::WatchedRelays;

use crate::{compose::Line, stores::Stores};
use relay::Relays;
use watched::WatchedWorker;

/// What a line needs beside its parts.
pub struct Running<'a> {
    pub stores: &'a Stores,
    /// Return as soon as everything is level with the event store, once this says that the event store is complete;
    /// none: never.
    pub until_complete: Option<watch::Receiver<bool>>,
    /// Drains, saves and returns when it is cancelled.
    pub stop: CancellationToken,
    /// And whose lags it tells.
    pub service: Option<(Service, Config)>,
}

impl Running<'_> {
    /// Runs until it is stopped or caught up, or something fails.
    pub async fn run(self, line: Line) -> Result<Outcome> {
        let mut tasks = Tasks::new();
        let clock = line.assembly.services.clock.clone();
        let relays =
            Relays { stores: self.stores, clock: clock.clone(), complete: self.until_complete.clone() };
        let relayed = relays.start(&line.logs, &mut tasks)?;
        let until = match self.until_complete {
            Some(_) => Until::CaughtUp(relayed),
            None => Until::Stopped,
        };
        let worker = Worker::new(line.assembly);
        if let Some((service, config)) = self.service {
            let watched = WatchedWorker {
                stores: self.stores.clone(),
                config,
                clock: clock.clone(),
                ready: worker.ready(),
                stop: self.stop.clone(),
                rows: self.stores.rows(),
            };
            service.start(Arc::new(watched), clock, &mut tasks);
        }
        let stopped = CancellationToken::new();
        let mut work = std::pin::pin!(worker.run(until, stopped.clone()));
        let mut failure = None;
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => {
                    // Whoever fills the event store need not go on.
                    self.stop.cancel();
                    return failure.map_or(outcome, Err);
                }
                () = self.stop.cancelled(), if !stopped.is_cancelled() => stopped.cancel(),
                Some((name, ended)) = tasks.next(), if failure.is_none() && !tasks.is_empty() => {
                    if let Err(error) = ended {
                        failure = Some(error.context(name));
                        stopped.cancel();
                    }
                }
            }
        }
    }
}
