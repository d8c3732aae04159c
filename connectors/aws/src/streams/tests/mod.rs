//! Against a server, and a service in memory for what no server does.

pub(crate) mod memory;
mod failures;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        StreamSpecification, StreamViewType,
    },
};
use foldstream_model::{
    Clock, Position, Record, Result, Shard, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::{Batch, From, ReadLimit, ShardReader, Source, SourceDescription},
};
use foldstream_test_servers::Server;

use super::{StreamsOptions, StreamsSource};
use crate::{Connection, testing::WallClock};

const PAUSE: Duration = Duration::from_millis(10);

/// A table with a stream: partition key `pk`, sort key `sk`, a number.
pub(crate) async fn make_table(client: &Client, table: &str) {
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()
        .unwrap();
    let request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let request = request.key_schema(key("pk", KeyType::Hash)).key_schema(key("sk", KeyType::Range));
    let request = request.attribute_definitions(attribute("pk", ScalarAttributeType::S));
    let request = request.attribute_definitions(attribute("sk", ScalarAttributeType::N));
    request.stream_specification(stream).send().await.unwrap();
}

pub(crate) async fn put_item(client: &Client, table: &str, (pk, sk): (&str, u64), data: &str) {
    let request = client.put_item().table_name(table).item("pk", AttributeValue::S(pk.to_owned()));
    let request = request.item("sk", AttributeValue::N(sk.to_string()));
    request.item("data", AttributeValue::S(data.to_owned())).send().await.unwrap();
}

/// Tables on a server.
struct Tables {
    connection: Connection,
    made: AtomicU64,
    _server: Server,
}

#[async_trait]
impl SourceFixture for Tables {
    async fn make(&self, _: u32) -> Box<dyn StreamFixture> {
        let table = format!("table-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let client = self.connection.dynamodb();
        make_table(&client, &table).await;
        let options = StreamsOptions { calls_per_second: 1_000, ..StreamsOptions::new(&table) };
        let source = Data(StreamsSource::new(&self.connection, options, Arc::new(WallClock)));
        Box::new(Table { client, table, source, put: AtomicU64::new(0) })
    }
}

struct Table {
    client: Client,
    table: String,
    source: Data,
    put: AtomicU64,
}

#[async_trait]
impl StreamFixture for Table {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position) {
        let number = self.put.fetch_add(1, Ordering::Relaxed);
        put_item(&self.client, &self.table, (partition_key, number), data).await;
        let shard = self.source.shards().await.unwrap().remove(0).id;
        let position = self.source.open(&shard, From::Latest).await.unwrap().position();
        (shard, position)
    }

    async fn split(&self, _: &ShardId) -> [ShardId; 2] {
        unreachable!("the suite for one shard splits none")
    }

    async fn merge(&self, _: &ShardId, _: &ShardId) -> ShardId {
        unreachable!("there are no merges")
    }

    fn has_merges(&self) -> bool {
        false
    }

    async fn trim_all(&self) -> bool {
        false
    }

    async fn instant(&self) -> Timestamp {
        let tick = 1_000_000;
        let next = (WallClock.now().micros() / tick + 1) * tick;
        while WallClock.now().micros() <= next {
            tokio::time::sleep(PAUSE).await;
        }
        Timestamp::from_micros(next)
    }
}

/// A source of which a record is no more than what the suite has put: the attribute `data` of an item.
struct Data(StreamsSource);

struct DataReader(Box<dyn ShardReader>);

#[async_trait]
impl Source for Data {
    async fn describe(&self) -> Result<SourceDescription> {
        self.0.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        self.0.shards().await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        Ok(Box::new(DataReader(self.0.open(shard, from).await?)))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.0.hash_key(partition_key)
    }
}

#[async_trait]
impl ShardReader for DataReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let mut batch = self.0.read(limit).await?;
        for record in &mut batch.records {
            record.data = data(record).into();
        }
        Ok(batch)
    }

    fn position(&self) -> Position {
        self.0.position()
    }
}

pub(crate) fn data(record: &Record) -> String {
    let change: serde_json::Value = serde_json::from_slice(&record.data).unwrap();
    change["dynamodb"]["NewImage"]["data"]["S"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_passes_the_suite_on_one_shard() {
    let server = Server::ministack();
    let connection = Connection::to(&server);
    let tables = Tables { connection, made: AtomicU64::new(0), _server: server };
    conformance::source::run_on_one_shard(&tables).await;
}
