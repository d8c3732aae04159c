//! read: raw records of one shard, and the events in them, a batch ahead of the order stage.

use std::{sync::Arc, time::Duration};

use foldstream_model::{
    Error, Event, Position, Record, Result, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{decode::Intake, metrics, retry, settings::Settings};

/// Batches that wait between reading and ordering; one is read while another is ordered.
const AHEAD: usize = 2;

/// A batch whose records are decoded.
#[derive(Debug)]
pub struct Decoded {
    pub records: Vec<DecodedRecord>,
    pub bytes: usize,
    pub end: bool,
    pub tip: bool,
    pub behind: Option<u64>,
    pub low_watermark: Option<Timestamp>,
    /// When the source was asked, by the worker's clock.
    pub asked_at: Timestamp,
    /// When its newest record arrived.
    pub arrived_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct DecodedRecord {
    pub position: Position,
    pub partition_key: Arc<str>,
    /// None: the record is not meant to be an event.
    pub event: std::result::Result<Option<Arc<Event>>, Box<Undecodable>>,
}

/// A record that should be an event and is none.
#[derive(Debug)]
pub struct Undecodable {
    pub record: Record,
    pub error: Error,
}

/// Reads a shard until its end, an error, or a cancel.
pub struct Reading {
    pub reader: Box<dyn ShardReader>,
    pub intake: Arc<Intake>,
    pub clock: Arc<dyn foldstream_model::Clock>,
    pub limit: ReadLimit,
    pub names: ReadingNames,
}

/// What the metrics of a reading are labelled with.
#[derive(Debug, Clone)]
pub struct ReadingNames {
    pub source: String,
    pub shard: String,
    pub reader: &'static str,
}

impl Reading {
    pub fn limit(settings: &Settings) -> ReadLimit {
        ReadLimit {
            records: settings.batch_records.max(1),
            bytes: settings.batch_bytes.max(1),
            wait: settings.poll_interval.max(Duration::from_millis(1)),
        }
    }

    /// Starts reading; batches come through the channel, an error last.
    pub fn start(
        self,
        cancel: CancellationToken,
    ) -> (mpsc::Receiver<Result<Decoded>>, crate::tasks::Task<()>) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let task = crate::tasks::Task::start(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.run(&sender, &cancel) => {}
            }
        });
        (receiver, task)
    }

    async fn run(mut self, sender: &mpsc::Sender<Result<Decoded>>, cancel: &CancellationToken) {
        loop {
            let next = self.next(cancel).await;
            let last = next.as_ref().map_or(true, |batch| batch.end);
            if sender.send(next).await.is_err() || last {
                return;
            }
        }
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Result<Decoded> {
        let asked_at = self.clock.now();
        let mut backoff = retry::Backoff::new();
        let batch = loop {
            match self.reader.read(self.limit).await {
                Ok(batch) => break batch,
                Err(error)
                    if retry::verdict(error.kind()) == retry::Verdict::Again && !cancel.is_cancelled() =>
                {
                    backoff.pause(&error, "reading a shard").await;
                }
                Err(error) => return Err(error),
            }
        };
        metrics::records_read(&self.names.source, &self.names.shard, self.names.reader, batch.records.len());
        Ok(self.decode(batch, asked_at))
    }

    fn decode(&self, batch: Batch, asked_at: Timestamp) -> Decoded {
        let bytes = batch.records.iter().map(|record| record.data.len() + size_of::<Event>()).sum();
        let arrived_at = batch.records.last().map(|record| record.arrived_at);
        let records = batch.records.into_iter().map(|record| self.decode_record(record)).collect();
        Decoded {
            records,
            bytes,
            end: batch.end,
            tip: batch.tip,
            behind: batch.behind,
            low_watermark: batch.low_watermark,
            asked_at,
            arrived_at,
        }
    }

    fn decode_record(&self, record: Record) -> DecodedRecord {
        let event = match self.intake.decode(&record) {
            Ok(event) => Ok(event.map(Arc::new)),
            Err(error) => Err(Box::new(Undecodable { record: record.clone(), error })),
        };
        DecodedRecord { position: record.position, partition_key: record.partition_key, event }
    }
}
