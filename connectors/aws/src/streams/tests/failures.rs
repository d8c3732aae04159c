//! What happens when DynamoDB does not simply answer.

use std::{sync::Arc, time::Duration};

use foldstream_model::{
    Error, ErrorKind, PayloadReads, Position, Record, Result, ShardId, Value,
    ports::{Batch, Decoder, From, ReadLimit, ShardReader, Source},
};

use super::{StreamsSource, data, memory::Fake};
use crate::{
    change::{ChangeDecoder, OnChange},
    memory::Reply,
};

const HOUR: i64 = 60 * 60;
const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };

struct One {
    fake: Fake,
    source: StreamsSource,
    shard: ShardId,
}

impl One {
    fn new() -> Self {
        let fake = Fake::with_shards(1, 1);
        let source = fake.source();
        let shard = fake.change(|stream| ShardId::new(stream.shards[0].id.as_str()));
        Self { fake, source, shard }
    }

    async fn open(&self, from: From) -> Result<Box<dyn ShardReader>> {
        self.source.open(&self.shard, from).await
    }
}

async fn read(reader: &mut Box<dyn ShardReader>) -> Result<Batch> {
    reader.read(LIMIT).await
}

async fn found(reader: &mut Box<dyn ShardReader>) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    loop {
        let batch = read(reader).await.unwrap();
        found.extend(batch.records.iter().map(data));
        if batch.tip {
            return (found, batch.end);
        }
    }
}

#[track_caller]
fn is_loss(error: Option<Error>) {
    let error = error.expect("records were trimmed before they were read");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("trimmed before they were read"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_has_expired_is_asked_for_anew_and_goes_on_where_it_was() {
    let one = One::new();
    one.fake.put_now("key", "0");
    let mut reader = one.open(From::TrimHorizon).await.unwrap();
    for number in 0..3 {
        assert_eq!(found(&mut reader).await.0, [number.to_string()]);
        one.fake.put_now("key", &(number + 1).to_string());
        one.fake.passes(HOUR / 2);
    }
    one.fake.passes(25 * HOUR);
    one.fake.put_now("key", "late");
    for _ in 0..2 {
        is_loss(read(&mut reader).await.err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stretch_without_records_is_neither_the_tip_nor_the_end() {
    let one = One::new();
    for number in 0..3 {
        one.fake.put_now("key", &number.to_string());
    }
    one.fake.change(|stream| stream.stretch = 2);
    let mut reader = one.open(From::TrimHorizon).await.unwrap();
    let mut newest = one.open(From::Latest).await.unwrap();
    assert_eq!(found(&mut reader).await.0, ["0", "1", "2"]);
    one.fake.change(|stream| stream.stretch = 0);
    one.fake.put_now("key", "3");
    assert_eq!(found(&mut newest).await.0, ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_read_to_its_end_is_no_loss_and_another_one_is() {
    let one = One::new();
    let first = one.fake.put_now("key", "0").1;
    one.fake.put_now("key", "1");
    let end = one.fake.change(|stream| {
        let shard = stream.shards[0].id.clone();
        stream.close(&shard);
        Position::new(stream.shards[0].last.unwrap())
    });
    assert_eq!(
        found(&mut one.open(From::After(first.clone())).await.unwrap()).await,
        (vec!["1".into()], true)
    );
    one.fake.passes(25 * HOUR);
    is_loss(one.open(From::After(first)).await.err());
    is_loss(one.open(From::After(Position::BEGINNING)).await.err());
    let refused = one.open(From::After(end)).await.err().unwrap();
    assert!(refused.message().contains("never had such a record"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_behind_a_position_is_missed() {
    let one = One::new();
    let first = one.fake.put_now("key", "0").1;
    one.fake.passes(HOUR);
    one.fake.put_now("key", "1");
    let mut reader = one.open(From::After(first.clone())).await.unwrap();
    assert_eq!(found(&mut reader).await.0, ["1"]);
    one.fake.passes(23 * HOUR + HOUR / 2);
    is_loss(one.open(From::After(first)).await.err());
    one.fake.passes(HOUR);
    let mut reader = one.open(From::TrimHorizon).await.unwrap();
    assert!(found(&mut reader).await.0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_trimmed_in_a_moment_is_not_begun_with() {
    let one = One::new();
    for number in 0..10 {
        one.fake.put_now("key", &number.to_string());
        one.fake.passes(60);
    }
    one.fake.passes(24 * HOUR - 10 * 60);
    let position = one.open(From::TrimHorizon).await.unwrap().position();
    one.fake.passes(4 * 60);
    assert_eq!(found(&mut one.open(From::After(position)).await.unwrap()).await.0, ["5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_names_other_readers_and_failures_skip_nothing() {
    let one = One::new();
    let mut reader = one.open(From::TrimHorizon).await.unwrap();
    (0..3).for_each(|number| drop(one.fake.put_now("key", &number.to_string())));
    for reply in [
        Reply::Refused("LimitExceededException"),
        Reply::Refused("ProvisionedThroughputExceededException"),
        Reply::Reset,
        Reply::Refused("InternalServerError"),
    ] {
        one.fake.change(|stream| stream.failures.push_back(reply));
    }
    for kind in [ErrorKind::Throttled, ErrorKind::Throttled, ErrorKind::Transient, ErrorKind::Transient] {
        let error = read(&mut reader).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(
            error.message().contains("look for other readers"),
            kind == ErrorKind::Throttled,
            "{error}"
        );
    }
    assert_eq!(found(&mut reader).await.0, ["0", "1", "2"]);
    let calls = one.fake.change(|stream| stream.calls.clone());
    assert!(calls.windows(2).any(|pair| pair[1] - pair[0] >= Duration::from_secs(1)), "it slows down");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_switched_on_again_is_another_incarnation() {
    let one = One::new();
    let before = one.source.describe().await.unwrap();
    assert_eq!(before, one.source.describe().await.unwrap());
    one.fake.change(|stream| stream.label = 2);
    assert_ne!(before, one.source.describe().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_new_images_is_refused() {
    let one = One::new();
    one.fake.change(|stream| stream.view_type = "KEYS_ONLY");
    let error = one.source.describe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("view_type=KEYS_ONLY"), "{error}");
}

/// Shows an item as it was decoded.
struct Item;

impl Decoder for Item {
    fn decode(&self, record: &Record, _: &dyn PayloadReads) -> Result<Option<foldstream_model::Event>> {
        let item = Value::parse(&record.data).map_err(|error| Error::poison(error.to_string()))?;
        Err(Error::poison(format!("{} {item:?}", record.arrived_at)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_has_the_json_that_dynamodb_writes_into_kinesis() {
    let one = One::new();
    one.fake.passes(7);
    one.fake.put_now("order-1", "x \"y\"");
    let mut reader = one.open(From::TrimHorizon).await.unwrap();
    let record = read(&mut reader).await.unwrap().records.remove(0);
    let expected = format!(
        concat!(
            r#"{{"awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":7000,"#,
            r#""ApproximateCreationDateTimePrecision":"MILLISECOND","Keys":{{"pk":{{"S":"order-1"}}}},"#,
            r#""NewImage":{{"data":{{"S":"x \"y\""}},"pk":{{"S":"order-1"}}}},"SizeBytes":10}},"#,
            r#""eventID":"event-{}","eventName":"INSERT","userIdentity":null,"#,
            r#""recordFormat":"application/json","tableName":"shop","eventSource":"aws:dynamodb"}}"#
        ),
        record.position
    );
    assert_eq!(std::str::from_utf8(&record.data).unwrap(), expected);
    assert_eq!(&*record.partition_key, "order-1");
    let decoder = ChangeDecoder::new(Arc::new(Item), OnChange::Park, OnChange::Park);
    let shown = decoder.decode(&record, &()).unwrap_err();
    assert!(shown.message().starts_with("1970-01-01T00:00:07"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_unread_change_is_found_and_a_quiet_shard_has_none_however_long() {
    let one = One::new();
    let source = one.fake.source();
    let shard = source.shards().await.unwrap().remove(0).id;
    let oldest = async |position: &Position| {
        let oldest = source.oldest_behind(&shard, position).await.unwrap();
        oldest.map(|oldest| oldest.micros() / 1_000_000)
    };
    let first = one.fake.put_now("key", "0").1;
    one.fake.passes(HOUR);
    let second = one.fake.put_now("key", "1").1;
    assert_eq!(oldest(&Position::BEGINNING).await, Some(0));
    assert_eq!(oldest(&first).await, Some(HOUR));
    one.fake.passes(30 * HOUR);
    assert_eq!(oldest(&second).await, None, "nothing is unread");
    one.fake.put_now("key", "2");
    assert_eq!(oldest(&second).await, Some(31 * HOUR), "and it is as young as it is");
}
