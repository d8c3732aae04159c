//! What was trimmed before it was read is missed; where a reader begins; throttles and lost answers.

use std::time::Duration;

use foldstream_model::{
    Clock, Error, ErrorKind, Position, Result, ShardId,
    ports::{Batch, From, ReadLimit, ShardReader, Source},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    super::{KinesisSource, Reading},
    fake::{DAY, Fake, HOUR, number},
};
use crate::memory::Reply;

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };

async fn open(source: &KinesisSource, from: From) -> Result<Box<dyn ShardReader>> {
    source.open(&ShardId::new("shard"), from).await
}

async fn read(reader: &mut Box<dyn ShardReader>) -> Result<Batch> {
    reader.read(LIMIT).await
}

/// The records' ranks.
async fn found(reader: &mut Box<dyn ShardReader>) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let batch = read(reader).await.unwrap();
        found.extend(batch.records.iter().map(|record| record.partition_key.to_string()));
        if batch.tip {
            return found;
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
async fn what_was_trimmed_behind_a_position_is_missed() {
    let (fake, source) = both();
    let first = fake.put();
    fake.passes(HOUR);
    fake.put();
    fake.passes(DAY - HOUR);
    fake.put();
    let mut reader = open(&source, From::After(first.clone())).await.unwrap();
    assert_eq!(found(&mut reader).await, ["2", "3"]);
    fake.passes(HOUR / 2);
    is_loss(open(&source, From::After(first)).await.err());
    is_loss(open(&source, From::After(Position::BEGINNING)).await.err());
}

fn both() -> (Fake, KinesisSource) {
    let fake = Fake::default();
    let source = fake.source(Reading::Polling);
    (fake, source)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_shard_is_no_loss() {
    let (fake, source) = both();
    let last = fake.put();
    let mut reader = open(&source, From::After(last.clone())).await.unwrap();
    for _ in 0..40 {
        fake.passes(HOUR);
        assert!(found(&mut reader).await.is_empty());
    }
    fake.put();
    assert_eq!(found(&mut reader).await, ["2"], "it has looked all the while");
    let mut reader = open(&source, From::After(last.clone())).await;
    is_loss(reader.err());
    fake.passes(2 * DAY);
    reader = open(&source, From::After(last)).await;
    assert!(found(&mut reader.unwrap()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_behind_the_trim_horizon_says_so_and_never_jumps() {
    let (fake, source) = both();
    for _ in 0..10 {
        fake.put();
        fake.passes(HOUR);
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let two = ReadLimit { records: 2, bytes: 2, ..LIMIT };
    let mut last = Position::BEGINNING;
    while last.number() != number(3).to_string() {
        last = reader.read(two).await.unwrap().records.pop().unwrap().position;
    }
    fake.passes(DAY - 8 * HOUR);
    let mut late = open(&source, From::After(last.clone())).await.unwrap();
    assert_eq!(late.read(two).await.unwrap().records.len(), 2, "the last one that was read is kept still");
    fake.passes(DAY);
    for _ in 0..2 {
        is_loss(late.read(two).await.err());
        is_loss(reader.read(two).await.err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_trim_horizon_is_a_place_that_can_be_come_back_to() {
    let (fake, source) = both();
    for _ in 0..100 {
        fake.put();
        fake.passes(HOUR / 60);
    }
    assert_eq!(
        open(&source, From::TrimHorizon).await.unwrap().position().number(),
        (number(1) - 1).to_string()
    );
    fake.passes(DAY - HOUR);
    let position = open(&source, From::TrimHorizon).await.unwrap().position();
    fake.passes(4 * 60);
    let mut reader = open(&source, From::After(position)).await.unwrap();
    let kept = found(&mut reader).await;
    assert!((50..60).contains(&kept.len()), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn the_newest_record_is_found_however_old() {
    for age in [0, 1, 59, HOUR, 5 * HOUR, 23 * HOUR] {
        let (fake, source) = both();
        let mut newest = Position::BEGINNING;
        for _ in 0..30 {
            fake.passes(7);
            newest = fake.put();
        }
        fake.passes(age);
        let mut reader = open(&source, From::Latest).await.unwrap();
        assert_eq!(reader.position(), newest, "age={age}");
        fake.passes(1);
        fake.put();
        assert_eq!(found(&mut reader).await, ["31"]);
        let from = From::AtTimestamp(fake.now());
        assert_eq!(found(&mut open(&source, from).await.unwrap()).await, ["31"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_record_is_found_though_clocks_differ() {
    for (age, ahead) in [(0, 60), (30, 60), (HOUR, 60), (30, -60), (0, -240)] {
        let (fake, source) = both();
        fake.passes(2 * HOUR);
        fake.put();
        fake.passes(60);
        let newest = fake.put();
        fake.passes(age);
        fake.0.lock().unwrap().ahead = ahead;
        assert_eq!(open(&source, From::Latest).await.unwrap().position(), newest, "age={age} ahead={ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_of_which_nothing_is_left_is_not_taken_for_one_that_was_read() {
    let (fake, source) = both();
    let read = fake.put();
    fake.put();
    fake.0.lock().unwrap().is_closed = true;
    assert!(read_to_end(&mut open(&source, From::After(read.clone())).await.unwrap()).await);
    fake.passes(2 * DAY);
    is_loss(open(&source, From::After(read)).await.err());
}

async fn read_to_end(reader: &mut Box<dyn ShardReader>) -> bool {
    while !read(reader).await.unwrap().tip {}
    read(reader).await.unwrap().end
}

#[tokio::test(start_paused = true)]
async fn failures_skip_nothing_and_a_throttle_slows_down() {
    let (fake, source) = both();
    for _ in 0..3 {
        fake.put();
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    assert_eq!(read(&mut reader).await.unwrap().records.len(), 1);
    for reply in [
        Reply::Refused("ProvisionedThroughputExceededException"),
        Reply::Refused("LimitExceededException"),
        Reply::Reset,
        Reply::Refused("InternalFailure"),
    ] {
        fake.fails(reply);
    }
    let mut kinds = Vec::new();
    for _ in 0..4 {
        kinds.push(read(&mut reader).await.unwrap_err().kind());
    }
    assert_eq!(
        kinds,
        [ErrorKind::Throttled, ErrorKind::Throttled, ErrorKind::Transient, ErrorKind::Transient]
    );
    assert_eq!(found(&mut reader).await, ["2", "3"]);
    let calls = fake.calls();
    let last = calls[calls.len() - 1] - calls[calls.len() - 2];
    assert_eq!(last, Duration::from_millis(800), "each throttle doubles the time between two calls");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waits_asks_as_often_as_it_was_told_to() {
    let (fake, source) = both();
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let (before, begun) = (fake.calls().len(), Instant::now());
    let limit = ReadLimit { wait: Duration::from_millis(500), ..LIMIT };
    for _ in 0..20 {
        assert!(reader.read(limit).await.unwrap().records.is_empty());
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(fake.calls().len() - before, 20);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_leads_nowhere_is_no_way_to_begin() {
    let (fake, source) = both();
    let trimmed = fake.put();
    fake.passes(DAY - HOUR);
    let kept = fake.put();
    fake.passes(2 * HOUR);
    fake.fails_for_ever(Reply::Done(json!({
        "Records": [], "NextShardIterator": "1", "MillisBehindLatest": DAY * 1_000,
    })));
    is_loss(open(&source, From::After(trimmed)).await.err());
    assert!(open(&source, From::After(kept)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn as_much_is_asked_for_as_is_wanted() {
    let (fake, source) = both();
    for _ in 0..3_000 {
        fake.put();
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let limit = ReadLimit { records: 100, bytes: 1_000, wait: Duration::ZERO };
    let mut read = 0;
    while read < 3_000 {
        read += reader.read(limit).await.unwrap().records.len();
    }
    let calls = fake.calls().len();
    assert!(
        (3..15).contains(&calls),
        "a record has up to 4 bytes, so each call brings at least 250: {calls}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_left_over_says_nothing_of_the_tip() {
    let (fake, source) = both();
    for _ in 0..5 {
        fake.put();
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let two = ReadLimit { records: 2, ..LIMIT };
    let mut tips = Vec::new();
    for _ in 0..4 {
        let batch = reader.read(two).await.unwrap();
        tips.push((batch.records.len(), batch.tip));
        fake.passes(HOUR);
    }
    assert_eq!(tips, [(1, false), (2, false), (2, false), (0, true)]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_unread_record_is_found_and_a_quiet_shard_has_none_however_long() {
    let (fake, source) = both();
    let oldest = async |position: &Position| {
        let oldest = source.oldest_behind(&ShardId::new("shard"), position).await.unwrap();
        oldest.map(|oldest| oldest.micros() / 1_000_000)
    };
    assert_eq!(oldest(&Position::BEGINNING).await, None);
    let first = fake.put();
    fake.passes(HOUR);
    let second = fake.put();
    assert_eq!(oldest(&Position::BEGINNING).await, Some(0));
    assert_eq!(oldest(&first).await, Some(HOUR));
    assert_eq!(oldest(&first.with_index(u32::MAX)).await, Some(HOUR), "of an aggregate, too");
    fake.passes(3 * DAY);
    assert_eq!(oldest(&second).await, None, "nothing is unread");
    fake.put();
    assert_eq!(oldest(&second).await, Some(3 * DAY + HOUR), "and it is as young as it is");
}
