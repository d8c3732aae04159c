//! One subscription to a shard: Kinesis pushes, for five minutes at most.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::{sync::Arc, time::Duration};

use aws_sdk_kinesis::{
    operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput},
    types::{ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream},
};
use foldstream_model::{Error, ErrorKind, Record, Result, ShardId};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    calls::{Answer, Start},
    consumer::Consumer,
    stream::{self, Stream},
};
use crate::{
    errors,
    planted::{self, Bug},
    polled::fetched,
};

/// The client's own timeouts do not cover the first frame, which a request waits for.
const CONNECT: Duration = Duration::from_secs(10);
/// A shard without records sends an empty event about every five seconds.
const SILENCE: Duration = Duration::from_secs(20);

pub(super) struct Subscription {
    output: SubscribeToShardOutput,
    pub begun_at: Instant,
    heard_at: Instant,
}

/// What a subscription brought.
#[derive(Debug)]
pub(super) struct Pushed {
    pub answer: Answer,
    /// Where the next subscription continues.
    pub continuation: String,
}

/// Why there is none: what was asked for is wrong, or the shard is to be polled for a while.
pub(super) async fn subscribe(consumer: Arc<Consumer>, shard: ShardId, start: Start) -> Result<Subscription> {
    let arn = consumer.arn().await?;
    let request = consumer.stream.client.subscribe_to_shard().consumer_arn(arn).shard_id(shard.as_str());
    let sent = request.starting_position(position(&start)?).send();
    let doing = format!("{} shard={shard}", consumer.doing("SubscribeToShard"));
    let Ok(answered) = timeout(CONNECT, sent).await else {
        return Err(Error::transient(format!("{doing}: no answer within {} s", CONNECT.as_secs())));
    };
    match answered {
        Ok(output) => {
            let now = Instant::now();
            Ok(Subscription { output, begun_at: now, heard_at: now })
        }
        Err(error) => {
            let refused = error.as_service_error();
            let is_in_use = refused.is_some_and(SubscribeToShardError::is_resource_in_use_exception);
            let is_gone = refused.is_some_and(SubscribeToShardError::is_resource_not_found_exception);
            if is_gone {
                consumer.forget().await;
            }
            let error = errors::of(&doing, error);
            // A shard that is gone is found when it is polled.
            Err(if is_in_use || is_gone { Error::new(ErrorKind::Transient, error.message()) } else { error })
        }
    }
}

fn position(start: &Start) -> Result<StartingPosition> {
    let position = match start {
        Start::TrimHorizon => StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon),
        Start::At(number) => {
            StartingPosition::builder().r#type(ShardIteratorType::AtSequenceNumber).sequence_number(number)
        }
        Start::After(number) => {
            StartingPosition::builder().r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(number)
        }
        Start::AtTimestamp(instant) => StartingPosition::builder()
            .r#type(ShardIteratorType::AtTimestamp)
            .timestamp(stream::date_time(*instant)),
        #[cfg(feature = "planted")]
        Start::Latest => StartingPosition::builder().r#type(ShardIteratorType::Latest),
    };
    position.build().map_err(|error| Error::internal(format!("no position to subscribe from: {error}")))
}

impl Subscription {
    /// The next event; none when the subscription is over, which it is after five minutes. Dropping the future loses
    /// nothing. Any error ends it.
    pub(super) async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>> {
        loop {
            let Ok(received) = timeout_at(self.heard_at + SILENCE, self.output.event_stream.recv()).await
            else {
                return Err(Error::transient(format!(
                    "a subscription is silent for {} s",
                    SILENCE.as_secs()
                )));
            };
            self.heard_at = Instant::now();
            match received {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                    return Ok(Some(event));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(Error::transient("a subscription has ended").with_source(error)),
            }
        }
    }
}

impl Stream {
    pub(super) fn pushed(&self, event: SubscribeToShardEvent) -> Result<Pushed> {
        let records = event.records.into_iter().map(|record| self.record(record));
        let records = records.collect::<Result<Vec<Record>>>()?;
        let continuation = event.continuation_sequence_number;
        let has_children = event.child_shards.is_some_and(|children| !children.is_empty());
        // Kinesis names children in the last event alone, which continues nowhere; others do from when a shard is closed.
        let is_end = has_children && (continuation.is_empty() || records.is_empty());
        let is_end = is_end || (planted::is(Bug::ClosedTakenForEnd) && event.millis_behind_latest == 0);
        let bytes = records.iter().map(fetched::size).sum();
        let is_tip = is_end || event.millis_behind_latest == 0;
        let next = (!is_end).then(String::new);
        Ok(Pushed { answer: Answer { records, bytes, next, is_tip }, continuation })
    }
}
