//! The stream of a table: which one it is.

use aws_sdk_dynamodb::types::{StreamViewType, TableDescription};
use foldstream_model::{Error, Result};

use crate::{Connection, dynamodb::describe_table, errors};

/// A table, and the clients that reach it and its stream.
#[derive(Debug, Clone)]
pub(super) struct TableStream {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub client: aws_sdk_dynamodbstreams::Client,
    /// A name, or an ARN.
    pub table: String,
}

impl TableStream {
    pub(super) fn of(connection: &Connection, table: impl Into<String>) -> Self {
        Self { dynamodb: connection.dynamodb(), client: connection.streams(), table: table.into() }
    }

    /// The ARN of the newest stream of the table; it has a label, so that no two streams share one.
    ///
    /// `Invalid`: there is no such table, or it has no stream that holds new images.
    pub(super) async fn arn(&self) -> Result<String> {
        let table = describe_table(&self.dynamodb, &self.table).await?.ok_or_else(|| {
            Error::invalid(format!(
                "there is no such table in this account and region: table={}; correct its name, the region or the \
                 credentials",
                self.table
            ))
        })?;
        self.arn_of(table)
    }

    /// `Invalid`: the table has no stream that holds new images.
    pub(super) fn arn_of(&self, table: TableDescription) -> Result<String> {
        self.refuse_lost_images(&table)?;
        table.latest_stream_arn.ok_or_else(|| {
            Error::invalid(format!(
                "the table has no stream: table={}; switch it on with the view type NEW_AND_OLD_IMAGES, or NEW_IMAGE",
                self.table
            ))
        })
    }

    fn refuse_lost_images(&self, table: &TableDescription) -> Result<()> {
        let Some(specification) = table.stream_specification().filter(|of| of.stream_enabled()) else {
            if table.latest_stream_arn().is_some() {
                tracing::warn!(
                    table = self.table,
                    "the stream of the table is switched off: what it holds can be read for 24 hours, and nothing comes",
                );
            }
            return Ok(());
        };
        match specification.stream_view_type() {
            Some(StreamViewType::NewImage | StreamViewType::NewAndOldImages) | None => Ok(()),
            Some(other) => Err(Error::invalid(format!(
                "the stream of the table does not hold new images: table={} view_type={other}; switch it off and on \
                 again with the view type NEW_AND_OLD_IMAGES, or NEW_IMAGE",
                self.table
            ))),
        }
    }

    /// What is being done, for errors.
    pub(super) fn doing(&self, operation: &str) -> String {
        format!("{operation} table={}", self.table)
    }

    pub(super) fn unreadable(&self, what: &str) -> Error {
        Error::internal(format!(
            "an answer of DynamoDB Streams cannot be read: table={} what={what}",
            self.table
        ))
    }

    /// An error of the stream, and who else may have to do with it if it asks for less.
    pub(super) fn failed<E>(
        &self,
        operation: &str,
        error: aws_sdk_dynamodb::error::SdkError<E, aws_sdk_dynamodb::config::http::HttpResponse>,
    ) -> Error
    where
        E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let error = errors::of(&self.doing(operation), error);
        match error.kind() {
            foldstream_model::ErrorKind::Throttled => error.context(OTHER_READERS),
            _ => error,
        }
    }
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html#Streams.Processing>
const OTHER_READERS: &str = "the table's stream is read too often: at most two may read a shard at a time, Lambda \
                             functions and applications of the Kinesis adapter included; look for other readers of the \
                             stream, and let them read what is relayed into Kinesis";
