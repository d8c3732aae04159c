//! Tables of events on a server, and a decoder for them.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    },
};
use bytes::Bytes;
use foldstream_model::{
    Error, Event, EventId, EventType, Payload, PayloadReads, Record, Result, SchemaVersion, Sequence,
    StreamId, Timestamp, Value, ports::Decoder,
};
use foldstream_test_servers::Server;

use super::super::*;
use crate::{Connection, dynamodb::Item};

/// A field, and what stands before its value.
pub type Part = (&'static str, &'static str);

/// Reads `type`, `at` and `data`, and what is named.
#[derive(Clone)]
pub struct Mapping {
    pub stream_id: Part,
    pub sequence: Part,
    /// A field with a value that begins so: an item without it is no event.
    pub include: Option<Part>,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { stream_id: ("pk", "ORDER#"), sequence: ("sk", "EVENT#"), include: Some(("sk", "EVENT#")) }
    }
}

fn text(item: &Value, (name, prefix): Part) -> Result<String> {
    let text = match item.get(name) {
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(Error::poison(format!("there is no field {name}"))),
    };
    let rest = text.strip_prefix(prefix).map(str::to_owned);
    rest.ok_or_else(|| Error::poison(format!("the field {name} does not begin with {prefix:?}")))
}

fn optional(item: &Value, name: &'static str) -> Option<String> {
    text(item, (name, "")).ok()
}

impl Decoder for Mapping {
    fn decode(&self, record: &Record, _: &dyn PayloadReads) -> Result<Option<Event>> {
        let item = Value::parse(&record.data).map_err(|error| Error::poison(error.to_string()))?;
        if self.include.is_some_and(|include| text(&item, include).is_err()) {
            return Ok(None);
        }
        let number = text(&item, self.sequence)?;
        let number: u64 = number.parse().map_err(|_| Error::poison(format!("no sequence: {number}")))?;
        let instant = |name| optional(&item, name).map(|text| Timestamp::parse(&text)).transpose();
        let recorded_at = instant("at")?.unwrap_or(record.arrived_at);
        let stream_id = StreamId::new(text(&item, self.stream_id)?);
        let payload = |name| match item.get(name) {
            Some(Value::Text(text)) => Payload::new(Bytes::copy_from_slice(text.as_bytes())),
            Some(map) => Payload::new(Bytes::from(map.to_canonical_json())),
            None => Payload::default(),
        };
        Ok(Some(Event {
            sequence: Sequence(number),
            id: EventId::new(optional(&item, "id").unwrap_or_else(|| format!("{stream_id}/{number}"))),
            stream_id,
            event_type: EventType::new(text(&item, ("type", ""))?),
            schema_version: SchemaVersion(optional(&item, "version").map_or(1, |text| text.parse().unwrap())),
            recorded_at,
            effective_at: instant("effective")?.unwrap_or(recorded_at),
            payload: payload("data"),
            metadata: payload("meta"),
        }))
    }
}

pub struct Bed {
    pub connection: Connection,
    pub client: Client,
    _server: Server,
}

impl Bed {
    pub fn new() -> Self {
        let server = Server::dynamodb();
        let connection = Connection::to(&server);
        Self { client: connection.dynamodb(), connection, _server: server }
    }

    /// Makes a table with the keys `pk` and `sk`.
    pub async fn make(&self, name: &str, sort: ScalarAttributeType) {
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
        };
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
        };
        let request = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let request = request
            .key_schema(key("pk", KeyType::Hash))
            .key_schema(key("sk", KeyType::Range))
            .attribute_definitions(attribute("pk", ScalarAttributeType::S))
            .attribute_definitions(attribute("sk", sort));
        request.send().await.unwrap();
    }

    pub async fn put(&self, table: &str, item: Item) {
        self.client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    pub async fn open(&self, settings: EventTable, mapping: Mapping) -> Result<DynamoEvents> {
        DynamoEvents::open(&self.connection, settings, Arc::new(mapping)).await
    }
}

/// A table of a single-table design.
pub fn settings(prefix: &str, width: Option<u8>) -> EventTable {
    EventTable {
        name: "shop".to_owned(),
        partition: PartitionKey { attribute: "pk".to_owned(), prefix: "ORDER#".to_owned() },
        sort: SortKey {
            attribute: "sk".to_owned(),
            holds: SortHolds::Sequence { prefix: prefix.to_owned(), width },
        },
    }
}

pub fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// An event as somebody else has written it.
pub fn item(pk: &str, sk: AttributeValue) -> Item {
    HashMap::from([
        ("pk".to_owned(), string(pk)),
        ("sk".to_owned(), sk),
        ("type".to_owned(), string("Happened")),
        ("at".to_owned(), string("2026-01-01T00:00:00Z")),
        ("data".to_owned(), string("{\"price\":4.50}")),
    ])
}

pub fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence.0).collect()
}
