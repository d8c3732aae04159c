//! Where everything is kept that a command looks at or changes: as the configuration says, in the embedded database of
//! `--data` or in AWS.

use std::{path::Path, sync::Arc};

use foldstream_config::{
    Config,
    settings::{Name, Projection, Sink, SinkKind, Source, SourceKind, Store},
};
use foldstream_local::{LocalStore, OpenOptions};
use foldstream_model::{
    Clock, Error, Ids, ProjectionId, Result,
    ports::{self, CheckpointStore, DocumentStore, EventStore, LeaseStore, ParkingLot},
};
use foldstream_runtime::rows::Rows;

/// What every store is opened with.
pub struct Opening<'a> {
    /// Where the embedded database is.
    pub data: &'a Path,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub options: OpenOptions,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    local: Option<LocalStore>,
    checkpoints: Arc<dyn CheckpointStore>,
    parking: Arc<dyn ParkingLot>,
    leases: Arc<dyn LeaseStore>,
}

impl Stores {
    /// Opens what a configuration names; without one, the embedded database. `Invalid`: something of it is not there, or not
    /// as it should be.
    pub async fn open(config: Option<&Config>, opening: Opening<'_>) -> Result<Self> {
        let local = match config.is_none_or(keeps_something_here) {
            true => Some(LocalStore::open(opening.data, opening.clock, opening.ids, opening.options)?),
            false => None,
        };
        match config.map(|config| &config.store) {
            None | Some(Store::Local) => Ok(local.ok_or_else(not_here)?.into()),
            Some(Store::Dynamodb { .. }) => Err(Error::invalid("a store in DynamoDB is not available yet")),
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

    /// Where the documents of a projection are. `Invalid`: its sink is not configured.
    pub fn documents(&self, _: &ProjectionId) -> Result<Arc<dyn DocumentStore>> {
        Ok(self.local()?.documents())
    }

    /// What a configured source reads; none: a stream that is not there yet.
    pub async fn source(&self, source: &Source) -> Result<Option<Arc<dyn ports::Source>>> {
        match &source.kind.value {
            SourceKind::Local { stream, .. } => {
                let log = self.local()?.existing_log(stream).await?;
                Ok(log.map(|log| log.source() as Arc<dyn ports::Source>))
            }
            SourceKind::Kinesis { .. } => Err(Error::invalid("a source on Kinesis is not available yet")),
        }
    }

    /// Where the events of a source can be asked for again, if anywhere.
    pub fn events(&self, source: &Source) -> Result<Option<Arc<dyn EventStore>>> {
        match &source.kind.value {
            SourceKind::Local { .. } => Ok(Some(self.local()?.events())),
            SourceKind::Kinesis { .. } => Ok(None),
        }
    }

    /// The embedded database. `Invalid`: nothing is kept there.
    pub fn local(&self) -> Result<&LocalStore> {
        self.local.as_ref().ok_or_else(not_here)
    }
}

impl From<LocalStore> for Stores {
    fn from(local: LocalStore) -> Self {
        Self {
            checkpoints: local.checkpoints(),
            parking: local.parking(),
            leases: local.leases(),
            local: Some(local),
        }
    }
}

fn not_here() -> Error {
    Error::invalid("nothing of this configuration is kept in the embedded database")
}

/// Whether a configuration needs the embedded database.
pub fn keeps_something_here(config: &Config) -> bool {
    let is_local = |source: &Source| matches!(source.kind.value, SourceKind::Local { .. });
    config.store == Store::Local
        || config.sources.values().any(is_local)
        || config.projections.values().any(|projection| tables(config, projection).is_none())
}

/// The tables that a projection writes to; none: it writes here.
fn tables<'c>(
    config: &'c Config,
    projection: &Projection,
) -> Option<&'c foldstream_config::settings::Tables> {
    let sink: &Name = &projection.sink.as_ref()?.value;
    match config.sinks.get(sink).map(|sink: &Sink| &sink.kind.value)? {
        SinkKind::Local => None,
        SinkKind::Dynamodb(tables) => Some(tables),
    }
}
