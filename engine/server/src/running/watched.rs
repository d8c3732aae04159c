//! What is seen of a worker, and of relays, from outside.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::StatusCode;
use foldstream_aws::relay::Figures;
use foldstream_config::Config;
use foldstream_model::Clock;
use foldstream_runtime::{metrics, parking::total, rows::Rows};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::service::Watched;
use crate::{
    status::{Facts, ProjectionStanding, reports},
    stores::Stores,
};

/// Lags are read as `status` does it. Ready is who reads its shards and was not told to stop. A projection that has stopped is
/// named and does not change that: the others are served, and no other instance could take the event either.
pub(super) struct WatchedWorker {
    pub stores: Stores,
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub ready: watch::Receiver<bool>,
    pub stop: CancellationToken,
    pub rows: Rows,
}

#[async_trait]
impl Watched for WatchedWorker {
    async fn measure(&self) {
        let facts = match Facts::gather(&self.stores, Some(&self.config), self.clock.now()).await {
            Ok(facts) => facts,
            Err(error) => return tracing::warn!(%error, "the lags of projections could not be read"),
        };
        for (source, until) in facts.complete_until() {
            metrics::heartbeat_age(source.as_str(), facts.now.micros_since(until));
        }
        for standing in ProjectionStanding::current(&facts) {
            if let Some(lag) = standing.lag_micros {
                metrics::lag(standing.projection.name.as_str(), lag);
            }
            let (parking, epoch) = (self.stores.parking(), facts.lot(&standing.projection).epoch);
            match total(&*parking, &standing.projection, epoch).await {
                Ok(total) => metrics::parked_now(standing.projection.name.as_str(), total),
                Err(error) => tracing::warn!(%error, "what is parked could not be counted"),
            }
        }
    }

    async fn readiness(&self) -> (StatusCode, String) {
        if !*self.ready.borrow() || self.stop.is_cancelled() {
            return not_ready();
        }
        // Without a report nothing is known to have stopped; whether shards are read does not depend on it.
        let reports = reports(&self.rows).await.unwrap_or_default();
        let ours = reports.iter().filter(|report| report.process == std::process::id());
        let mut answer = "ready\n".to_owned();
        for known in ours.flat_map(|report| &report.projections).filter(|known| known.stop.is_some()) {
            let name = known.projection.row_name();
            answer.push_str(&format!("stopped: {name} in {}/{}\n", known.source, known.shard));
        }
        (StatusCode::OK, answer)
    }
}

/// Ready is who has found the streams and leases of all tables that it relays, and was not told to stop.
pub struct WatchedRelays {
    /// By source.
    pub relays: Vec<(String, watch::Receiver<Figures>)>,
    pub clock: Arc<dyn Clock>,
    pub stop: CancellationToken,
}

#[async_trait]
impl Watched for WatchedRelays {
    async fn measure(&self) {
        for (source, figures) in &self.relays {
            let figures = figures.borrow().clone();
            let lag = figures.complete_until.map(|until| self.clock.now().micros_since(until));
            metrics::relay(source, figures.shards, lag.map(Duration::from_micros), figures.records);
            metrics::relay_throttled(source, "read", figures.throttled_reads);
            metrics::relay_throttled(source, "put", figures.throttled_puts);
        }
    }

    async fn readiness(&self) -> (StatusCode, String) {
        let works = self.relays.iter().all(|(_, figures)| figures.borrow().works);
        match works && !self.stop.is_cancelled() {
            true => (StatusCode::OK, "ready\n".to_owned()),
            false => not_ready(),
        }
    }
}

fn not_ready() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
}
