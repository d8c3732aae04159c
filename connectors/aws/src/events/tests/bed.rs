//! Tables of events on a server, and a decoder for them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType,
    },
};
use bytes::Bytes;
use foldstream_model::{
    Clock, Error, Event, EventId, EventType, Payload, PayloadReads, Record, Result, SchemaVersion, Sequence,
    StreamId, Timestamp, Value,
    ports::{Append, Decoder, ExpectedSequence, NewEvent},
};
use foldstream_test_servers::Server;

use super::super::*;
use crate::{
    Connection,
    dynamodb::Item,
    testing::{TestIds, WallClock},
};

/// A field, and what stands before its value.
pub type Part = (&'static str, &'static str);

/// Reads `type`, `at` and `data`, and what is named.
#[derive(Clone)]
pub struct Mapping {
    pub stream_id: Part,
    pub sequence: Part,
    pub id: &'static str,
    /// A field with a value that begins so: an item without it is no event.
    pub include: Option<Part>,
}

impl Default for Mapping {
    fn default() -> Self {
        let include = Some(("sk", "EVENT#"));
        Self { stream_id: ("pk", "ORDER#"), sequence: ("sk", "EVENT#"), id: "id", include }
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
            id: EventId::new(optional(&item, self.id).unwrap_or_else(|| format!("{stream_id}/{number}"))),
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
    pub clock: Arc<TestClock>,
    pub ids: Arc<TestIds>,
    _server: Server,
}

/// The machine's own clock, or wherever it was set.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.micros(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        match self.0.load(Ordering::Relaxed) {
            0 => WallClock.now(),
            micros => Timestamp::from_micros(micros),
        }
    }
}

impl Bed {
    pub fn new() -> Self {
        let server = Server::dynamodb();
        let connection = Connection::to(&server);
        let (clock, ids) = Default::default();
        Self { client: connection.dynamodb(), connection, clock, ids, _server: server }
    }

    /// Makes a table with the keys `pk` and `sk`.
    pub async fn make(&self, name: &str, sort: ScalarAttributeType) {
        self.make_with_index(name, sort, None).await;
    }

    /// Makes a table, and an index with the keys `shard`, of this type, and `ksuid`.
    pub async fn make_with_index(
        &self,
        name: &str,
        sort: ScalarAttributeType,
        index: Option<(ScalarAttributeType, ProjectionType)>,
    ) {
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
        let request = match index {
            None => request,
            Some((shard, projection)) => {
                let index = GlobalSecondaryIndex::builder()
                    .index_name("all")
                    .key_schema(key("shard", KeyType::Hash))
                    .key_schema(key("ksuid", KeyType::Range))
                    .projection(Projection::builder().projection_type(projection).build())
                    .build()
                    .unwrap();
                request
                    .attribute_definitions(attribute("shard", shard))
                    .attribute_definitions(attribute("ksuid", ScalarAttributeType::S))
                    .global_secondary_indexes(index)
            }
        };
        request.send().await.unwrap();
    }

    pub async fn put(&self, table: &str, item: Item) {
        self.client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    pub async fn open(&self, settings: EventTable, mapping: Mapping) -> Result<DynamoEvents> {
        let mapping = Arc::new(mapping);
        DynamoEvents::open(&self.connection, settings, mapping, self.clock.clone(), self.ids.clone()).await
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
        first: Sequence(1),
        written: None,
        order: None,
    }
}

/// The same, to be appended to.
pub fn written(prefix: &str, width: Option<u8>) -> EventTable {
    let part =
        |path: &str, prefix: &str| WrittenPart { path: path.parse().unwrap(), prefix: prefix.to_owned() };
    let payload =
        |path: &str| Some(WrittenPayload { path: path.parse().unwrap(), encoding: WrittenEncoding::Json });
    let parts = WrittenParts {
        stream_id: part("pk", "ORDER#"),
        sequence: part("sk", prefix),
        event_type: part("type", ""),
        id: Some(part("id", "")),
        schema_version: Some(part("version", "")),
        recorded_at: part("at", ""),
        effective_at: Some(part("effective", "")),
        payload: payload("data"),
        metadata: payload("meta"),
        constants: vec![("kind".parse().unwrap(), Value::from("event"))],
    };
    EventTable { written: Some(parts), ..settings(prefix, width) }
}

/// The same, with the index.
pub fn ordered(prefix: &str, width: Option<u8>, safe_window: Duration) -> EventTable {
    let order = CommitOrder {
        index: "all".to_owned(),
        shard: "shard".to_owned(),
        shards: 3,
        id: "ksuid".to_owned(),
        safe_window,
    };
    EventTable { order: Some(order), ..written(prefix, width) }
}

pub fn new_event(payload: &str) -> NewEvent {
    NewEvent {
        id: EventId::new("e"),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_seconds(1_795_000_000),
        effective_at: Timestamp::from_seconds(1_795_000_000),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        metadata: Bytes::new(),
    }
}

pub fn append(stream: &str, expected: ExpectedSequence, count: usize) -> Append {
    let events = (0..count).map(|number| new_event(&format!("{{\"number\":{number}}}"))).collect();
    Append { stream: StreamId::new(stream), expected, events }
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
