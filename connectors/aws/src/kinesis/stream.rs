//! The stream itself: how it is named in requests, what it is.

use std::time::Duration;

use aws_sdk_kinesis::{
    Client,
    operation::describe_stream_summary::DescribeStreamSummaryError,
    primitives::DateTime,
    types::{RecordDistributionStrategy, StreamDescriptionSummary, StreamStatus},
};
use foldstream_model::{Error, Incarnation, Result, Timestamp};

use crate::errors;

/// A stream, and the client that reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub client: Client,
    /// A name, or an ARN.
    pub named: String,
}

/// What is asked of a stream now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub incarnation: Incarnation,
    pub arn: String,
    pub created_at: Timestamp,
    /// How long records are kept.
    pub retention: Duration,
}

impl Stream {
    pub(crate) fn name(&self) -> Option<String> {
        (!self.is_arn()).then(|| self.named.clone())
    }

    pub(crate) fn arn(&self) -> Option<String> {
        self.is_arn().then(|| self.named.clone())
    }

    fn is_arn(&self) -> bool {
        self.named.starts_with("arn:")
    }

    /// What is being done, for errors.
    pub(crate) fn doing(&self, operation: &str) -> String {
        format!("{operation} stream={}", self.named)
    }

    /// `Invalid`: there is no such stream, or it does not keep the records of a key together.
    pub(crate) async fn describe(&self) -> Result<Described> {
        refuse_malformed("stream", &self.named)?;
        let request =
            self.client.describe_stream_summary().set_stream_name(self.name()).set_stream_arn(self.arn());
        let answer = request.send().await.map_err(|error| {
            let is_missing = error
                .as_service_error()
                .is_some_and(DescribeStreamSummaryError::is_resource_not_found_exception);
            let error = errors::of(&self.doing("DescribeStreamSummary"), error);
            match is_missing {
                true => error.context(
                    "there is no such stream in this account and region: correct its name, the region or the \
                     credentials, or make it",
                ),
                false => error,
            }
        })?;
        let summary = answer.stream_description_summary.ok_or_else(|| self.unreadable("no description"))?;
        self.read(&summary)
    }

    fn read(&self, summary: &StreamDescriptionSummary) -> Result<Described> {
        if *summary.stream_status() == StreamStatus::Creating {
            return Err(Error::transient(format!("the stream is being made: stream={}", self.named)));
        }
        refuse_lost_order(&self.named, summary.record_distribution_strategy())?;
        let created_at = timestamp(summary.stream_creation_timestamp());
        let hours =
            u64::try_from(summary.retention_period_hours()).map_err(|_| self.unreadable("its retention"))?;
        Ok(Described {
            incarnation: Incarnation::new(format!("{}@{created_at}", summary.stream_arn())),
            arn: summary.stream_arn().to_owned(),
            created_at,
            retention: Duration::from_secs(hours * 60 * 60),
        })
    }

    pub(crate) fn unreadable(&self, what: &str) -> Error {
        Error::internal(format!("an answer of Kinesis cannot be read: stream={} what={what}", self.named))
    }
}

/// A name, or an ARN such as `arn:aws:kinesis:eu-west-1:123456789012:stream/events`. The client takes what is neither for
/// a connection that failed.
pub(super) fn refuse_malformed(what: &str, named: &str) -> Result<()> {
    let parts: Vec<&str> = named.split(':').collect();
    let is_fine = match parts[..] {
        ["arn", _, "kinesis", region, account, ..] => {
            let is_account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
            let is_of_that = [":", "/"].iter().any(|before| named.contains(&format!("{before}{what}/")));
            is_account && is_of_that && !region.is_empty()
        }
        [name] => !name.is_empty(),
        _ => false,
    };
    match is_fine {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "this is neither a name nor an ARN: {what}={named:?} expected=a name, or \
             arn:aws:kinesis:REGION:ACCOUNT:stream/NAME, for a consumer with /consumer/NAME:TIME behind it"
        ))),
    }
}

/// Under any other strategy than by partition key, the events of a stream lie in any shard and in any order.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html>
pub(super) fn refuse_lost_order(stream: &str, strategy: Option<&RecordDistributionStrategy>) -> Result<()> {
    match strategy {
        None | Some(RecordDistributionStrategy::UserPartitionKey) => Ok(()),
        Some(strategy) => Err(Error::invalid(format!(
            "the stream spreads its records over its shards whatever their partition keys, so that the events of one \
             aggregate are in no order: stream={stream} record_distribution_strategy={strategy}; set it to \
             USER_PARTITION_KEY (UpdateStreamRecordDistributionStrategy). What was put meanwhile stays without order: \
             begin behind it, or with a stream of its own"
        ))),
    }
}

/// Finer than microseconds is cut off.
pub(super) fn timestamp(instant: &DateTime) -> Timestamp {
    let micros = i64::from(instant.subsec_nanos() / 1_000);
    Timestamp::from_seconds(instant.secs()).plus_micros(micros)
}

/// The first millisecond, the finest that Kinesis knows, that is not before an instant.
pub(super) fn date_time(instant: Timestamp) -> DateTime {
    DateTime::from_millis(instant.micros().saturating_add(999).div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use foldstream_model::ErrorKind;

    use super::*;

    #[test]
    fn a_stream_that_ignores_partition_keys_is_refused() {
        assert!(refuse_lost_order("events", None).is_ok());
        assert!(refuse_lost_order("events", Some(&RecordDistributionStrategy::UserPartitionKey)).is_ok());
        for strategy in ["AUTO", "ANOTHER_ONE"] {
            let error = refuse_lost_order("events", Some(&strategy.into())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(strategy), "{error}");
        }
    }

    #[test]
    fn what_is_neither_a_name_nor_an_arn_is_refused() {
        let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/events";
        let consumer = format!("{stream}/consumer/foldstream:1760000000");
        assert!(refuse_malformed("stream", "events").is_ok() && refuse_malformed("stream", stream).is_ok());
        assert!(refuse_malformed("consumer", &consumer).is_ok());
        for malformed in ["", "arn:aws:kinesis", "arn:aws:kinesis:eu-west-1:12:stream/events", "a:b"] {
            assert_eq!(refuse_malformed("stream", malformed).unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert!(refuse_malformed("consumer", stream).is_err(), "of a stream");
    }

    #[test]
    fn instants_are_asked_for_in_milliseconds_never_too_early() {
        assert_eq!(date_time(Timestamp::from_micros(1_000)).to_millis().unwrap(), 1);
        assert_eq!(date_time(Timestamp::from_micros(1_001)).to_millis().unwrap(), 2);
        assert_eq!(timestamp(&DateTime::from_millis(1_234)), Timestamp::from_millis(1_234));
    }
}
