//! Subscriptions that are refused, taken over, reset, silent or over.

use std::time::Duration;

use foldstream_model::{
    ErrorKind, ShardId,
    ports::{From, ReadLimit, ShardReader, Source},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::{KinesisSource, Reading},
    fake::{DAY, Fake, number},
};
use crate::memory::{Reply, Then};

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::from_secs(1) };
const OF: &str = "SubscribeToShardEvent";

/// A shard with so many records, of which polls see some.
fn shard(records: usize, polls_see: usize) -> (Fake, KinesisSource) {
    let fake = Fake::default();
    for _ in 0..records {
        fake.put();
    }
    fake.0.lock().unwrap().polls_see = Some(polls_see);
    let source = fake.source(Reading::FanOut {
        consumer: "arn:aws:kinesis:us-east-1:123456789012:stream/events/consumer/foldstream:1".to_owned(),
    });
    (fake, source)
}

fn pushes(fake: &Fake, events: &[(usize, usize)], then: Then) {
    let events = events.iter().map(|(first, last)| fake.event(*first, *last)).collect();
    fake.0.lock().unwrap().subscriptions.push_back(Reply::Events { of: OF, events, then });
}

async fn open(source: &KinesisSource) -> Box<dyn ShardReader> {
    source.open(&ShardId::new("shard"), From::TrimHorizon).await.unwrap()
}

/// The ranks of so many records, which come within a minute; and whether the shard has ended.
async fn found(reader: &mut Box<dyn ShardReader>, records: usize) -> (Vec<String>, bool) {
    let (begun, mut found) = (Instant::now(), Vec::new());
    loop {
        let batch = reader.read(LIMIT).await.unwrap();
        found.extend(batch.records.iter().map(|record| record.partition_key.to_string()));
        if found.len() >= records || batch.end {
            return (found, batch.end);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{found:?}");
    }
}

fn ranks(to: usize) -> Vec<String> {
    (1..=to).map(|nth| nth.to_string()).collect()
}

fn after(nth: usize) -> Value {
    json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number(nth).to_string() })
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_over_is_renewed_where_it_stopped() {
    let (fake, source) = shard(6, 1);
    pushes(&fake, &[(2, 3), (4, 4)], Then::Ends);
    pushes(&fake, &[(5, 6)], Then::IsSilent);
    let mut reader = open(&source).await;
    assert_eq!(found(&mut reader, 6).await.0, ranks(6));
    assert_eq!(fake.0.lock().unwrap().subscribed, [after(1), after(4)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_event_of_a_shard_is_its_end() {
    let (fake, source) = shard(4, 1);
    fake.0.lock().unwrap().is_closed = true;
    pushes(&fake, &[(2, 3), (4, 4)], Then::Ends);
    let mut reader = open(&source).await;
    assert_eq!(found(&mut reader, 9).await, (ranks(4), true));
    assert!(reader.read(LIMIT).await.unwrap().end);
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_polled_while_its_subscription_is_refused() {
    for reply in [
        Reply::Refused("ResourceInUseException"),
        Reply::Refused("LimitExceededException"),
        Reply::Refused("ResourceNotFoundException"),
        Reply::Reset,
        Reply::Silence,
    ] {
        let (fake, source) = shard(5, 3);
        fake.0.lock().unwrap().subscriptions.push_back(reply);
        let mut reader = open(&source).await;
        assert_eq!(found(&mut reader, 3).await.0, ranks(3));
        pushes(&fake, &[(4, 5)], Then::IsSilent);
        assert_eq!(found(&mut reader, 2).await.0, ["4", "5"], "it is tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_breaks_loses_and_doubles_nothing() {
    for then in [
        Then::IsCut,
        Then::IsSilent,
        Then::Fails("ResourceInUseException"),
        Then::Fails("InternalFailureException"),
    ] {
        let (fake, source) = shard(7, 1);
        pushes(&fake, &[(2, 3), (4, 5)], then);
        let mut reader = open(&source).await;
        assert_eq!(found(&mut reader, 3).await.0, ranks(3));
        fake.0.lock().unwrap().polls_see = Some(6);
        pushes(&fake, &[(4, 7)], Then::IsSilent);
        assert_eq!(found(&mut reader, 4).await.0, ["4", "5", "6", "7"], "then={then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_allowed_says_so() {
    let (fake, source) = shard(1, 1);
    fake.0.lock().unwrap().subscriptions.push_back(Reply::Refused("AccessDeniedException"));
    let mut reader = open(&source).await;
    assert_eq!(found(&mut reader, 1).await.0, ranks(1));
    let error = loop {
        if let Err(error) = reader.read(LIMIT).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("lacks this permission"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_after_records_were_trimmed_is_not_taken() {
    let (fake, source) = shard(2, 2);
    pushes(&fake, &[(2, 2)], Then::IsSilent);
    let mut reader = open(&source).await;
    assert_eq!(found(&mut reader, 2).await.0, ranks(2));
    fake.put();
    fake.passes(2 * DAY);
    fake.put();
    pushes(&fake, &[(4, 4)], Then::IsSilent);
    for _ in 0..2 {
        let error = loop {
            if let Err(error) = reader.read(LIMIT).await {
                break error;
            }
        };
        assert!(error.message().contains("trimmed before they were read"), "{error}");
    }
}
