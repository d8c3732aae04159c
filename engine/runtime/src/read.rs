//! read: raw records of one shard, and the events in them, a batch ahead of the order stage.

use std::{sync::Arc, time::Duration};

use foldstream_model::{
    Error, ErrorKind, Event, Position, Record, Result, ShardId, SourceName, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    decode::Intake,
    metrics,
    planted::{self, Bug},
    retry,
    settings::Settings,
    trial::Attempt,
    trying::Trials,
};

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
    /// Up to when all that was stored is in the source, as its newest heartbeat says.
    pub complete_until: Option<Timestamp>,
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
    pub trials: Arc<Trials>,
    pub names: ReadingNames,
}

/// What is read, and by which kind of line.
#[derive(Debug, Clone)]
pub struct ReadingNames {
    pub source: SourceName,
    pub shard: ShardId,
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
                Err(_) if planted::is(Bug::FailureTakenForEnd) => {
                    break Batch { end: true, tip: true, ..Batch::default() };
                }
                Err(error)
                    if retry::verdict(error.kind()) == retry::Verdict::Again && !cancel.is_cancelled() =>
                {
                    backoff.pause(&error, "reading a shard").await;
                }
                Err(error) if error.kind() == ErrorKind::Invalid && planted::is(Bug::LossTakenForEnd) => {
                    break Batch { end: true, tip: true, ..Batch::default() };
                }
                Err(error) => return Err(error),
            }
        };
        let ReadingNames { source, shard, reader } = &self.names;
        metrics::records_read(source.as_str(), shard.as_str(), reader, batch.records.len());
        Decoding { intake: &self.intake, trials: &self.trials, names: &self.names }
            .decode(batch, asked_at)
            .await
    }
}

/// What decoding needs of a reading.
struct Decoding<'a> {
    intake: &'a Intake,
    trials: &'a Trials,
    names: &'a ReadingNames,
}

impl Decoding<'_> {
    async fn decode(&self, batch: Batch, asked_at: Timestamp) -> Result<Decoded> {
        let bytes = batch.records.iter().map(|record| record.data.len() + size_of::<Event>()).sum();
        let arrived_at = batch.records.last().map(|record| record.arrived_at);
        let (mut records, mut complete_until) = (Vec::with_capacity(batch.records.len()), None);
        let mut left = batch.records.into_iter();
        while !left.as_slice().is_empty() {
            let next = left.as_slice();
            let tried = self.trials.next(next.len(), |index| self.attempt(&next[index])).await?;
            let now = left.by_ref().take(tried.count);
            for record in now {
                let heartbeat = self.intake.heartbeat(&record);
                complete_until = heartbeat.max(complete_until);
                records.push(self.decode_record(record, tried.guilty.as_ref()));
            }
            self.trials.came_back(tried).await?;
        }
        Ok(Decoded {
            records,
            bytes,
            end: batch.end,
            tip: batch.tip,
            behind: batch.behind,
            low_watermark: batch.low_watermark,
            asked_at,
            arrived_at,
            complete_until,
        })
    }

    fn attempt(&self, record: &Record) -> Attempt {
        let ReadingNames { source, shard, .. } = self.names;
        Attempt::Decode { source: source.clone(), shard: shard.clone(), position: record.position.clone() }
    }

    fn decode_record(&self, record: Record, guilty: Option<&Error>) -> DecodedRecord {
        let decoded = guilty.map_or_else(|| self.intake.decode(&record), |guilty| Err(guilty.clone()));
        let event = match decoded {
            Ok(event) => Ok(event.map(Arc::new)),
            Err(error) => Err(Box::new(Undecodable { record: record.clone(), error })),
        };
        DecodedRecord { position: record.position, partition_key: record.partition_key, event }
    }
}
