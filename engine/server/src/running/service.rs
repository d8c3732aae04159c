use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Router, http::StatusCode, routing::get};
use foldstream_model::{Clock, Error, Result};
use foldstream_runtime::{metrics, tasks::Tasks};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use super::emf::{self, Namespace};
use crate::cli::Watching;

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How often metrics are printed: CloudWatch keeps one value a minute.
const PRINT_INTERVAL: Duration = Duration::from_secs(60);
/// How long measuring may take while somebody waits, and while nobody does; then what was measured before is told.
const PATIENCE: Duration = Duration::from_secs(1);
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// What a process does, as it is seen from outside.
#[async_trait]
pub trait Watched: Send + Sync {
    /// Sets the metrics that are not set by themselves.
    async fn measure(&self);

    /// Whether it does its work.
    async fn readiness(&self) -> (StatusCode, String);
}

/// What is served over HTTP: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever watches the process; and what is
/// printed for CloudWatch.
pub struct Service {
    listener: Option<TcpListener>,
    metrics: PrometheusHandle,
    emf: Option<Namespace>,
}

impl Service {
    /// Listens from now on, and records metrics from now on; none: nobody asked for that. `Invalid`: the address cannot be
    /// listened on.
    pub async fn open(watching: &Watching) -> Result<Option<Self>> {
        let Watching { listen, emf } = watching.clone();
        if listen.is_none() && emf.is_none() {
            return Ok(None);
        }
        let listener = match listen {
            Some(address) => Some(listen_on(address).await?),
            None => None,
        };
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let metrics = builder
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| Error::internal(format!("metrics cannot be recorded: {error}")))?;
        metrics::describe();
        Ok(Some(Self { listener, metrics, emf }))
    }

    /// Its tasks last as long as the process.
    pub fn start(self, watched: Arc<dyn Watched>, clock: Arc<dyn Clock>, tasks: &mut Tasks) {
        let Self { listener, metrics, emf } = self;
        if let Some(listener) = listener {
            let router = router(watched.clone(), metrics.clone());
            tasks.start("http", async move {
                let served = axum::serve(listener, router).await;
                served.map_err(|error| Error::internal(format!("http: {error}")))
            });
        }
        if let Some(namespace) = emf {
            tasks.start("metrics for CloudWatch", print(namespace, watched, clock, metrics.clone()));
        }
        tasks.start("upkeep of metrics", async move {
            let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                interval.tick().await;
                metrics.run_upkeep();
            }
        });
    }
}

async fn listen_on(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::invalid(format!(
            "cannot listen: address={address} reason={error}; choose another with --listen"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Error::internal(error.to_string()))?;
    tracing::info!(%address, "serving /metrics, /livez and /readyz");
    Ok(listener)
}

fn router(watched: Arc<dyn Watched>, metrics: PrometheusHandle) -> Router {
    let measured = watched.clone();
    let rendered = move || async move { measure(&*measured, &metrics, PATIENCE).await };
    let is_ready = move || async move { watched.readiness().await };
    Router::new()
        .route("/metrics", get(rendered))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(is_ready))
}

async fn measure(watched: &dyn Watched, metrics: &PrometheusHandle, patience: Duration) -> String {
    if tokio::time::timeout(patience, watched.measure()).await.is_err() {
        tracing::warn!("what metrics say of projections could not be read in time");
    }
    metrics.render()
}

/// The first line comes after a while: who has just begun does not know yet how far it is.
async fn print(
    namespace: Namespace,
    watched: Arc<dyn Watched>,
    clock: Arc<dyn Clock>,
    metrics: PrometheusHandle,
) -> Result<()> {
    let mut interval = tokio::time::interval(PRINT_INTERVAL);
    interval.reset();
    loop {
        interval.tick().await;
        let rendered = measure(&*watched, &metrics, LONG_PATIENCE).await;
        if let Some(line) = emf::line(&namespace, &rendered, clock.now()) {
            // Nothing ends because nobody reads any more.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}
