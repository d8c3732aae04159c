//! What is found of a stream when it is asked once.

use aws_sdk_kinesis::types::{ConsumerStatus, EncryptionType, Shard, StreamDescriptionSummary, StreamStatus};

use super::{
    source::Reading,
    stream::{self, Stream},
};
use crate::{
    Connection, errors,
    inspection::{Finding, GoOn, Inspection},
};

const DESCRIBE: &str = "DescribeStreamSummary";
const LIST: &str = "ListShards";
const ITERATOR: &str = "GetShardIterator";
const RECORDS: &str = "GetRecords";
const CONSUMER: &str = "DescribeStreamConsumer";
/// What a new stream has: a worker that stands still for a weekend loses records.
const LEAST_RETENTION_HOURS: i32 = 24;

/// Asks for the stream, its shards, the oldest record of the first shard, and the consumer, with one request each.
///
/// That a subscription is allowed is not tried: it would take the shard from the worker that has it.
pub async fn inspect(connection: &Connection, named: &str, reading: &Reading) -> Vec<Finding> {
    let stream = Stream { client: connection.kinesis(), named: named.to_owned() };
    let mut inspection = Inspection::of("kinesis", named);
    let (arn, goes_on) = describe(&stream, &mut inspection).await;
    if goes_on == GoOn::No {
        return inspection.findings();
    }
    if let Some(shard) = list(&stream, &mut inspection).await {
        read(&stream, &shard, &mut inspection).await;
    }
    let mut findings = inspection.findings();
    if let Reading::FanOut { consumer } = reading {
        findings.extend(inspect_consumer(&stream, arn, consumer).await);
    }
    findings
}

/// Its ARN, if it is told.
pub(crate) async fn describe(stream: &Stream, inspection: &mut Inspection) -> (Option<String>, GoOn) {
    let request = stream.client.describe_stream_summary();
    match request.set_stream_name(stream.name()).set_stream_arn(stream.arn()).send().await {
        Err(error) => (stream.arn(), inspection.failed(DESCRIBE, error)),
        Ok(answer) => match answer.stream_description_summary {
            Some(summary) => {
                judge(stream, &summary, inspection);
                (Some(summary.stream_arn), GoOn::Yes)
            }
            None => {
                inspection.error(DESCRIBE, &stream.unreadable("no description"));
                (stream.arn(), GoOn::Yes)
            }
        },
    }
}

fn judge(stream: &Stream, summary: &StreamDescriptionSummary, inspection: &mut Inspection) {
    match summary.stream_status() {
        StreamStatus::Active | StreamStatus::Updating => inspection.fine(DESCRIBE, in_words(summary)),
        status => inspection.wrong(
            DESCRIBE,
            format!("the stream is {status}"),
            "wait until it is ACTIVE, or name another one",
        ),
    }
    if let Err(error) = stream::refuse_lost_order(&stream.named, summary.record_distribution_strategy()) {
        inspection.error(DESCRIBE, &error);
    }
    if summary.retention_period_hours() <= LEAST_RETENTION_HOURS {
        inspection.warning(
            DESCRIBE,
            format!("records are kept for {} h only", summary.retention_period_hours()),
            "a projection that is held up for longer loses records and stops: raise it (IncreaseStreamRetentionPeriod)",
        );
    }
}

fn in_words(summary: &StreamDescriptionSummary) -> String {
    let encrypted = match (summary.encryption_type(), summary.key_id()) {
        (Some(EncryptionType::Kms), Some(key)) => format!("encrypted with {key}"),
        (Some(EncryptionType::Kms), None) => "encrypted".to_owned(),
        _ => "not encrypted".to_owned(),
    };
    let mode = summary.stream_mode_details().map(|details| format!("{}, ", details.stream_mode()));
    let strategy = summary.record_distribution_strategy();
    let strategy = strategy.map_or_else(|| "not told".to_owned(), ToString::to_string);
    format!(
        "{}, {}{} open shards, records kept for {} h, {encrypted}, record distribution {strategy}",
        summary.stream_status(),
        mode.unwrap_or_default(),
        summary.open_shard_count(),
        summary.retention_period_hours(),
    )
}

/// The first shard.
async fn list(stream: &Stream, inspection: &mut Inspection) -> Option<Shard> {
    let request = stream.client.list_shards().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let shards = match request.send().await {
        Ok(answer) => answer.shards.unwrap_or_default(),
        Err(error) => {
            inspection.failed(LIST, error);
            return None;
        }
    };
    let is_open = |shard: &&Shard| {
        shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
    };
    let open = shards.iter().filter(is_open).count();
    inspection.fine(LIST, format!("{} shards on the first page, {open} of them open", shards.len()));
    shards.into_iter().next()
}

/// That a record can be read tells, too, whether it can be decrypted.
async fn read(stream: &Stream, shard: &Shard, inspection: &mut Inspection) {
    use aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;

    let request = stream.client.get_shard_iterator().set_stream_name(stream.name());
    let request = request.set_stream_arn(stream.arn()).shard_id(shard.shard_id());
    let iterator = match request.shard_iterator_type(TrimHorizon).send().await {
        Ok(answer) => answer.shard_iterator,
        Err(error) => {
            inspection.failed(ITERATOR, error);
            return;
        }
    };
    inspection.fine(ITERATOR, format!("at the trim horizon of {}", shard.shard_id()));
    let request = stream.client.get_records().set_shard_iterator(iterator).set_stream_arn(stream.arn());
    match request.limit(1).send().await {
        Ok(answer) if answer.records.is_empty() => inspection.fine(RECORDS, "no record in the first answer"),
        Ok(_) => inspection.fine(RECORDS, "the oldest record can be read"),
        Err(error) => drop(inspection.failed(RECORDS, error)),
    }
}

async fn inspect_consumer(stream: &Stream, arn: Option<String>, named: &str) -> Vec<Finding> {
    let mut inspection = Inspection::of("kinesis", &format!("{}/consumer/{named}", stream.named));
    let request = stream.client.describe_stream_consumer();
    let request = match (named.starts_with("arn:"), arn) {
        (true, _) => request.consumer_arn(named),
        (false, Some(stream)) => request.stream_arn(stream).consumer_name(named),
        // Without the stream's ARN, which was not told, there is no asking for its consumer.
        (false, None) => return inspection.findings(),
    };
    match request.send().await {
        Ok(answer) => match answer.consumer_description {
            Some(found) if *found.consumer_status() == ConsumerStatus::Active => {
                inspection.fine(CONSUMER, "registered and active");
            }
            found => {
                let status = found.map_or_else(|| "not told".to_owned(), |found| found.consumer_status.to_string());
                inspection.wrong(CONSUMER, format!("the consumer is {status}"), "wait until it is ACTIVE");
            }
        },
        Err(error) if errors::is_missing(&error) && !named.starts_with("arn:") => inspection.fine(
            CONSUMER,
            "not registered yet; `foldstream run` registers it, which needs kinesis:RegisterStreamConsumer and is \
             charged for by the hour",
        ),
        Err(error) => drop(inspection.failed(CONSUMER, error)),
    }
    inspection.findings()
}
