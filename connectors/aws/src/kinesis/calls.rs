//! The two calls of a poll.

use aws_sdk_kinesis::{
    operation::{get_records::GetRecordsError, get_shard_iterator::GetShardIteratorError},
    types::{self, ShardIteratorType},
};
use bytes::Bytes;
use foldstream_model::{Error, Record, Result, ShardId, Timestamp};

use super::stream::{self, Stream};
use crate::{
    errors,
    planted::{self, Bug},
    polled::fetched,
};

/// The most records of one call, and about the most bytes: an answer may stop short of the newest record at these.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
pub(super) const MOST_RECORDS: usize = 10_000;
const NEARLY_MOST_BYTES: usize = 9 << 20;

/// Where a shard is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    TrimHorizon,
    /// At the record of this number, or the first one behind it.
    At(String),
    After(String),
    AtTimestamp(Timestamp),
    #[cfg(feature = "planted")]
    Latest,
}

/// What came of one call.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// As Kinesis has them: an aggregate is one record, at index 0.
    pub records: Vec<Record>,
    pub bytes: usize,
    /// None: the shard is closed, and these were its last records.
    pub next: Option<String>,
    /// These were the newest records.
    pub is_tip: bool,
}

/// Why there is no answer, or no iterator.
#[derive(Debug)]
pub(super) enum Refused {
    /// The iterator is older than five minutes: ask for another one.
    Expired,
    /// The shard has no record of such a number; or there is no such shard any more.
    Unknown(Error),
    Failed(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Expired => Self::transient("an iterator expired as soon as it was given"),
            Refused::Unknown(error) | Refused::Failed(error) => error,
        }
    }
}

impl Stream {
    pub(super) async fn iterator(&self, shard: &ShardId, start: &Start) -> Result<String, Refused> {
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.name())
            .set_stream_arn(self.arn())
            .shard_id(shard.as_str());
        let request = match start {
            Start::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::At(number) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number),
            Start::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number),
            Start::AtTimestamp(instant) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(stream::date_time(*instant)),
            #[cfg(feature = "planted")]
            Start::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
        };
        let answer = request.send().await.map_err(|error| {
            let is_by_number = matches!(start, Start::At(_) | Start::After(_));
            let is_unknown =
                error.as_service_error().is_some_and(GetShardIteratorError::is_invalid_argument_exception)
                    || is_by_number && errors::is_missing(&error);
            let error = errors::of(&format!("{} shard={shard}", self.doing("GetShardIterator")), error);
            if is_unknown { Refused::Unknown(error) } else { Refused::Failed(error) }
        })?;
        answer.shard_iterator.ok_or_else(|| Refused::Failed(self.unreadable("no iterator")))
    }

    pub(super) async fn records(
        &self,
        shard: &ShardId,
        iterator: &str,
        most: usize,
    ) -> Result<Answer, Refused> {
        let most = most.clamp(1, MOST_RECORDS);
        let limit = i32::try_from(most).unwrap_or(i32::MAX);
        let request =
            self.client.get_records().shard_iterator(iterator).limit(limit).set_stream_arn(self.arn());
        let answer = request.send().await.map_err(|error| {
            if error.as_service_error().is_some_and(GetRecordsError::is_expired_iterator_exception) {
                return Refused::Expired;
            }
            Refused::Failed(errors::of(&format!("{} shard={shard}", self.doing("GetRecords")), error))
        })?;
        let records = answer.records.into_iter().map(|record| self.record(record));
        let records = records.collect::<Result<Vec<_>>>().map_err(Refused::Failed)?;
        let bytes = records.iter().map(fetched::size).sum();
        // A server that tells no lag, or always none, leaves records behind only where the answer is full.
        let is_full = records.len() >= most || bytes >= NEARLY_MOST_BYTES;
        let is_level = answer.millis_behind_latest.is_none_or(|millis| millis == 0)
            || (records.is_empty() && planted::is(Bug::EmptyTakenForTip));
        let next = answer.next_shard_iterator;
        Ok(Answer { records, bytes, is_tip: next.is_none() || is_level && !is_full, next })
    }

    /// `Invalid`: it has no partition key, as only a stream has that ignores them.
    pub(super) fn record(&self, record: types::Record) -> Result<Record> {
        let position = record.sequence_number.parse()?;
        let partition_key = record.partition_key.ok_or_else(|| {
            Error::invalid(format!(
                "a record without a partition key: stream={} position={position}; the stream was switched to a record \
                 distribution that ignores partition keys, so that events are in no order. Set it back to \
                 USER_PARTITION_KEY, and begin with a stream of its own",
                self.named
            ))
        })?;
        let arrived_at = record.approximate_arrival_timestamp.as_ref().map(stream::timestamp);
        Ok(Record {
            position,
            partition_key: partition_key.into(),
            arrived_at: arrived_at.ok_or_else(|| self.unreadable("when a record arrived"))?,
            data: Bytes::from(record.data.into_inner()),
        })
    }
}
