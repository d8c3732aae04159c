use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use foldstream_config::Config;
use foldstream_model::{Clock, Error, Result};
use foldstream_runtime::{metrics, parking::total, rows::Rows, tasks::Tasks};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    status::{Facts, ProjectionStanding, reports},
    stores::Stores,
};

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long a scrape waits for the store; then the lags are those of the scrape before.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// What is served over HTTP: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever watches the process.
pub struct Service {
    listener: TcpListener,
    metrics: PrometheusHandle,
    config: Arc<Config>,
}

impl Service {
    /// Listens from now on, and records metrics from now on. `Invalid`: the address cannot be listened on.
    pub async fn bind(address: SocketAddr, config: &Config) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::invalid(format!(
                "cannot listen: address={address} reason={error}; choose another with --listen"
            ))
        })?;
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let metrics = builder
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| Error::internal(format!("metrics cannot be recorded: {error}")))?;
        metrics::describe();
        Ok(Self { listener, metrics, config: Arc::new(config.clone()) })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::internal(error.to_string()))
    }

    /// Ready is who reads its shards and was not told to stop. A projection that has stopped is named and does not
    /// change that: the others are served, and no other instance could take the event either.
    pub(super) fn start(
        self,
        readiness: Readiness,
        stores: &Stores,
        clock: Arc<dyn Clock>,
        tasks: &mut Tasks,
    ) {
        let (rendered, kept) = (self.metrics.clone(), self.metrics);
        let lags = Lags { stores: stores.clone(), config: self.config, clock };
        let metrics = move || async move {
            lags.set().await;
            rendered.render()
        };
        let is_ready = move || async move { readiness.answer().await };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(is_ready));
        tasks.start("http", async move {
            axum::serve(self.listener, router)
                .await
                .map_err(|error| Error::internal(format!("http: {error}")))
        });
        tasks.start("upkeep of metrics", async move {
            let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                interval.tick().await;
                kept.run_upkeep();
            }
        });
    }
}

/// Where the lags of projections are read, as `status` does it.
#[derive(Clone)]
pub(super) struct Lags {
    pub stores: Stores,
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
}

impl Lags {
    async fn set(&self) {
        let facts = Facts::gather(&self.stores, Some(&self.config), self.clock.now());
        let facts = match tokio::time::timeout(STORE_PATIENCE, facts).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => return tracing::warn!(%error, "the lags of projections could not be read"),
            Err(_) => return tracing::warn!("the lags of projections could not be read in time"),
        };
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
}

/// What is known of whether work is done.
#[derive(Clone)]
pub(super) struct Readiness {
    pub ready: watch::Receiver<bool>,
    pub stop: CancellationToken,
    pub rows: Rows,
}

impl Readiness {
    async fn answer(&self) -> (StatusCode, String) {
        if !*self.ready.borrow() || self.stop.is_cancelled() {
            return (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned());
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
