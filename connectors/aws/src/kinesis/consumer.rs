//! The consumer that subscriptions are made as: found, or registered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use aws_sdk_kinesis::{
    operation::{
        describe_stream_consumer::DescribeStreamConsumerError,
        register_stream_consumer::RegisterStreamConsumerError,
    },
    types::{ConsumerDescription, ConsumerStatus},
};
use foldstream_model::{Error, Result, ShardId};

use super::stream::{Stream, refuse_malformed};
use crate::errors;

/// One that is registered can be used some seconds later.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// A consumer, and which shards are read through it in this process.
///
/// Kinesis keeps one subscription for each of its shards: whoever subscribes takes it over. So of the readers of a shard one
/// holds a place here, and the others poll.
pub(super) struct Consumer {
    pub stream: Stream,
    /// A name, or an ARN.
    named: String,
    arn: tokio::sync::Mutex<Option<String>>,
    places: Mutex<BTreeMap<ShardId, Weak<()>>>,
}

/// Held as long as it is kept.
#[derive(Debug)]
pub(super) struct ShardPlace(#[expect(dead_code, reason = "that it is there is all that it says")] Arc<()>);

impl Consumer {
    pub(super) fn new(stream: Stream, named: String) -> Self {
        Self { stream, named, arn: tokio::sync::Mutex::default(), places: Mutex::default() }
    }

    /// None: another reader of the shard has it.
    pub(super) fn place(&self, shard: &ShardId) -> Option<ShardPlace> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| place.strong_count() > 0);
        if places.contains_key(shard) {
            return None;
        }
        let place = Arc::new(());
        places.insert(shard.clone(), Arc::downgrade(&place));
        Some(ShardPlace(place))
    }

    /// Asks once, and registers the consumer if there is none.
    pub(super) async fn arn(&self) -> Result<String> {
        let mut known = self.arn.lock().await;
        if let Some(arn) = &*known {
            return Ok(arn.clone());
        }
        refuse_malformed("consumer", &self.named)?;
        let arn = match self.named.starts_with("arn:") {
            true => self.named.clone(),
            false => tokio::time::timeout(PATIENCE, self.find_or_register()).await.unwrap_or_else(|_| {
                Err(Error::transient(format!("the consumer cannot be used yet: consumer={}", self.named)))
            })?,
        };
        *known = Some(arn.clone());
        Ok(arn)
    }

    /// It is not there any more: looks anew next time.
    pub(super) async fn forget(&self) {
        *self.arn.lock().await = None;
    }

    async fn find_or_register(&self) -> Result<String> {
        let stream = self.stream.describe().await?.arn;
        loop {
            match self.find(&stream).await? {
                None => self.register(&stream).await?,
                Some(found) if *found.consumer_status() == ConsumerStatus::Active => {
                    return Ok(found.consumer_arn);
                }
                Some(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find(&self, stream: &str) -> Result<Option<ConsumerDescription>> {
        let request =
            self.stream.client.describe_stream_consumer().stream_arn(stream).consumer_name(&self.named);
        match request.send().await {
            Ok(found) => Ok(found.consumer_description),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeStreamConsumerError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(errors::of(&self.doing("DescribeStreamConsumer"), error)),
        }
    }

    async fn register(&self, stream: &str) -> Result<()> {
        let request =
            self.stream.client.register_stream_consumer().stream_arn(stream).consumer_name(&self.named);
        match request.send().await {
            Ok(_) => {
                tracing::info!(
                    stream,
                    consumer = self.named,
                    "registered a consumer, which is charged for until it is deregistered"
                );
                Ok(())
            }
            // Another worker was faster.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(RegisterStreamConsumerError::is_resource_in_use_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(errors::of(&self.doing("RegisterStreamConsumer"), error)),
        }
    }

    pub(super) fn doing(&self, operation: &str) -> String {
        format!("{} consumer={}", self.stream.doing(operation), self.named)
    }
}
