//! Moves the events of the event store into a log.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{Clock, Event, Result, StreamId, Timestamp};
use rusqlite::{Connection, params};

use crate::{
    database::{Database, number, sql_integer},
    errors::Failure,
    events::{EVENT_COLUMNS, event, wait_beyond},
    log::{LocalLog, LogRow, Routed, hash_key, put},
};

/// Payloads in one transaction of the relay, unless a single event is larger.
const BYTES_AT_ONCE: usize = 8 * 1024 * 1024;

/// Moves events in commit order into a log, each once, with its stream id as partition key and its envelope as data.
///
/// How far it has come, the records and the low watermark change in one transaction, so relays of several processes
/// cannot double or lose an event.
pub struct Relay {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    log: i64,
    log_name: Arc<str>,
}

impl Relay {
    pub(crate) fn new(database: Arc<Database>, clock: Arc<dyn Clock>, log: &LocalLog) -> Self {
        Self { database, clock, log: log.id(), log_name: log.name().into() }
    }

    /// Moves at most `limit` events; how many it moved. Zero: the log holds all.
    pub async fn run_once(&self, limit: usize) -> Result<usize> {
        loop {
            let log = self.log;
            let batch = self.database.read(move |snapshot| Batch::read(snapshot, log, limit)).await?;
            let moved = batch.records.len();
            if moved == 0 {
                return Ok(0);
            }
            let now = self.clock.now();
            match self.database.write_and_tell(move |transaction| batch.relay(transaction, log, now)).await? {
                Relayed::InOrder => return Ok(moved),
                Relayed::OutOfOrder(offender) => {
                    self.warn(&offender);
                    return Ok(moved);
                }
                // Another relay was faster.
                Relayed::Nothing => {}
            }
        }
    }

    /// Waits until the event store holds events that the log does not, appended by this process or by another.
    pub async fn wait_for_events(&self) -> Result<()> {
        let log = self.log;
        let relayed = self.database.read(move |snapshot| Ok(LogRow::read(snapshot, log)?.relayed)).await?;
        wait_beyond(&self.database, relayed).await
    }

    fn warn(&self, offender: &Offender) {
        tracing::warn!(
            stream = %self.log_name,
            event_stream = %offender.stream,
            offset = offender.offset,
            recorded_at = %offender.recorded_at,
            earlier_append = %offender.low_watermark,
            "an event was recorded no later than one that was appended before it: `global` projections of this stream go by the clock from now on, and wait `allowed_lateness` for such events"
        );
    }
}

/// The next events of a log, ready to be put.
struct Batch {
    /// How far the relay had come when they were read.
    after: u64,
    events: Vec<Relaying>,
    records: Vec<Routed>,
}

/// What the low watermark needs to know of an event.
struct Relaying {
    offset: u64,
    stream: StreamId,
    recorded_at: Timestamp,
    ends_append: bool,
}

enum Relayed {
    InOrder,
    /// Done, but nothing can be promised any more.
    OutOfOrder(Offender),
    /// The log was not where the batch begins.
    Nothing,
}

struct Offender {
    stream: StreamId,
    offset: u64,
    recorded_at: Timestamp,
    low_watermark: Timestamp,
}

impl Batch {
    fn read(snapshot: &Connection, log: i64, limit: usize) -> Result<Self, Failure> {
        let after = LogRow::read(snapshot, log)?.relayed;
        let mut batch = Self { after, events: Vec::new(), records: Vec::new() };
        let mut statement = snapshot.prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS}, e.offset, e.ends_append, s.id FROM stored_events e
             CROSS JOIN streams s USING (stream) WHERE e.offset > ?1 ORDER BY e.offset LIMIT ?2"
        ))?;
        let mut rows = statement.query(params![sql_integer(after), sql_integer(limit as u64)])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (offset, ends_append, stream) =
                (number(row.get(8)?), row.get(9)?, row.get::<_, Arc<str>>(10)?);
            bytes += batch.push(&event(row, StreamId::new(stream))?, offset, ends_append)?;
            if bytes >= BYTES_AT_ONCE {
                break;
            }
        }
        Ok(batch)
    }

    /// The size of the event's record.
    fn push(&mut self, event: &Event, offset: u64, ends_append: bool) -> Result<usize> {
        let data = Bytes::from(event.to_envelope()?);
        let size = data.len();
        let partition_key = Arc::from(event.stream_id.as_str());
        self.records.push(Routed { hash_key: hash_key(&partition_key), partition_key, data });
        let (stream, recorded_at) = (event.stream_id.clone(), event.recorded_at);
        self.events.push(Relaying { offset, stream, recorded_at, ends_append });
        Ok(size)
    }

    fn relay(&self, transaction: &Connection, log: i64, now: Timestamp) -> Result<Relayed, Failure> {
        let row = LogRow::read(transaction, log)?;
        let Some(last) = self.events.last().filter(|_| row.relayed == self.after) else {
            return Ok(Relayed::Nothing);
        };
        put(transaction, log, now, &self.records)?;
        let mut watermark = Watermark { stated: row.low_watermark, highest: row.highest_recorded_at };
        let offender = if row.in_order { watermark.pass(&self.events) } else { None };
        let in_order = row.in_order && offender.is_none();
        transaction
            .prepare_cached(
                "UPDATE logs SET relayed = ?2, in_order = ?3, highest_recorded_at = ?4, low_watermark = ?5
                 WHERE log = ?1",
            )?
            .execute(params![
                log,
                sql_integer(last.offset),
                in_order,
                watermark.highest.map(Timestamp::micros),
                watermark.stated.filter(|_| in_order).map(Timestamp::micros),
            ])?;
        Ok(offender.map_or(Relayed::InOrder, Relayed::OutOfOrder))
    }
}

/// Up to when every event is in the log, provided that every append is recorded later than all before it: stated at the
/// end of each append, as the events of one append may share an instant.
struct Watermark {
    stated: Option<Timestamp>,
    highest: Option<Timestamp>,
}

impl Watermark {
    /// Raises it over events; stops at the first that breaks what it stands on.
    fn pass(&mut self, events: &[Relaying]) -> Option<Offender> {
        for event in events {
            if let Some(low_watermark) = self.stated.filter(|stated| event.recorded_at <= *stated) {
                let (stream, offset, recorded_at) = (event.stream.clone(), event.offset, event.recorded_at);
                return Some(Offender { stream, offset, recorded_at, low_watermark });
            }
            self.highest = self.highest.max(Some(event.recorded_at));
            if event.ends_append {
                self.stated = self.highest;
            }
        }
        None
    }
}
