//! What a configuration names in AWS: to ask for it once, and to say what must be allowed.

use std::sync::Arc;

use foldstream_aws::{
    Connection, ConnectionOptions,
    dynamodb::{DocumentTables, DynamoDocuments, DynamoLeases, StateTable},
    events,
    inspection::{Finding, Severity, inspect_credentials},
    kinesis,
    permissions::{DocumentTable, Named},
    relay, streams,
};
use foldstream_config::{
    Config,
    settings::{EventTable, Source, SourceKind, Store},
};
use foldstream_model::{Clock, Ids, ProjectionId};

use super::{
    aws::{document_tables, lease_tables, reading},
    keeps_something_in_aws, tables,
};

/// Asks every service that a configuration names for `run`, and changes nothing. Where credentials or a region are missing nothing
/// else can be asked.
pub async fn inspect(
    config: &Config,
    region: Option<String>,
    profile: Option<String>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Vec<Finding> {
    if !keeps_something_in_aws(config) {
        return Vec::new();
    }
    let connection = Connection::open(ConnectionOptions { region, profile }).await;
    let mut found = inspect_credentials(&connection).await;
    if found.iter().any(|finding| finding.severity == Severity::Wrong) {
        return found;
    }
    let named = named(config);
    for source in config.sources.values() {
        if let Some(table) = source.kind.value.event_table() {
            found.extend(event_table(&connection, source, table).await);
        }
    }
    for table in &named.tables_with_streams {
        found.extend(streams::inspect(&connection, table).await);
    }
    for (stream, reading) in &named.streams {
        found.extend(kinesis::inspect(&connection, stream, reading).await);
    }
    if let Some(table) = &named.state_table {
        found.extend(StateTable::inspect(&connection, table).await);
    }
    for table in &named.lease_tables {
        found.extend(DynamoLeases::inspect(&connection, table).await);
    }
    for (name, projection) in &config.projections {
        if let Some(tables) = tables(config, projection) {
            let clock = Arc::clone(&clock);
            let documents = DynamoDocuments::new(&connection, document_tables(tables), clock, ids.clone());
            let model = ProjectionId::new(name, projection.version.value);
            found.extend(documents.inspect(&model).await);
        }
    }
    found
}

/// The same for `relay`.
pub async fn inspect_relay(config: &Config, region: Option<String>, profile: Option<String>) -> Vec<Finding> {
    let named = named(config);
    if named.relayed.is_empty() {
        return Vec::new();
    }
    let connection = Connection::open(ConnectionOptions { region, profile }).await;
    let mut found = inspect_credentials(&connection).await;
    if found.iter().any(|finding| finding.severity == Severity::Wrong) {
        return found;
    }
    for (stream, table) in &named.relayed {
        found.extend(streams::inspect(&connection, table).await);
        found.extend(relay::inspect(&connection, stream).await);
    }
    if let Some(table) = &named.state_table {
        found.extend(StateTable::inspect_for_relay(&connection, table).await);
    }
    found
}

async fn event_table(connection: &Connection, source: &Source, table: &EventTable) -> Vec<Finding> {
    match super::event_table::event_table(source, table) {
        Ok(table) => events::inspect(connection, &table).await,
        Err(error) => vec![Finding {
            severity: Severity::Wrong,
            service: "dynamodb",
            resource: table.table.value.clone(),
            check: "DescribeTable",
            message: error.to_string(),
            help: None,
            missing_permission: None,
        }],
    }
}

/// By name, as far as it is in AWS.
pub fn named(config: &Config) -> Named {
    let mut named = Named::default();
    for source in config.sources.values() {
        if let SourceKind::Kinesis { stream, reading: declared, .. } = &source.kind.value {
            named.streams.push((stream.clone(), reading(declared)));
            let table = source.kind.value.event_table();
            named.relayed.extend(table.map(|table| (stream.clone(), table.table.value.clone())));
        }
        if let SourceKind::DynamodbStreams { table } = &source.kind.value {
            named.tables_with_streams.push(table.table.value.clone());
        }
        let index = |table: &EventTable| table.order.as_ref().map(|order| order.index.clone());
        let events = source.kind.value.event_table();
        named.event_tables.extend(events.map(|table| (table.table.value.clone(), index(table))));
    }
    if let Store::Dynamodb { table } = &config.store {
        named.lease_tables.extend(lease_tables(config, table).into_values());
        named.state_table = Some(table.clone());
    }
    for (name, projection) in &config.projections {
        if let Some(tables) = tables(config, projection) {
            let tables = document_tables(tables);
            let model = ProjectionId::new(name, projection.version.value);
            let name = tables.table(&model);
            let DocumentTables { create, provision, .. } = tables;
            named.document_tables.push(DocumentTable { name, create, provision });
        }
    }
    named
}
