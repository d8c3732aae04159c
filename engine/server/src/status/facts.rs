use std::collections::BTreeMap;

use foldstream_config::{Config, settings::SourceKind};
use foldstream_local::{LocalStore, LogDescription};
use foldstream_model::{
    Checkpoint, Control, ProjectionId, Result, ShardId, SourceName, Timestamp, ports::Table,
};
use foldstream_runtime::{
    control::Controls,
    report::WorkerReport,
    rows::{self, Rows},
};

/// A worker that has said nothing for so long is not running any more.
const SILENT_MICROS: u64 = 5_000_000;

/// What is stored about a line.
pub struct Facts {
    pub now: Timestamp,
    /// What the newest worker said of itself, whether it still runs or not.
    pub report: Option<WorkerReport>,
    pub controls: Vec<(ProjectionId, Control)>,
    /// By projection, then source and shard.
    pub checkpoints: BTreeMap<ProjectionId, BTreeMap<(SourceName, ShardId), Checkpoint>>,
    /// The embedded streams of the configured sources.
    pub logs: BTreeMap<SourceName, LogDescription>,
    /// Events that are stored and in no stream yet: the source with the most of them.
    pub not_relayed: u64,
    /// The sources of configured projections.
    pub configured: BTreeMap<ProjectionId, SourceName>,
}

impl Facts {
    pub async fn gather(store: &LocalStore, config: Option<&Config>, now: Timestamp) -> Result<Self> {
        let rows = Rows::new(store.checkpoints());
        let controls = Controls::new(rows.clone()).list().await?;
        let mut checkpoints = BTreeMap::new();
        for (projection, control) in &controls {
            checkpoints.insert(projection.clone(), checkpoints_of(&rows, projection, control).await?);
        }
        let (mut logs, mut not_relayed) = (BTreeMap::new(), 0);
        let last = store.events().last_offset().await?;
        for (name, source) in config.into_iter().flat_map(|config| &config.sources) {
            let SourceKind::Local { stream, .. } = &source.kind.value;
            let Some(log) = store.existing_log(stream).await? else { continue };
            let description = log.describe().await?;
            not_relayed = not_relayed.max(last.0.saturating_sub(description.relayed.0));
            logs.insert(SourceName::new(name.as_str()), description);
        }
        let configured = config.into_iter().flat_map(|config| &config.projections);
        let configured = configured.map(|(name, projection)| {
            let id = ProjectionId::new(name, projection.version.value);
            (id, SourceName::new(projection.source.value.as_str()))
        });
        let report = newest_report(&rows).await?;
        Ok(Self { now, report, controls, checkpoints, logs, not_relayed, configured: configured.collect() })
    }

    /// The worker that runs now, as far as can be known.
    pub fn worker(&self) -> Option<&WorkerReport> {
        self.report
            .as_ref()
            .filter(|report| !report.ended && self.now.micros_since(report.written_at) < SILENT_MICROS)
    }

    /// Whether the worker that runs now feeds a projection.
    pub fn runs(&self, projection: &ProjectionId) -> bool {
        self.worker()
            .is_some_and(|worker| worker.projections.iter().any(|known| known.projection == *projection))
    }
}

/// The last word of the worker that spoke last.
pub async fn newest_report(rows: &Rows) -> Result<Option<WorkerReport>> {
    let reports = rows.all::<WorkerReport>(Table::Reports, rows::REPORTS).await?;
    Ok(reports.into_iter().map(|(_, report)| report.body).max_by_key(|report| report.written_at))
}

/// Those that count: a rewind leaves the ones before it behind.
async fn checkpoints_of(
    rows: &Rows,
    projection: &ProjectionId,
    control: &Control,
) -> Result<BTreeMap<(SourceName, ShardId), Checkpoint>> {
    let stored = rows.all::<Checkpoint>(Table::Checkpoints, &projection.row_name()).await?;
    let current =
        stored.into_iter().filter(|(_, checkpoint)| checkpoint.body.generation == control.generation);
    let named = current.filter_map(|(sort, checkpoint)| {
        let (source, shard) = sort.split_once('/')?;
        Some(((SourceName::new(source), ShardId::new(shard)), checkpoint.body))
    });
    Ok(named.collect())
}
