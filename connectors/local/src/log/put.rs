//! Putting records into the open shards.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{Error, Position, ShardId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    NewRecord, hash_key,
    shards::{self, ShardRow},
};
use crate::{database::sql_integer, errors::Failure};

/// A record whose hash key is known.
pub(crate) struct Routed {
    pub(crate) partition_key: Arc<str>,
    pub(crate) hash_key: u128,
    pub(crate) data: Bytes,
}

impl From<NewRecord> for Routed {
    fn from(record: NewRecord) -> Self {
        let hash_key = record.explicit_hash_key.unwrap_or_else(|| hash_key(&record.partition_key));
        Self { partition_key: record.partition_key, hash_key, data: record.data }
    }
}

/// Where each record went. Inside a shard instants of arrival never go back, whatever the clock does.
pub(crate) fn put(
    transaction: &Connection,
    log: i64,
    now: Timestamp,
    records: &[Routed],
) -> Result<Vec<(ShardId, Position)>, Failure> {
    let mut open = shards::open(transaction, log)?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO shard_records (shard, position, partition_key, arrived_at, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut places = Vec::with_capacity(records.len());
    for record in records {
        let shard = take(&mut open, record.hash_key)?;
        shard.last += 1;
        shard.last_arrived_at = shard.last_arrived_at.max(now);
        statement.execute(params![
            shard.row,
            sql_integer(shard.last),
            record.partition_key,
            shard.last_arrived_at.micros(),
            &record.data[..],
        ])?;
        places.push((shard.id(), Position::new(shard.last.into())));
    }
    let mut statement =
        transaction.prepare_cached("UPDATE shards SET last = ?2, last_arrived_at = ?3 WHERE shard = ?1")?;
    for shard in open {
        statement.execute(params![shard.row, sql_integer(shard.last), shard.last_arrived_at.micros()])?;
    }
    Ok(places)
}

fn take(open: &mut [ShardRow], hash_key: u128) -> Result<&mut ShardRow, Failure> {
    let uncovered = || {
        Failure::Refused(Error::internal(format!("no open shard takes this hash key: hash_key={hash_key}")))
    };
    open.iter_mut().find(|shard| shard.range.contains(hash_key)).ok_or_else(uncovered)
}
