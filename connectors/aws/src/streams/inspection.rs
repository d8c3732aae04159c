//! What is found of a table's stream when it is asked once.

use aws_sdk_dynamodbstreams::types::{ShardIteratorType, StreamStatus};

use super::stream::TableStream;
use crate::{
    Connection,
    inspection::{Finding, Inspection},
};

const TABLE: &str = "DescribeTable";
const DESCRIBE: &str = "DescribeStream";
const ITERATOR: &str = "GetShardIterator";
const RECORDS: &str = "GetRecords";

/// Asks for the table, its stream, and the oldest record of the stream's first shard, with one request each.
pub async fn inspect(connection: &Connection, table: &str) -> Vec<Finding> {
    let stream = TableStream::of(connection, table);
    let mut inspection = Inspection::of("dynamodb", &format!("{table}/stream"));
    if let Some(arn) = find(&stream, &mut inspection).await
        && let Some(shard) = describe(&stream, &arn, &mut inspection).await
    {
        read(&stream, &arn, &shard, &mut inspection).await;
    }
    inspection.findings()
}

/// Its ARN, without which there is no asking for anything else.
async fn find(stream: &TableStream, inspection: &mut Inspection) -> Option<String> {
    let table = match stream.dynamodb.describe_table().table_name(&stream.table).send().await {
        Ok(answer) => answer.table?,
        Err(error) => {
            inspection.failed(TABLE, error);
            return None;
        }
    };
    let is_on = table.stream_specification().is_some_and(|specification| specification.stream_enabled());
    match stream.arn_of(table) {
        Ok(arn) => {
            match is_on {
                true => inspection.fine(TABLE, format!("the newest stream is {arn}")),
                false => inspection.wrong(
                    TABLE,
                    "the stream is switched off: nothing comes any more",
                    "switch it on with the view type NEW_AND_OLD_IMAGES, or NEW_IMAGE",
                ),
            }
            Some(arn)
        }
        Err(error) => {
            inspection.error(TABLE, &error);
            None
        }
    }
}

/// The first shard.
async fn describe(stream: &TableStream, arn: &str, inspection: &mut Inspection) -> Option<String> {
    let description = match stream.client.describe_stream().stream_arn(arn).send().await {
        Ok(answer) => answer.stream_description?,
        Err(error) => {
            inspection.failed(DESCRIBE, error);
            return None;
        }
    };
    let shards = description.shards();
    match description.stream_status() {
        Some(StreamStatus::Enabled | StreamStatus::Enabling) => {
            inspection.fine(DESCRIBE, format!("{} shards on the first page", shards.len()));
        }
        status => {
            let status = status.map_or("not told", StreamStatus::as_str);
            inspection.warning(
                DESCRIBE,
                format!("the stream is {status}"),
                "what it holds can be read for 24 hours",
            );
        }
    }
    shards.first()?.shard_id.clone()
}

async fn read(stream: &TableStream, arn: &str, shard: &str, inspection: &mut Inspection) {
    let request = stream.client.get_shard_iterator().stream_arn(arn).shard_id(shard);
    let iterator = match request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await {
        Ok(answer) => answer.shard_iterator,
        Err(error) => {
            inspection.failed(ITERATOR, error);
            return;
        }
    };
    inspection.fine(ITERATOR, format!("at the trim horizon of {shard}"));
    match stream.client.get_records().set_shard_iterator(iterator).limit(1).send().await {
        Ok(answer) if answer.records().is_empty() => {
            inspection.fine(RECORDS, "no record in the first answer")
        }
        Ok(_) => inspection.fine(RECORDS, "the oldest record can be read"),
        Err(error) => drop(inspection.failed(RECORDS, error)),
    }
}
