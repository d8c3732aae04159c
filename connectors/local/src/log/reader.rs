//! Reading one shard.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    Error, Position, Record, Result, ShardId, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use rusqlite::{Connection, Row, params};
use tokio::time::{Instant, timeout_at};

use super::{
    LogRow,
    shards::{self, ShardRow},
};
use crate::{
    database::{Database, number, sql_integer},
    errors::Failure,
};

pub(super) struct LocalShardReader {
    database: Arc<Database>,
    log: i64,
    shard: ShardId,
    row: i64,
    after: u64,
}

impl LocalShardReader {
    pub(super) fn new(database: Arc<Database>, log: i64, shard: ShardId, row: i64, after: u64) -> Self {
        Self { database, log, shard, row, after }
    }

    async fn fetch(&self, limit: ReadLimit) -> Result<Batch> {
        let (log, row, shard, after) = (self.log, self.row, self.shard.clone(), self.after);
        self.database
            .read(move |snapshot| {
                let Some(known) = shards::by_row(snapshot, row)? else {
                    return Err(Failure::Refused(Error::invalid(format!(
                        "the shard was removed when its retention time was over: shard={shard} after={after}"
                    ))));
                };
                fetch(snapshot, log, &known, after, limit)
            })
            .await
    }
}

#[async_trait]
impl ShardReader for LocalShardReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let deadline = Instant::now() + limit.wait;
        let mut changes = self.database.changes();
        loop {
            changes.borrow_and_update();
            let batch = self.fetch(limit).await?;
            if let Some(last) = batch.records.last() {
                self.after = last.position.as_u64().unwrap_or(self.after);
                return Ok(batch);
            }
            if batch.end || timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(batch);
            }
        }
    }

    fn position(&self) -> Position {
        Position::new(self.after.into())
    }
}

fn fetch(
    snapshot: &Connection,
    log: i64,
    shard: &ShardRow,
    after: u64,
    limit: ReadLimit,
) -> Result<Batch, Failure> {
    if after < shard.trimmed {
        return Err(Failure::Refused(Error::invalid(format!(
            "records were removed before they were read, as their retention time was over: shard={} after={after} \
             trimmed={}",
            shard.id(),
            shard.trimmed
        ))));
    }
    let records = records(snapshot, shard.row, after, limit)?;
    let behind = shard.last - after - records.len() as u64;
    Ok(Batch {
        end: behind == 0 && shard.closed_at.is_some(),
        tip: behind == 0,
        behind: Some(behind),
        low_watermark: stated(&LogRow::read(snapshot, log)?),
        records,
    })
}

/// A log that states a low watermark does so from its first batch on, so that no clock ever moves a merge over it.
fn stated(log: &LogRow) -> Option<Timestamp> {
    log.in_order.then(|| log.low_watermark.unwrap_or(Timestamp::MIN))
}

fn records(snapshot: &Connection, shard: i64, after: u64, limit: ReadLimit) -> Result<Vec<Record>, Failure> {
    let mut statement = snapshot.prepare_cached(
        "SELECT position, partition_key, arrived_at, data FROM shard_records
         WHERE shard = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
    )?;
    let count = sql_integer(limit.records.max(1) as u64);
    let mut rows = statement.query(params![shard, sql_integer(after), count])?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        bytes += record.data.len() + record.partition_key.len();
        records.push(record);
        if bytes >= limit.bytes {
            break;
        }
    }
    Ok(records)
}

pub(super) fn next_record(
    snapshot: &Connection,
    log: i64,
    shard: &ShardId,
    after: u64,
) -> Result<Option<Record>, Failure> {
    let shard = shards::find(snapshot, log, shard)?;
    let limit = ReadLimit { records: 1, bytes: 0, wait: Duration::ZERO };
    Ok(records(snapshot, shard.row, after, limit)?.pop())
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        position: Position::new(number(row.get(0)?).into()),
        partition_key: row.get(1)?,
        arrived_at: Timestamp::from_micros(row.get(2)?),
        data: Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?),
    })
}

/// The first record that arrived at or after an instant, found by halving: positions have no gaps, and instants of
/// arrival never go back.
pub(super) fn first_arrived_at_or_after(
    snapshot: &Connection,
    shard: &ShardRow,
    instant: Timestamp,
) -> Result<Option<u64>, Failure> {
    let mut statement =
        snapshot.prepare_cached("SELECT arrived_at FROM shard_records WHERE shard = ?1 AND position = ?2")?;
    let (mut low, mut high) = (shard.trimmed + 1, shard.last + 1);
    while low < high {
        let middle = low.midpoint(high);
        let arrived_at: i64 =
            statement.query_row(params![shard.row, sql_integer(middle)], |row| row.get(0))?;
        if arrived_at < instant.micros() { low = middle + 1 } else { high = middle }
    }
    Ok((low <= shard.last).then_some(low))
}
