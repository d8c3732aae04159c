//! What KCL 3 writes of a lease.
//! <https://docs.aws.amazon.com/streams/latest/dev/kcl-dynamoDB.html>

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{Error, Lease, LeaseKey, Position, Result, WorkerId};

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
/// Of a row that is no application's: KCL leaves what it does not know.
pub(super) const MADE_HERE: &str = "foldstream";
/// Only in the leases of an application that reads several streams.
pub(super) const STREAM_NAME: &str = "streamName";

/// How far a KCL application is in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KclCheckpoint {
    /// It has settled nothing, and begins at the oldest record that is kept.
    TrimHorizon,
    /// It has settled nothing, and begins behind the newest record.
    Latest,
    /// It has settled nothing, and begins at the instant that its configuration names.
    AtTimestamp,
    /// Everything up to here is settled: sequence number, and sub-sequence number inside an aggregated record.
    At(Position),
    /// The shard is settled to its end.
    ShardEnd,
}

impl KclCheckpoint {
    /// None: there is none, as in rows that are not KCL's. `Invalid`: it is neither a number nor one of KCL's words.
    pub(super) fn read(item: &Item) -> Result<Option<Self>> {
        if !item.contains_key(CHECKPOINT) {
            return Ok(None);
        }
        let number = match state::text_of(item, CHECKPOINT)? {
            "TRIM_HORIZON" => return Ok(Some(Self::TrimHorizon)),
            "LATEST" => return Ok(Some(Self::Latest)),
            "AT_TIMESTAMP" => return Ok(Some(Self::AtTimestamp)),
            "SHARD_END" => return Ok(Some(Self::ShardEnd)),
            number => number,
        };
        let index = match item.contains_key(SUB_SEQUENCE) {
            true => state::number_of(item, SUB_SEQUENCE)?,
            false => 0,
        };
        let index = u32::try_from(index).map_err(|_| unreadable(item, SUB_SEQUENCE))?;
        match number.parse::<Position>() {
            Ok(position) if !number.contains('.') => Ok(Some(Self::At(position.with_index(index)))),
            _ => Err(unreadable(item, CHECKPOINT)),
        }
    }

    /// Zero is before every record, as nothing is that KCL can name by a number.
    pub(super) fn of(position: &Position) -> Self {
        match *position == Position::BEGINNING {
            true => Self::TrimHorizon,
            false => Self::At(position.clone()),
        }
    }

    /// The values of `checkpoint` and `checkpointSubSequenceNumber`.
    pub(super) fn attributes(&self) -> (AttributeValue, AttributeValue) {
        let (text, index) = match self {
            Self::TrimHorizon => ("TRIM_HORIZON".to_owned(), 0),
            Self::Latest => ("LATEST".to_owned(), 0),
            Self::AtTimestamp => ("AT_TIMESTAMP".to_owned(), 0),
            Self::ShardEnd => ("SHARD_END".to_owned(), 0),
            Self::At(position) => (position.number(), position.index()),
        };
        (state::text(&text), state::number(index.into()))
    }

    fn into_position(self) -> Option<Position> {
        match self {
            Self::At(position) => Some(position),
            Self::TrimHorizon | Self::Latest | Self::AtTimestamp | Self::ShardEnd => None,
        }
    }
}

/// Whether somebody works under a lease, or did. A free one that an application has made is left to it until its shard is to
/// be read.
pub(super) fn is_used(item: &Item) -> bool {
    [MADE_HERE, LEASE_OWNER, CHECKPOINT_OWNER].iter().any(|name| item.contains_key(*name))
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
        checkpoint: KclCheckpoint::read(item)?.and_then(KclCheckpoint::into_position),
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
