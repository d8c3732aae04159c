//! Into the Kinesis stream.

use aws_sdk_kinesis::{
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};
use foldstream_model::{Error, Result};

use super::window::{Outgoing, Ticket};
use crate::{errors, kinesis::Stream};

/// What became of a call.
#[derive(Debug)]
pub(super) struct Sent {
    pub arrived: Vec<Ticket>,
    /// Not in the stream, or that is not known.
    pub failed: Vec<Ticket>,
    /// Why some failed.
    pub error: Option<Error>,
}

/// Puts records in one call, of which some may fail alone.
pub(super) async fn send(stream: Stream, batch: Vec<Outgoing>) -> Sent {
    let tickets: Vec<Ticket> = batch.iter().map(|outgoing| outgoing.ticket).collect();
    match put(&stream, batch).await {
        Ok(entries) if entries.len() == tickets.len() => sort(&stream, &tickets, &entries),
        Ok(_) => failed(tickets, stream.unreadable("other records than were put")),
        Err(error) => failed(tickets, error),
    }
}

async fn put(stream: &Stream, batch: Vec<Outgoing>) -> Result<Vec<PutRecordsResultEntry>> {
    let entries = batch.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
    let request = stream.client.put_records().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let answer = request.set_records(Some(entries)).send().await;
    Ok(answer.map_err(|error| errors::of(&stream.doing("PutRecords"), error))?.records)
}

fn entry(outgoing: Outgoing) -> Result<PutRecordsRequestEntry> {
    PutRecordsRequestEntry::builder()
        .data(Blob::new(outgoing.data))
        .partition_key(&*outgoing.partition_key)
        .set_explicit_hash_key(outgoing.explicit_hash_key.map(|key| key.to_string()))
        .build()
        .map_err(|error| Error::internal(format!("a record cannot be put ({error})")))
}

fn failed(tickets: Vec<Ticket>, error: Error) -> Sent {
    Sent { arrived: Vec::new(), failed: tickets, error: Some(error) }
}

/// A record of which no number is told has failed alone.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
fn sort(stream: &Stream, tickets: &[Ticket], entries: &[PutRecordsResultEntry]) -> Sent {
    let mut sent = Sent { arrived: Vec::new(), failed: Vec::new(), error: None };
    for (ticket, entry) in tickets.iter().zip(entries) {
        if entry.error_code().is_none() && entry.sequence_number().is_some() {
            sent.arrived.push(*ticket);
            continue;
        }
        sent.failed.push(*ticket);
        if sent.error.is_none() {
            let (code, message) =
                (entry.error_code().unwrap_or_default(), entry.error_message().unwrap_or_default());
            let message = format!("{}: {code}: {message}", stream.doing("PutRecords"));
            sent.error = Some(match code {
                "ProvisionedThroughputExceededException" => Error::throttled(message),
                _ => Error::transient(message),
            });
        }
    }
    sent
}
