//! Retention.

use foldstream_model::Timestamp;
use rusqlite::{Connection, params};

use super::{LogRow, create::micros, reader::first_arrived_at_or_after, shards};
use crate::{database::sql_integer, errors::Failure};

/// Records that one call removes from one shard.
const AT_ONCE: u64 = 10_000;

/// How many records were removed. A closed shard is forgotten when it was closed before the retention time and all its
/// records are gone.
pub(super) fn trim(transaction: &Connection, log: i64, now: Timestamp) -> Result<u64, Failure> {
    let Some(retention) = LogRow::read(transaction, log)?.retention else {
        return Ok(0);
    };
    let oldest = now.plus_micros(-micros(retention));
    let mut removed = 0;
    for shard in shards::all(transaction, log)? {
        let kept = first_arrived_at_or_after(transaction, &shard, oldest)?.unwrap_or(shard.last + 1);
        let trimmed = (kept - 1).min(shard.trimmed + AT_ONCE);
        if trimmed > shard.trimmed {
            remove(transaction, shard.row, trimmed)?;
            removed += trimmed - shard.trimmed;
        }
        let forgotten = trimmed == shard.last && shard.closed_at.is_some_and(|closed_at| closed_at < oldest);
        if forgotten {
            transaction.execute("DELETE FROM shards WHERE shard = ?1", [shard.row])?;
        }
    }
    Ok(removed)
}

fn remove(transaction: &Connection, shard: i64, up_to: u64) -> Result<(), Failure> {
    let values = params![shard, sql_integer(up_to)];
    transaction.execute("DELETE FROM shard_records WHERE shard = ?1 AND position <= ?2", values)?;
    transaction.execute("UPDATE shards SET trimmed = ?2 WHERE shard = ?1", values)?;
    Ok(())
}
