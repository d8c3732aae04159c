//! The two calls of a poll.

use aws_sdk_dynamodbstreams::{
    error::ProvideErrorMetadata,
    operation::{get_records::GetRecordsError, get_shard_iterator::GetShardIteratorError},
    types::ShardIteratorType,
};
use foldstream_model::{Error, Record, Result};

use super::{shards::Listing, stream::TableStream};
use crate::polled::fetched;

/// The most records of one call.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html>
pub(super) const MOST_RECORDS: usize = 1_000;

/// Where a shard is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    TrimHorizon,
    /// At the record of this number.
    At(String),
}

/// What came of one call.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub records: Vec<Record>,
    pub bytes: usize,
    /// None: the shard is closed, and these were its last records.
    pub next: Option<String>,
}

/// Why there is no answer, or no iterator.
#[derive(Debug)]
pub(super) enum Refused {
    /// The iterator is older than 15 minutes: ask for another one.
    Expired,
    /// What was asked for is older than 24 hours.
    Trimmed,
    /// The shard has never had a record of such a number.
    Unknown(Error),
    Failed(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Expired => Self::transient("an iterator expired as soon as it was given"),
            Refused::Trimmed => Self::transient("a shard was trimmed while it was looked at"),
            Refused::Unknown(error) | Refused::Failed(error) => error,
        }
    }
}

impl TableStream {
    pub(super) async fn iterator(&self, arn: &str, shard: &str, start: &Start) -> Result<String, Refused> {
        let request = self.client.get_shard_iterator().stream_arn(arn).shard_id(shard);
        let request = match start {
            Start::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::At(number) => {
                request.shard_iterator_type(ShardIteratorType::AtSequenceNumber).sequence_number(number)
            }
        };
        let answer = request.send().await.map_err(|error| {
            let service = error.as_service_error();
            if service.is_some_and(GetShardIteratorError::is_trimmed_data_access_exception) {
                return Refused::Trimmed;
            }
            let is_unknown = service.and_then(ProvideErrorMetadata::code) == Some("ValidationException");
            let error = self.failed(&format!("GetShardIterator shard={shard}"), error);
            if is_unknown { Refused::Unknown(error) } else { Refused::Failed(error) }
        })?;
        answer.shard_iterator.ok_or_else(|| Refused::Failed(self.unreadable("no iterator")))
    }

    pub(super) async fn records(
        &self,
        listing: &Listing,
        (shard, iterator): (&str, &str),
        most: usize,
    ) -> Result<Answer, Refused> {
        let limit = i32::try_from(most.clamp(1, MOST_RECORDS)).unwrap_or(i32::MAX);
        let request = self.client.get_records().shard_iterator(iterator).limit(limit);
        let answer = request.send().await.map_err(|error| match error.as_service_error() {
            Some(GetRecordsError::ExpiredIteratorException(_)) => Refused::Expired,
            Some(GetRecordsError::TrimmedDataAccessException(_)) => Refused::Trimmed,
            _ => Refused::Failed(self.failed(&format!("GetRecords shard={shard}"), error)),
        })?;
        let records = answer.records().iter().map(|record| self.record(listing, record));
        let records = records.collect::<Result<Vec<_>>>().map_err(Refused::Failed)?;
        let bytes = records.iter().map(fetched::size).sum();
        Ok(Answer { records, bytes, next: answer.next_shard_iterator })
    }
}
