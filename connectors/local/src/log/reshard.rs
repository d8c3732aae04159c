//! Splitting and merging shards.

use foldstream_model::{Error, HashKeyRange, ShardId, Timestamp};
use rusqlite::{Connection, params};

use super::shards::{self, ShardRow};
use crate::errors::Failure;

pub(super) fn split(
    transaction: &Connection,
    log: i64,
    now: Timestamp,
    shard: &ShardId,
    new_starting_hash_key: u128,
) -> Result<[ShardId; 2], Failure> {
    let parent = open_shard(transaction, log, shard)?;
    let HashKeyRange { first, last } = parent.range;
    if new_starting_hash_key <= first || new_starting_hash_key > last {
        return Err(Failure::Refused(Error::invalid(format!(
            "a shard is split at a hash key behind its first, up to its last: shard={shard} \
             new_starting_hash_key={new_starting_hash_key} first={first} last={last}"
        ))));
    }
    close(transaction, &parent, now)?;
    let parents = [Some(parent.number), None];
    let lower = HashKeyRange { first, last: new_starting_hash_key - 1 };
    let upper = HashKeyRange { first: new_starting_hash_key, last };
    Ok([
        shards::shard_id(shards::insert(transaction, log, lower, parents)?),
        shards::shard_id(shards::insert(transaction, log, upper, parents)?),
    ])
}

pub(super) fn merge(
    transaction: &Connection,
    log: i64,
    now: Timestamp,
    shard: &ShardId,
    adjacent: &ShardId,
) -> Result<ShardId, Failure> {
    let (one, other) = (open_shard(transaction, log, shard)?, open_shard(transaction, log, adjacent)?);
    let range = if one.range.last.checked_add(1) == Some(other.range.first) {
        HashKeyRange { first: one.range.first, last: other.range.last }
    } else if other.range.last.checked_add(1) == Some(one.range.first) {
        HashKeyRange { first: other.range.first, last: one.range.last }
    } else {
        return Err(Failure::Refused(Error::invalid(format!(
            "only shards whose hash keys are adjacent can be merged: shard={shard} last={} adjacent={adjacent} first={}",
            one.range.last, other.range.first
        ))));
    };
    close(transaction, &one, now)?;
    close(transaction, &other, now)?;
    let child = shards::insert(transaction, log, range, [Some(one.number), Some(other.number)])?;
    Ok(shards::shard_id(child))
}

fn open_shard(transaction: &Connection, log: i64, shard: &ShardId) -> Result<ShardRow, Failure> {
    let row = shards::find(transaction, log, shard)?;
    match row.closed_at {
        None => Ok(row),
        Some(closed_at) => Err(Failure::Refused(Error::invalid(format!(
            "only open shards can be split or merged: shard={shard} closed_at={closed_at}"
        )))),
    }
}

fn close(transaction: &Connection, shard: &ShardRow, now: Timestamp) -> Result<(), Failure> {
    let closed_at = shard.last_arrived_at.max(now).micros();
    transaction
        .execute("UPDATE shards SET closed_at = ?2 WHERE shard = ?1", params![shard.row, closed_at])?;
    Ok(())
}
