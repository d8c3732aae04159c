//! Shards as rows.

use foldstream_model::{Error, HashKeyRange, Position, ShardId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::ShardDescription;
use crate::{database::number, errors::Failure};

const COLUMNS: &str = "shard, number, first_hash_key, last_hash_key, parent, adjacent_parent, trimmed, last, \
     last_arrived_at, closed_at";

#[derive(Debug, Clone)]
pub(super) struct ShardRow {
    /// What its records name it by; never comes back.
    pub(super) row: i64,
    pub(super) number: u32,
    pub(super) range: HashKeyRange,
    pub(super) parents: Vec<u32>,
    pub(super) trimmed: u64,
    pub(super) last: u64,
    pub(super) last_arrived_at: Timestamp,
    pub(super) closed_at: Option<Timestamp>,
}

impl ShardRow {
    pub(super) fn id(&self) -> ShardId {
        shard_id(self.number)
    }
}

pub(super) fn shard_id(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

/// All shards that the log still knows, in the order in which they were made: parents before children.
pub(super) fn all(snapshot: &Connection, log: i64) -> Result<Vec<ShardRow>, Failure> {
    let mut statement =
        snapshot.prepare_cached(&format!("SELECT {COLUMNS} FROM shards WHERE log = ?1 ORDER BY number"))?;
    let rows = statement.query_map([log], shard_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn open(snapshot: &Connection, log: i64) -> Result<Vec<ShardRow>, Failure> {
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM shards WHERE log = ?1 AND closed_at IS NULL ORDER BY number"
    ))?;
    let rows = statement.query_map([log], shard_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Refused when the log knows no such shard, any more or at all.
pub(super) fn find(snapshot: &Connection, log: i64, shard: &ShardId) -> Result<ShardRow, Failure> {
    let mut known = all(snapshot, log)?;
    match known.iter().position(|row| row.id() == *shard) {
        Some(index) => Ok(known.swap_remove(index)),
        None => {
            let names: Vec<String> = known.iter().map(|row| row.id().to_string()).collect();
            Err(Failure::Refused(Error::invalid(format!(
                "there is no such shard: shard={shard} known={}",
                names.join(",")
            ))))
        }
    }
}

/// By the name of its row; none once the log has forgotten it.
pub(super) fn by_row(snapshot: &Connection, row: i64) -> Result<Option<ShardRow>, Failure> {
    let mut statement = snapshot.prepare_cached(&format!("SELECT {COLUMNS} FROM shards WHERE shard = ?1"))?;
    Ok(statement.query_row([row], shard_row).optional()?)
}

pub(super) fn descriptions(rows: &[ShardRow]) -> Vec<ShardDescription> {
    let known = |number: &&u32| rows.iter().any(|row| row.number == **number);
    let describe = |row: &ShardRow| ShardDescription {
        id: row.id(),
        parents: row.parents.iter().filter(known).map(|number| shard_id(*number)).collect(),
        range: row.range,
        trimmed: Position::new(row.trimmed.into()),
        last: Position::new(row.last.into()),
        closed_at: row.closed_at,
    };
    rows.iter().map(describe).collect()
}

/// Makes an open shard and says its number.
pub(super) fn insert(
    transaction: &Connection,
    log: i64,
    range: HashKeyRange,
    parents: [Option<u32>; 2],
) -> Result<u32, Failure> {
    let number: u32 = transaction.query_row(
        "UPDATE logs SET shards_made = shards_made + 1 WHERE log = ?1 RETURNING shards_made - 1",
        [log],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO shards (log, number, first_hash_key, last_hash_key, parent, adjacent_parent, trimmed, last,
                             last_arrived_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7)",
        params![
            log,
            number,
            range.first.to_string(),
            range.last.to_string(),
            parents[0],
            parents[1],
            Timestamp::MIN.micros()
        ],
    )?;
    Ok(number)
}

fn shard_row(row: &Row<'_>) -> rusqlite::Result<ShardRow> {
    let parents = [row.get::<_, Option<u32>>("parent")?, row.get("adjacent_parent")?];
    Ok(ShardRow {
        row: row.get("shard")?,
        number: row.get("number")?,
        range: HashKeyRange { first: key(row, "first_hash_key")?, last: key(row, "last_hash_key")? },
        parents: parents.into_iter().flatten().collect(),
        trimmed: number(row.get("trimmed")?),
        last: number(row.get("last")?),
        last_arrived_at: Timestamp::from_micros(row.get("last_arrived_at")?),
        closed_at: row.get::<_, Option<i64>>("closed_at")?.map(Timestamp::from_micros),
    })
}

fn key(row: &Row<'_>, column: &str) -> rusqlite::Result<u128> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}
