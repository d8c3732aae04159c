//! Where everything is kept that a command looks at or changes: as the configuration says, in the embedded database of
//! `--data` or in AWS.

mod aws;
mod event_table;
mod online;

use std::{path::Path, sync::Arc};

use foldstream_config::{
    Config,
    settings::{Name, Projection, SinkKind, Source, SourceKind, Store, Tables},
};
use foldstream_local::{LocalStore, OpenOptions};
use foldstream_model::{
    Clock, Error, Ids, ProjectionId, Result,
    ports::{self, CheckpointStore, Decoder, DocumentStore, EventStore, LeaseStore, ParkingLot},
};
use foldstream_runtime::rows::Rows;

use aws::Aws;
pub use aws::{TableEvents, TableRelay};
pub use online::{inspect, inspect_relay, named};

/// What the stores are opened with.
#[derive(Clone)]
pub struct Opening<'a> {
    /// Where the embedded database is.
    pub data: &'a Path,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub options: OpenOptions,
    /// The tables of the leases of sources' shards are not needed by a relay, whose own are with its rows.
    pub leases: bool,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    local: Option<LocalStore>,
    aws: Option<Arc<Aws>>,
    checkpoints: Arc<dyn CheckpointStore>,
    parking: Arc<dyn ParkingLot>,
    leases: Arc<dyn LeaseStore>,
}

impl Stores {
    /// Opens what a configuration names; without one, the embedded database. `Invalid`: something of it is not there, or not
    /// as it should be.
    pub async fn open(config: Option<&Config>, opening: Opening<'_>) -> Result<Self> {
        let local = match config.is_none_or(keeps_something_here) {
            true => {
                let (clock, ids) = (opening.clock.clone(), opening.ids.clone());
                Some(LocalStore::open(opening.data, clock, ids, opening.options)?)
            }
            false => None,
        };
        let aws = match config.filter(|config| keeps_something_in_aws(config)) {
            Some(config) => Some(Arc::new(Box::pin(Aws::open(config, &opening)).await?)),
            None => None,
        };
        let state = aws.as_ref().and_then(|aws| aws.state());
        match (state, &local) {
            (Some(state), _) => Ok(Self {
                checkpoints: state.checkpoints,
                parking: state.parking,
                leases: state.leases,
                local,
                aws,
            }),
            (None, Some(here)) => Ok(Self { aws, ..Self::from(here.clone()) }),
            (None, None) => Err(not_here()),
        }
    }

    pub fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        self.checkpoints.clone()
    }

    pub fn rows(&self) -> Rows {
        Rows::new(self.checkpoints())
    }

    pub fn parking(&self) -> Arc<dyn ParkingLot> {
        self.parking.clone()
    }

    pub fn leases(&self) -> Arc<dyn LeaseStore> {
        self.leases.clone()
    }

    /// Where the documents of a projection are; those of one that is not configured are in the embedded database.
    pub fn documents(&self, projection: &ProjectionId) -> Result<Arc<dyn DocumentStore>> {
        match self.aws.as_ref().and_then(|aws| aws.documents(projection.name.as_str())) {
            Some(documents) => Ok(documents),
            None => Ok(self.local()?.documents()),
        }
    }

    /// What a configured source reads; none: a stream that is not there yet.
    pub async fn source(&self, name: &Name, source: &Source) -> Result<Option<Arc<dyn ports::Source>>> {
        match &source.kind.value {
            SourceKind::Local { stream, .. } => {
                let log = self.local()?.existing_log(stream).await?;
                Ok(log.map(|log| log.source() as Arc<dyn ports::Source>))
            }
            SourceKind::Kinesis { stream, reading, .. } => {
                let aws = self.aws.as_ref().ok_or_else(not_in_aws)?;
                Ok(Some(aws.kinesis(name, stream, reading)))
            }
            SourceKind::DynamodbStreams { table } => {
                let aws = self.aws.as_ref().ok_or_else(not_in_aws)?;
                Ok(Some(aws.streams(&table.table.value)))
            }
        }
    }

    /// What moves the changes of a source's event table into its stream; none: it has not both.
    pub fn relay(&self, name: &Name, source: &Source) -> Result<Option<TableRelay>> {
        let SourceKind::Kinesis { stream, event_table: Some(table), .. } = &source.kind.value else {
            return Ok(None);
        };
        let aws = self.aws.as_ref().ok_or_else(not_in_aws)?;
        let prefix = source.event.stream_id.strip_prefix.clone().unwrap_or_default();
        let (rows, leases) = (self.checkpoints(), self.leases());
        Ok(Some(aws.relay(name, stream, &table.table.value, prefix, rows, leases)))
    }

    /// Where the events of a source can be asked for again, if anywhere. `items` reads an item of a table in plain JSON.
    pub async fn events(
        &self,
        source: &Source,
        items: Arc<dyn Decoder>,
    ) -> Result<Option<Arc<dyn EventStore>>> {
        match &source.kind.value {
            SourceKind::Local { .. } => Ok(Some(self.local()?.events())),
            kind => {
                let Some(table) = kind.event_table() else { return Ok(None) };
                let aws = self.aws.as_ref().ok_or_else(not_in_aws)?;
                let table = event_table::event_table(source, table)?;
                // The clients' futures are large and deep.
                let events = Box::pin(aws.events(table, items)).await?;
                Ok(Some(events))
            }
        }
    }

    /// The embedded database. `Invalid`: nothing is kept there.
    pub fn local(&self) -> Result<&LocalStore> {
        self.local.as_ref().ok_or_else(not_here)
    }
}

/// The event table of a source, if it has one, without anything else of its configuration.
pub async fn event_table_of(
    source: &Source,
    items: Arc<dyn Decoder>,
    opening: Opening<'_>,
) -> Result<Option<Arc<TableEvents>>> {
    let Some(table) = source.kind.value.event_table() else { return Ok(None) };
    let table = event_table::event_table(source, table)?;
    Box::pin(aws::event_table(&opening, table, items)).await.map(Some)
}

impl From<LocalStore> for Stores {
    fn from(local: LocalStore) -> Self {
        Self {
            checkpoints: local.checkpoints(),
            parking: local.parking(),
            leases: local.leases(),
            local: Some(local),
            aws: None,
        }
    }
}

fn not_here() -> Error {
    Error::invalid("nothing of this configuration is kept in the embedded database")
}

fn not_in_aws() -> Error {
    Error::internal("nothing of this configuration is in AWS")
}

/// Whether a configuration needs the embedded database.
fn keeps_something_here(config: &Config) -> bool {
    let is_local = |source: &Source| matches!(source.kind.value, SourceKind::Local { .. });
    config.store == Store::Local
        || config.sources.values().any(is_local)
        || config.projections.values().any(|projection| tables(config, projection).is_none())
}

fn keeps_something_in_aws(config: &Config) -> bool {
    let is_there = |source: &Source| !matches!(source.kind.value, SourceKind::Local { .. });
    matches!(config.store, Store::Dynamodb { .. })
        || config.sources.values().any(is_there)
        || config.projections.values().any(|projection| tables(config, projection).is_some())
}

/// The tables that a projection writes to; none: it writes into the embedded database.
fn tables<'c>(config: &'c Config, projection: &Projection) -> Option<&'c Tables> {
    let sink = config.sinks.get(&projection.sink.as_ref()?.value)?;
    match &sink.kind.value {
        SinkKind::Local => None,
        SinkKind::Dynamodb(tables) => Some(tables),
    }
}
