//! What of a configuration is in AWS.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_aws::{
    Connection, ConnectionOptions,
    dynamodb::{
        DocumentTables, DynamoDocuments, DynamoLeases, DynamoParking, DynamoRows, KeyAttribute,
        KeyAttributes, KeyType, Provision, SecondaryIndex, SortKey, StateTable, TellsShards,
    },
    events::EventTable,
    kinesis::{self, KinesisOptions, KinesisSource},
    relay::{RelayOptions, RelayParts, Route},
    streams::{StreamsOptions, StreamsSource},
};
use foldstream_config::{
    Config,
    settings::{self, Name, Reading, SourceKind, Store, Tables},
};
use foldstream_model::{
    Clock, Ids, Record, Result, SourceName,
    ports::{self, CheckpointStore, Decoder, DocumentStore, LeaseStore, ParkingLot},
};

pub use foldstream_aws::{events::DynamoEvents as TableEvents, relay::Relay as TableRelay};

use super::{Opening, tables};

/// Open connections, and what was made of them.
pub(super) struct Aws {
    connection: Connection,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    state: Option<State>,
    /// By the names of projections.
    documents: BTreeMap<String, Arc<DynamoDocuments>>,
}

/// What the engine knows, where that is in DynamoDB.
#[derive(Clone)]
pub(super) struct State {
    pub checkpoints: Arc<dyn CheckpointStore>,
    pub parking: Arc<dyn ParkingLot>,
    pub leases: Arc<DynamoLeases>,
}

impl Aws {
    pub(super) async fn open(config: &Config, opening: &Opening<'_>) -> Result<Self> {
        let connection = connect(opening).await;
        let state = match &config.store {
            Store::Local => None,
            Store::Dynamodb { table } => Some(state(config, table, &connection, opening).await?),
        };
        let mut documents = BTreeMap::new();
        for (name, projection) in &config.projections {
            if let Some(tables) = tables(config, projection) {
                let (clock, ids) = (opening.clock.clone(), opening.ids.clone());
                let store = DynamoDocuments::new(&connection, document_tables(tables), clock, ids);
                documents.insert(name.to_string(), Arc::new(store));
            }
        }
        Ok(Self { connection, clock: opening.clock.clone(), ids: opening.ids.clone(), state, documents })
    }

    pub(super) fn state(&self) -> Option<State> {
        self.state.clone()
    }

    pub(super) fn documents(&self, projection: &str) -> Option<Arc<dyn DocumentStore>> {
        self.documents.get(projection).map(|documents| documents.clone() as Arc<dyn DocumentStore>)
    }

    /// Records of one stream of events have its id as their key, so that they arrive in order.
    pub(super) fn relay(
        &self,
        name: &Name,
        stream: &str,
        table: &str,
        prefix: String,
        rows: Arc<dyn CheckpointStore>,
        leases: Arc<dyn LeaseStore>,
    ) -> TableRelay {
        let parts = RelayParts { rows, leases, clock: self.clock.clone(), ids: self.ids.clone() };
        let changes = StreamsSource::new(&self.connection, StreamsOptions::new(table), self.clock.clone());
        let route = move |record: &Record| {
            let key = record.partition_key.strip_prefix(prefix.as_str()).filter(|key| !key.is_empty());
            Route { partition_key: key.unwrap_or(&record.partition_key).to_owned(), explicit_hash_key: None }
        };
        let options = RelayOptions::new(name.as_str(), stream);
        TableRelay::new(&self.connection, options, Arc::new(changes), Arc::new(route), parts)
    }

    pub(super) fn streams(&self, table: &str) -> Arc<dyn ports::Source> {
        Arc::new(StreamsSource::new(&self.connection, StreamsOptions::new(table), self.clock.clone()))
    }

    pub(super) async fn events(
        &self,
        table: EventTable,
        items: Arc<dyn Decoder>,
    ) -> Result<Arc<TableEvents>> {
        events(&self.connection, table, items, self.clock.clone(), self.ids.clone()).await
    }

    pub(super) fn kinesis(&self, name: &Name, stream: &str, reading: &Reading) -> Arc<dyn ports::Source> {
        let options = KinesisOptions { reading: self::reading(reading), ..KinesisOptions::new(stream) };
        let source = Arc::new(KinesisSource::new(&self.connection, options, self.clock.clone()));
        match &self.state {
            // Leases name the hash keys and the parents of their shards, as KCL's do.
            Some(state) => {
                Arc::new(TellsShards::new(SourceName::new(name.as_str()), source, state.leases.clone()))
            }
            None => source,
        }
    }
}

async fn connect(opening: &Opening<'_>) -> Connection {
    Connection::open(ConnectionOptions { region: opening.region.clone(), profile: opening.profile.clone() })
        .await
}

/// A table of events, without anything else of a configuration.
pub(super) async fn event_table(
    opening: &Opening<'_>,
    table: EventTable,
    items: Arc<dyn Decoder>,
) -> Result<Arc<TableEvents>> {
    let connection = connect(opening).await;
    events(&connection, table, items, opening.clock.clone(), opening.ids.clone()).await
}

async fn events(
    connection: &Connection,
    table: EventTable,
    items: Arc<dyn Decoder>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<Arc<TableEvents>> {
    Ok(Arc::new(TableEvents::open(connection, table, items, clock, ids).await?))
}

async fn state(
    config: &Config,
    table: &str,
    connection: &Connection,
    opening: &Opening<'_>,
) -> Result<State> {
    let state = StateTable::open(connection, table, opening.ids.clone(), opening.options.create).await?;
    let tables = if opening.leases { lease_tables(config, table) } else { BTreeMap::new() };
    let create = opening.options.create;
    let leases = DynamoLeases::open(connection, state.clone(), tables, create).await?;
    Ok(State {
        checkpoints: Arc::new(DynamoRows::new(state.clone())),
        parking: Arc::new(DynamoParking::new(state)),
        leases: Arc::new(leases),
    })
}

pub(super) fn reading(reading: &Reading) -> kinesis::Reading {
    match reading {
        Reading::Polling => kinesis::Reading::Polling,
        Reading::FanOut { consumer } => kinesis::Reading::FanOut { consumer: consumer.clone() },
    }
}

/// The tables of the leases of shards, by source.
pub(super) fn lease_tables(config: &Config, table: &str) -> BTreeMap<SourceName, String> {
    let named = config.sources.iter().map(|(name, source)| {
        let given = match &source.kind.value {
            SourceKind::Kinesis { lease_table, .. } => lease_table.clone(),
            // Leases of theirs are among our own rows.
            SourceKind::Local { .. } | SourceKind::DynamodbStreams { .. } => return None,
        };
        Some((SourceName::new(name.as_str()), given.unwrap_or_else(|| format!("{table}-{name}"))))
    });
    named.flatten().collect()
}

pub(super) fn document_tables(tables: &Tables) -> DocumentTables {
    let key = &tables.key;
    let sort = key.sort.as_ref().map(|(attribute, separator)| SortKey {
        attribute: key_attribute(attribute),
        separator: separator.clone(),
    });
    let indexes = tables.indexes.iter().map(|(name, index)| SecondaryIndex {
        name: name.to_string(),
        partition: key_attribute(&index.partition),
        sort: index.sort.as_ref().map(key_attribute),
    });
    DocumentTables {
        name: tables.table.value.clone(),
        keys: KeyAttributes { partition: key_attribute(&key.partition), sort },
        indexes: indexes.collect(),
        create: tables.create,
        max_write_units: tables.max_write_units,
        provision: Provision {
            tags: tables.tags.clone(),
            point_in_time_recovery: tables.point_in_time_recovery,
            deletion_protection: tables.deletion_protection,
            purge_deleted_after: tables.purge_deleted_after,
        },
    }
}

fn key_attribute(attribute: &settings::KeyAttribute) -> KeyAttribute {
    let holds = match attribute.holds {
        settings::KeyType::String => KeyType::String,
        settings::KeyType::Number => KeyType::Number,
    };
    KeyAttribute { name: attribute.name.clone(), holds }
}
