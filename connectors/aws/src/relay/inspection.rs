//! What is found of the stream that a relay writes to when it is asked once.

use aws_sdk_kinesis::{
    operation::put_records::PutRecordsError, primitives::Blob, types::PutRecordsRequestEntry,
};
use foldstream_model::Timestamp;

use super::heartbeat;
use crate::{
    Connection,
    inspection::{Finding, GoOn, Inspection},
    kinesis::{self, Stream},
};

const PUT: &str = "PutRecords";
/// Behind the last hash key there is, 2^128 - 1, and so refused by Kinesis itself, whoever may put records.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
const NO_HASH_KEY: &str = "999999999999999999999999999999999999999";

/// Asks for the stream, and tries whether records may be put, with one that Kinesis refuses.
pub async fn inspect(connection: &Connection, named: &str) -> Vec<Finding> {
    let stream = Stream { client: connection.kinesis(), named: named.to_owned() };
    let mut inspection = Inspection::of("kinesis", named);
    if kinesis::describe(&stream, &mut inspection).await.1 == GoOn::Yes {
        put(&stream, &mut inspection).await;
    }
    inspection.findings()
}

async fn put(stream: &Stream, inspection: &mut Inspection) {
    // Where it were taken after all, it would be a heartbeat that says nothing.
    let (key, data) = heartbeat::record("validate", Timestamp::EPOCH);
    let entry = PutRecordsRequestEntry::builder().data(Blob::new(data)).partition_key(&*key);
    let Ok(entry) = entry.explicit_hash_key(NO_HASH_KEY).build() else { return };
    let request = stream.client.put_records().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    match request.records(entry).send().await {
        Ok(_) => inspection.fine(PUT, "a heartbeat was taken"),
        Err(error) => match error.as_service_error() {
            Some(PutRecordsError::InvalidArgumentException(_)) => {
                inspection.fine(PUT, "allowed; nothing was put")
            }
            _ => drop(inspection.failed(PUT, error)),
        },
    }
}
