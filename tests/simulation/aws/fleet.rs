//! A process over the connectors.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_aws::{
    Connection,
    dynamodb::{
        DocumentTables, DynamoDocuments, DynamoLeases, DynamoParking, DynamoRows, KeyAttribute,
        KeyAttributes, Provision, StateTable, TellsShards,
    },
    kinesis::{KinesisOptions, KinesisSource},
};
use foldstream_model::{
    Clock, Ids, Result, SourceName,
    ports::{DocumentStore, Source},
};
use foldstream_runtime::assembly::Services;
use foldstream_tests::around::{Around, Aspect, Call};

use super::{Cloud, items, wire};
use crate::{link::Link, projections::Kind, watcher::SOURCE};

/// Of a process that cannot open its stores another one is started.
const RESTART: Duration = Duration::from_millis(500);

/// The stores of one connection.
pub struct Opened {
    pub rows: DynamoRows,
    pub parking: DynamoParking,
    pub leases: Arc<DynamoLeases>,
}

impl Opened {
    /// `alone`: the tables of leases are nobody else's, by this name.
    pub async fn of(connection: &Connection, ids: Arc<dyn Ids>, alone: Option<&str>) -> Result<Self> {
        let state = StateTable::open(connection, items::STATE, ids.clone(), true).await?;
        let (of_leases, table) = match alone {
            None => (state.clone(), items::LEASES.to_owned()),
            Some(name) => (StateTable::open(connection, name, ids, true).await?, format!("{name}-events")),
        };
        let tables = BTreeMap::from([(SourceName::new(SOURCE), table)]);
        let leases = DynamoLeases::open(connection, of_leases, tables, true).await?;
        Ok(Self {
            rows: DynamoRows::new(state.clone()),
            parking: DynamoParking::new(state),
            leases: Arc::new(leases),
        })
    }
}

pub fn tables(connection: &Connection, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> DynamoDocuments {
    let tables = DocumentTables {
        name: items::DOCUMENTS.to_owned(),
        keys: KeyAttributes { partition: KeyAttribute::of_strings(items::KEY), sort: None },
        indexes: Vec::new(),
        create: true,
        max_write_units: None,
        provision: Provision::default(),
    };
    DynamoDocuments::new(connection, tables, clock, ids)
}

/// What a process works with, once it could be opened.
pub async fn open(link: &Arc<Link>, cloud: &Arc<Cloud>) -> (Services, Arc<dyn Source>) {
    let (world, connection) = (&link.world, wire::connection(link, cloud));
    let alone = world.weather.alone.then(|| format!("alone-{}", world.ids.unique()));
    let opened = loop {
        match Opened::of(&connection, world.ids.clone(), alone.as_deref()).await {
            Ok(opened) => break opened,
            Err(error) => link.saw(&format!("cannot open its stores: {error}")),
        }
        tokio::time::sleep(RESTART).await;
    };
    let options = KinesisOptions { reading: cloud.weather.reading(), ..KinesisOptions::new(SOURCE) };
    let source = Arc::new(KinesisSource::new(&connection, options, link.clone() as Arc<dyn Clock>));
    let source = TellsShards::new(SourceName::new(SOURCE), source, opened.leases.clone());
    let services = Services {
        checkpoints: Arc::new(opened.rows),
        leases: opened.leases,
        parking: Arc::new(opened.parking),
        clock: link.clone(),
        ids: link.clone(),
    };
    (services, Arc::new(source))
}

/// The documents of a projection.
pub fn documents(link: &Arc<Link>, cloud: &Arc<Cloud>, kind: Kind) -> Arc<dyn DocumentStore> {
    let documents = tables(&wire::connection(link, cloud), link.clone(), link.world.ids.clone());
    Arc::new(Around { inner: Arc::new(documents), aspect: Dawdling { link: link.clone(), kind } })
}

struct Dawdling {
    link: Arc<Link>,
    kind: Kind,
}

impl Aspect for Dawdling {
    async fn around<T: Send>(&self, _: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.link.dawdle(self.kind).await;
        answer.await
    }
}
