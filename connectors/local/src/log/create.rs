//! Logs as rows: found, made, described.

use std::time::Duration;

use foldstream_model::{Incarnation, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{LogDescription, LogOptions, hash_key::even_ranges, shards};
use crate::{
    database::{number, sql_integer},
    errors::Failure,
};

/// What a log's row holds beside its shards.
pub(crate) struct LogRow {
    pub(crate) incarnation: Incarnation,
    pub(crate) retention: Option<Duration>,
    /// Up to which offset of the event store the relay has come.
    pub(crate) relayed: u64,
    pub(crate) in_order: bool,
    pub(crate) highest_recorded_at: Option<Timestamp>,
    pub(crate) low_watermark: Option<Timestamp>,
}

impl LogRow {
    pub(crate) fn read(snapshot: &Connection, log: i64) -> Result<Self, Failure> {
        let mut statement = snapshot.prepare_cached(
            "SELECT incarnation, retention, relayed, in_order, highest_recorded_at, low_watermark FROM logs
             WHERE log = ?1",
        )?;
        let row = statement.query_row([log], |row| {
            let instant = |micros: Option<i64>| micros.map(Timestamp::from_micros);
            Ok(Self {
                incarnation: Incarnation::new(row.get::<_, String>(0)?),
                retention: row.get::<_, Option<i64>>(1)?.map(|micros| Duration::from_micros(number(micros))),
                relayed: number(row.get(2)?),
                in_order: row.get(3)?,
                highest_recorded_at: instant(row.get(4)?),
                low_watermark: instant(row.get(5)?),
            })
        });
        Ok(row?)
    }
}

pub(super) fn find(snapshot: &Connection, name: &str) -> Result<Option<i64>, Failure> {
    let mut statement = snapshot.prepare_cached("SELECT log FROM logs WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn find_or_create(
    transaction: &Connection,
    name: &str,
    incarnation: &str,
    now: Timestamp,
    options: LogOptions,
) -> Result<i64, Failure> {
    let retention = options.retention.map(micros);
    if let Some(log) = find(transaction, name)? {
        transaction.execute("UPDATE logs SET retention = ?2 WHERE log = ?1", params![log, retention])?;
        return Ok(log);
    }
    let mut statement = transaction.prepare(
        "INSERT INTO logs (name, incarnation, retention, shards_made, relayed, in_order) VALUES (?1, ?2, ?3, 0, 0, ?4)",
    )?;
    let incarnation = format!("{name}@{now} {incarnation}");
    let log = statement.insert(params![name, incarnation, retention, options.recorded_in_order])?;
    for range in even_ranges(options.shards) {
        shards::insert(transaction, log, range, [None, None])?;
    }
    Ok(log)
}

pub(super) fn describe(snapshot: &Connection, log: i64) -> Result<LogDescription, Failure> {
    let LogRow { incarnation, retention, relayed, in_order, .. } = LogRow::read(snapshot, log)?;
    let shards = shards::descriptions(&shards::all(snapshot, log)?);
    Ok(LogDescription { incarnation, retention, relayed, recorded_in_order: in_order, shards })
}

pub(super) fn micros(duration: Duration) -> i64 {
    sql_integer(duration.as_micros().try_into().unwrap_or(u64::MAX))
}
