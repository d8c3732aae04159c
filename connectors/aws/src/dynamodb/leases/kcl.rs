//! What KCL 3 writes of a lease.
//! <https://docs.aws.amazon.com/streams/latest/dev/kcl-dynamoDB.html>

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{Error, ForeignLease, Lease, LeaseKey, LeftAt, Position, Result, ShardId, WorkerId};

use super::super::state::{self, Item};

pub(super) const OWNER_INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

pub(super) const LEASE_KEY: &str = "leaseKey";
/// Who has it, or gets it as soon as the one that is named by `CHECKPOINT_OWNER` has passed it on.
pub(super) const LEASE_OWNER: &str = "leaseOwner";
pub(super) const CHECKPOINT_OWNER: &str = "checkpointOwner";
pub(super) const LEASE_COUNTER: &str = "leaseCounter";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const SUB_SEQUENCE: &str = "checkpointSubSequenceNumber";
pub(super) const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub(super) const PARENTS: &str = "parentShardId";
pub(super) const CHILDREN: &str = "childShardIds";
pub(super) const FIRST_HASH_KEY: &str = "startingHashKey";
pub(super) const LAST_HASH_KEY: &str = "endingHashKey";
/// What an application has prepared and not yet made its checkpoint. KCL forgets it with each checkpoint.
pub(super) const PENDING: [&str; 3] =
    ["pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"];
pub(super) const ENTITY_TYPE: &str = "entityType";
pub(super) const LEASE: &str = "LEASE";
/// Of a row that is no application's: true while it is in use here, false where it is left to others. KCL leaves what it does
/// not know.
pub(super) const MADE_HERE: &str = "foldstream";
pub(super) const SHARD_END: &str = "SHARD_END";
/// Only in the leases of an application that reads several streams.
pub(super) const STREAM_NAME: &str = "streamName";

/// How far an application is. None: it is not said, as in rows that are not KCL's. `Invalid`: it is neither a number nor one
/// of KCL's words.
pub(super) fn left_at(item: &Item) -> Result<Option<LeftAt>> {
    if !item.contains_key(CHECKPOINT) {
        return Ok(None);
    }
    let number = match state::text_of(item, CHECKPOINT)? {
        "TRIM_HORIZON" => return Ok(Some(LeftAt::TrimHorizon)),
        "LATEST" => return Ok(Some(LeftAt::Latest)),
        "AT_TIMESTAMP" => return Ok(Some(LeftAt::AtTimestamp)),
        SHARD_END => return Ok(Some(LeftAt::End)),
        number => number,
    };
    let index = match item.contains_key(SUB_SEQUENCE) {
        true => state::number_of(item, SUB_SEQUENCE)?,
        false => 0,
    };
    let index = u32::try_from(index).map_err(|_| unreadable(item, SUB_SEQUENCE))?;
    match number.parse::<Position>() {
        Ok(position) if !number.contains('.') => Ok(Some(LeftAt::Behind(position.with_index(index)))),
        _ => Err(unreadable(item, CHECKPOINT)),
    }
}

/// Zero is before every record, as nothing is that KCL can name by a number.
pub(super) fn checkpoint(settled: &Position) -> LeftAt {
    match *settled == Position::BEGINNING {
        true => LeftAt::TrimHorizon,
        false => LeftAt::Behind(settled.clone()),
    }
}

/// The values of `checkpoint` and `checkpointSubSequenceNumber`.
pub(super) fn attributes(checkpoint: &LeftAt) -> (AttributeValue, AttributeValue) {
    let (text, index) = match checkpoint {
        LeftAt::TrimHorizon => ("TRIM_HORIZON".to_owned(), 0),
        LeftAt::Latest => ("LATEST".to_owned(), 0),
        LeftAt::AtTimestamp => ("AT_TIMESTAMP".to_owned(), 0),
        LeftAt::End => (SHARD_END.to_owned(), 0),
        LeftAt::Behind(position) => (position.number(), position.index()),
    };
    (state::text(&text), state::number(index.into()))
}

/// Whether somebody works under a lease, or did. A free one that an application has made, or that is left to it, is nobody's
/// until its shard is to be read.
pub(super) fn is_used(item: &Item) -> bool {
    let is_owned = [LEASE_OWNER, CHECKPOINT_OWNER].iter().any(|name| item.contains_key(*name));
    is_owned || item.get(MADE_HERE) == Some(&AttributeValue::Bool(true))
}

/// A lease as another application has left it, or as it works under it. None: it says nothing of its shard.
pub(super) fn foreign(item: &Item) -> Result<Option<ForeignLease>> {
    let Some(left_at) = left_at(item)? else { return Ok(None) };
    let shard = ShardId::new(state::text_of(item, LEASE_KEY)?);
    let Lease { owner, counter, .. } = lease(LeaseKey::Shard(shard.clone()), item)?;
    let is_ours = item.contains_key(MADE_HERE);
    Ok(Some(ForeignLease { shard, owner, counter, left_at, is_ours }))
}

/// Whether a row of KCL's table is a lease: KCL keeps its leader, its workers and its version in the same table. Before
/// version 3 there were only leases, and they did not say so.
pub(super) fn is_lease(item: &Item) -> bool {
    item.get(ENTITY_TYPE).is_none_or(|of| of.as_s().is_ok_and(|of| of == LEASE))
}

/// A lease as it is stored, in KCL's table or in ours.
pub(super) fn lease(key: LeaseKey, item: &Item) -> Result<Lease> {
    let worker = |name: &str| match item.contains_key(name) {
        true => state::text_of(item, name).map(|worker| Some(WorkerId::new(worker))),
        false => Ok(None),
    };
    Ok(Lease {
        key,
        owner: worker(LEASE_OWNER)?,
        from: worker(CHECKPOINT_OWNER)?,
        counter: state::number_of(item, LEASE_COUNTER).map_err(|_| unreadable(item, LEASE_COUNTER))?,
        checkpoint: match left_at(item)? {
            Some(LeftAt::Behind(settled)) => Some(settled),
            Some(LeftAt::TrimHorizon | LeftAt::Latest | LeftAt::AtTimestamp | LeftAt::End) | None => None,
        },
    })
}

fn unreadable(item: &Item, attribute: &str) -> Error {
    let key = item.get(LEASE_KEY).and_then(|key| key.as_s().ok()).map_or("", String::as_str);
    Error::invalid(format!(
        "a lease cannot be read: lease={key} attribute={attribute} value={:?} expected=a number; correct it in the \
         lease table, or delete the row, and its shard is begun anew",
        item.get(attribute)
    ))
}
