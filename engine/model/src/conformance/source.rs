//! What a [`Source`] and its readers promise.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::{HOSTILE, begin_and_drop, together};
use crate::{
    ErrorKind, Position, Record, Shard, ShardId, Timestamp,
    ports::{Batch, From, ReadLimit, ShardReader, Source},
};

/// Makes streams for the suite.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// A new stream without records, with this many shards.
    async fn make(&self, shards: u32) -> Box<dyn StreamFixture>;
}

/// A stream that the suite may change.
#[async_trait]
pub trait StreamFixture: Send + Sync {
    fn source(&self) -> &dyn Source;

    /// Puts one record; where it went.
    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position);

    /// Splits an open shard in the middle of its keys.
    async fn split(&self, shard: &ShardId) -> [ShardId; 2];

    /// Merges two open shards that are adjacent. Not asked for where it is said that there are no merges.
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId;

    /// Whether shards can be merged; those of DynamoDB Streams have one parent each.
    fn has_merges(&self) -> bool {
        true
    }

    /// Trims every record put so far, or says that it cannot.
    async fn trim_all(&self) -> bool;

    /// An instant after the arrival of every record put before the call, and at or before that of every later one; not in
    /// the future.
    async fn instant(&self) -> Timestamp;
}

/// Checks a source.
pub async fn run(fixture: &dyn SourceFixture) {
    run_on_one_shard(fixture).await;
    shards_are_listed_with_their_keys(fixture).await;
    records_of_one_key_share_a_shard(fixture).await;
    a_split_ends_a_shard_and_opens_two(fixture).await;
    a_merge_ends_two_shards_and_opens_one(fixture).await;
    a_waiting_read_sees_the_end(fixture).await;
}

/// The same as far as one shard shows it, for a server that knows no more of them.
pub async fn run_on_one_shard(fixture: &dyn SourceFixture) {
    incarnations_tell_streams_apart(fixture).await;
    records_are_read_in_order_as_they_were_put(fixture).await;
    a_reader_begins_where_it_was_asked_to(fixture).await;
    a_reader_begins_at_an_instant(fixture).await;
    limits_are_kept_but_for_one_record(fixture).await;
    a_waiting_read_returns_what_comes(fixture).await;
    a_dropped_read_loses_nothing(fixture).await;
    what_was_trimmed_is_never_skipped_silently(fixture).await;
    the_oldest_record_behind_a_position_is_told(fixture).await;
    unknown_shards_are_refused(fixture).await;
}

const NOW: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };
/// Longer than any test takes: a read that waits so long has missed what it waits for.
const LONG: ReadLimit = ReadLimit { wait: Duration::from_secs(30), ..NOW };

async fn shards(source: &dyn Source) -> Vec<Shard> {
    source.shards().await.expect("shards are listed")
}

async fn only_shard(source: &dyn Source) -> ShardId {
    let mut shards = shards(source).await;
    assert_eq!(shards.len(), 1, "a stream has as many shards as it was made with");
    shards.remove(0).id
}

async fn open(source: &dyn Source, shard: &ShardId, from: From) -> Box<dyn ShardReader> {
    source.open(shard, from).await.expect("a reader is opened")
}

async fn read(reader: &mut Box<dyn ShardReader>, limit: ReadLimit) -> Batch {
    reader.read(limit).await.expect("a read is answered")
}

/// Reads up to the tip.
async fn drain(reader: &mut Box<dyn ShardReader>) -> (Vec<Record>, Batch) {
    let mut records = Vec::new();
    loop {
        let mut batch = read(reader, NOW).await;
        records.append(&mut batch.records);
        if batch.tip {
            return (records, batch);
        }
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

/// What a new reader finds from somewhere up to the tip.
async fn found(source: &dyn Source, shard: &ShardId, from: From) -> Vec<String> {
    texts(&drain(&mut open(source, shard, from).await).await.0)
}

async fn incarnations_tell_streams_apart(fixture: &dyn SourceFixture) {
    let (one, other) = (fixture.make(1).await, fixture.make(1).await);
    let incarnation = one.source().describe().await.expect("a source describes itself").incarnation;
    assert!(!incarnation.as_str().is_empty());
    let again = one.source().describe().await.expect("a source describes itself").incarnation;
    assert_eq!(incarnation, again, "an incarnation stays");
    let other = other.source().describe().await.expect("a source describes itself").incarnation;
    assert_ne!(incarnation, other, "another stream is another incarnation");
}

async fn shards_are_listed_with_their_keys(fixture: &dyn SourceFixture) {
    let stream = fixture.make(4).await;
    let listed = shards(stream.source()).await;
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|shard| shard.parents.is_empty()));
    let mut ranges: Vec<_> = listed.iter().filter_map(|shard| shard.range).collect();
    ranges.sort_by_key(|range| range.first);
    if let (Some(first), Some(last)) = (ranges.first(), ranges.last()) {
        assert_eq!((ranges.len(), first.first, last.last), (4, 0, u128::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "each key has one shard");
    }
}

async fn records_are_read_in_order_as_they_were_put(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    let mut put = Vec::new();
    for (number, key) in HOSTILE.iter().enumerate() {
        let (into, position) = stream.put(key, &format!("data {number}")).await;
        assert_eq!(into, shard);
        put.push((position, (*key).to_owned(), format!("data {number}")));
    }
    let (records, last) = drain(&mut open(stream.source(), &shard, From::TrimHorizon).await).await;
    assert!(last.tip && !last.end, "the newest records of an open shard are no end");
    assert!(last.behind.is_none_or(|behind| behind == 0));
    assert!(records.is_sorted_by(|a, b| a.position < b.position), "positions rise");
    assert!(
        records.is_sorted_by_key(|record| record.arrived_at) && records[0].position > Position::BEGINNING
    );
    let read = records.iter().zip(texts(&records));
    let read: Vec<_> = read
        .map(|(record, text)| (record.position.clone(), record.partition_key.to_string(), text))
        .collect();
    assert_eq!(read, put);
}

async fn records_of_one_key_share_a_shard(fixture: &dyn SourceFixture) {
    let stream = fixture.make(4).await;
    let mut homes: BTreeMap<String, ShardId> = BTreeMap::new();
    let mut put: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
    for number in 0..80 {
        let (key, data) = (format!("key-{}", number % 20), number.to_string());
        let (shard, _) = stream.put(&key, &data).await;
        let home = homes.entry(key).or_insert_with(|| shard.clone());
        assert_eq!(*home, shard, "a key has one shard");
        put.entry(shard).or_default().push(data);
    }
    assert!(put.len() > 1, "keys are spread over the shards");
    for (key, home) in &homes {
        let ranges =
            shards(stream.source()).await.into_iter().filter_map(|shard| Some((shard.id, shard.range?)));
        let falls_into = ranges.filter(|(_, range)| range.contains(stream.source().hash_key(key)));
        assert!(
            falls_into.map(|(shard, _)| shard).all(|shard| shard == *home),
            "the hash key says which one"
        );
    }
    for (shard, data) in &put {
        assert_eq!(found(stream.source(), shard, From::TrimHorizon).await, *data);
    }
}

async fn a_reader_begins_where_it_was_asked_to(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let source = stream.source();
    let shard = only_shard(source).await;
    assert!(found(source, &shard, From::TrimHorizon).await.is_empty());
    let mut latest = open(source, &shard, From::Latest).await;
    let mut positions = Vec::new();
    for number in 0..5 {
        positions.push(stream.put("key", &number.to_string()).await.1);
    }
    assert_eq!(
        texts(&drain(&mut latest).await.0),
        ["0", "1", "2", "3", "4"],
        "latest is where it was when asked"
    );
    assert!(found(source, &shard, From::Latest).await.is_empty());
    assert_eq!(found(source, &shard, From::After(Position::BEGINNING)).await, ["0", "1", "2", "3", "4"]);
    for (position, number) in positions.iter().zip(1usize..) {
        let mut reader = open(source, &shard, From::After(position.clone())).await;
        assert_eq!(reader.position(), *position);
        let rest: Vec<String> = (number..5).map(|number| number.to_string()).collect();
        assert_eq!(texts(&drain(&mut reader).await.0), rest);
    }
    let resumed = open(source, &shard, From::Latest).await.position();
    stream.put("key", "5").await;
    assert_eq!(found(source, &shard, From::After(resumed)).await, ["5"], "a position can be come back to");
}

async fn a_reader_begins_at_an_instant(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    let mut instants = vec![stream.instant().await];
    for number in 0..4 {
        stream.put("key", &number.to_string()).await;
        instants.push(stream.instant().await);
    }
    for (instant, number) in instants.into_iter().zip(0usize..) {
        let rest: Vec<String> = (number..4).map(|number| number.to_string()).collect();
        let from = From::AtTimestamp(instant);
        assert_eq!(found(stream.source(), &shard, from).await, rest, "instant={instant}");
    }
    let (records, _) = drain(&mut open(stream.source(), &shard, From::TrimHorizon).await).await;
    let at = From::AtTimestamp(records[2].arrived_at);
    assert_eq!(
        found(stream.source(), &shard, at).await,
        ["2", "3"],
        "what arrived at the instant is included"
    );
}

async fn the_oldest_record_behind_a_position_is_told(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let source = stream.source();
    let shard = only_shard(source).await;
    let oldest = async |position: &Position| {
        source.oldest_behind(&shard, position).await.expect("the oldest record is looked for")
    };
    assert_eq!(oldest(&Position::BEGINNING).await, None, "there is none");
    for data in ["a", "b", "c"] {
        stream.put("key", data).await;
    }
    let (records, _) = drain(&mut open(source, &shard, From::TrimHorizon).await).await;
    let [a, b, c] = &records[..] else { panic!("three records were put") };
    assert_eq!(oldest(&Position::BEGINNING).await, Some(a.arrived_at));
    assert_eq!(oldest(&a.position).await, Some(b.arrived_at));
    assert_eq!(oldest(&c.position).await, None, "nothing is behind the newest");
}

async fn limits_are_kept_but_for_one_record(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    for number in 0..6 {
        stream.put("key", &format!("{number} {}", "x".repeat(1_000))).await;
    }
    let mut reader = open(stream.source(), &shard, From::TrimHorizon).await;
    let mut first = read(&mut reader, ReadLimit { records: 2, ..NOW }).await;
    assert!(first.records.len() <= 2 && !first.records.is_empty() && !first.tip);
    assert!(first.behind.is_none_or(|behind| behind == 6 - first.records.len() as u64));
    let mut second = read(&mut reader, ReadLimit { bytes: 1, ..NOW }).await;
    assert_eq!(second.records.len(), 1, "one record is returned even if it is larger than asked for");
    let (mut rest, _) = drain(&mut reader).await;
    first.records.append(&mut second.records);
    first.records.append(&mut rest);
    let numbers: Vec<u8> = first.records.iter().map(|record| record.data[0]).collect();
    assert_eq!(numbers, b"012345", "nothing is skipped or doubled between reads");
}

async fn a_waiting_read_returns_what_comes(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    let mut reader = open(stream.source(), &shard, From::TrimHorizon).await;
    let empty = read(&mut reader, NOW).await;
    assert!(empty.records.is_empty() && empty.tip && !empty.end, "a read that does not wait returns nothing");
    let stream = &*stream;
    let reading: std::pin::Pin<Box<dyn Future<Output = Option<Batch>> + Send>> =
        Box::pin(async { Some(read(&mut reader, LONG).await) });
    let putting: std::pin::Pin<Box<dyn Future<Output = Option<Batch>> + Send>> = Box::pin(async move {
        stream.put("key", "late").await;
        None
    });
    let mut outputs = together([reading, putting]).await;
    let batch = outputs.swap_remove(0).expect("the first one reads");
    assert_eq!(texts(&batch.records), ["late"]);
}

async fn a_dropped_read_loses_nothing(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    let mut reader = open(stream.source(), &shard, From::TrimHorizon).await;
    let mut records = Vec::new();
    for number in 0..20 {
        if let Some(batch) = begin_and_drop(reader.read(LONG)).await {
            records.extend(batch.expect("a read is answered").records);
        }
        stream.put("key", &number.to_string()).await;
    }
    records.extend(drain(&mut reader).await.0);
    assert_eq!(texts(&records), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

async fn a_split_ends_a_shard_and_opens_two(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let source = stream.source();
    let parent = only_shard(source).await;
    stream.put("key", "before").await;
    let mut reader = open(source, &parent, From::TrimHorizon).await;
    let children = stream.split(&parent).await;
    let (records, last) = drain(&mut reader).await;
    assert_eq!(texts(&records), ["before"]);
    assert!(last.end || read(&mut reader, LONG).await.end, "a closed shard ends");
    let again = read(&mut reader, LONG).await;
    assert!(again.end && again.records.is_empty(), "an end stays an end");

    let listed = shards(source).await;
    let ids: Vec<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
    assert_eq!(ids[0], &parent, "parents before children");
    assert!(ids[1..].contains(&&children[0]) && ids[1..].contains(&&children[1]) && ids.len() == 3);
    assert!(listed[1..].iter().all(|child| child.parents == [parent.clone()]));
    let ranges: Vec<_> = listed.iter().filter_map(|shard| shard.range).collect();
    if let [of_parent, lower, upper] = ranges[..] {
        let (lower, upper) = if lower.first < upper.first { (lower, upper) } else { (upper, lower) };
        assert_eq!((lower.first, upper.last), (of_parent.first, of_parent.last));
        assert_eq!(lower.last + 1, upper.first);
    }
    let mut by_child: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
    for number in 0..20 {
        let (shard, _) = stream.put(&format!("key-{number}"), &number.to_string()).await;
        by_child.entry(shard).or_default().push(number.to_string());
    }
    assert!(by_child.keys().eq(children.iter()), "the children take what comes: {by_child:?}");
    for (child, data) in &by_child {
        assert_eq!(found(source, child, From::TrimHorizon).await, *data);
    }
    assert_eq!(found(source, &parent, From::TrimHorizon).await, ["before"], "the parent can be read again");
}

async fn a_merge_ends_two_shards_and_opens_one(fixture: &dyn SourceFixture) {
    let stream = fixture.make(2).await;
    let source = stream.source();
    let parents: Vec<ShardId> = shards(source).await.into_iter().map(|shard| shard.id).collect();
    if !stream.has_merges() {
        return;
    }
    let child = stream.merge(&parents[0], &parents[1]).await;
    for parent in &parents {
        let mut reader = open(source, parent, From::TrimHorizon).await;
        assert!(read(&mut reader, LONG).await.end, "an empty shard ends too");
    }
    let listed = shards(source).await;
    let merged = listed.last().expect("three shards");
    assert_eq!((listed.len(), &merged.id), (3, &child));
    let mut of_child = merged.parents.clone();
    of_child.sort();
    assert_eq!(of_child, parents);
    for number in 0..10 {
        assert_eq!(stream.put(&format!("key-{number}"), "x").await.0, child);
    }
    let [grandchild, _] = stream.split(&child).await;
    assert!(
        shards(source).await.iter().any(|shard| shard.id == grandchild && shard.parents == [child.clone()])
    );
}

async fn a_waiting_read_sees_the_end(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let shard = only_shard(stream.source()).await;
    let mut reader = open(stream.source(), &shard, From::TrimHorizon).await;
    let (stream, closing) = (&*stream, shard.clone());
    let reading: std::pin::Pin<Box<dyn Future<Output = Option<Batch>> + Send>> = Box::pin(async {
        loop {
            let batch = read(&mut reader, LONG).await;
            if batch.end {
                return Some(batch);
            }
        }
    });
    let splitting: std::pin::Pin<Box<dyn Future<Output = Option<Batch>> + Send>> = Box::pin(async move {
        stream.split(&closing).await;
        None
    });
    let mut outputs = together([reading, splitting]).await;
    assert!(outputs.swap_remove(0).expect("the first one reads").records.is_empty());
}

async fn what_was_trimmed_is_never_skipped_silently(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let source = stream.source();
    let shard = only_shard(source).await;
    let mut behind = open(source, &shard, From::TrimHorizon).await;
    let first = stream.put("key", "0").await.1;
    stream.put("key", "1").await;
    if !stream.trim_all().await {
        return;
    }
    let kept = stream.put("key", "2").await.1;
    let horizon = open(source, &shard, From::TrimHorizon).await.position();
    assert!(horizon < kept, "the trim horizon is in front of what is kept: {horizon}");
    let error = behind.read(NOW).await.expect_err("records were trimmed before they were read");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for from in [From::After(first), From::After(Position::BEGINNING)] {
        let error = source.open(&shard, from).await.err().expect("what is asked for was trimmed");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(found(source, &shard, From::TrimHorizon).await, ["2"]);
}

async fn unknown_shards_are_refused(fixture: &dyn SourceFixture) {
    let stream = fixture.make(1).await;
    let unknown = ShardId::new("shardId-000000000099");
    let error =
        stream.source().open(&unknown, From::TrimHorizon).await.err().expect("there is no such shard");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
