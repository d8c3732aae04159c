//! What is written of a lease when it is made and when it changes, as KCL writes it. What KCL keeps beside that stays.
//! <https://github.com/awslabs/amazon-kinesis-client/blob/v3.5.1/amazon-kinesis-client/src/main/java/software/amazon/kinesis/leases/dynamodb/DynamoDBLeaseSerializer.java>

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{Lease, LeftAt, Position, Shard, ShardId, WorkerId};

use super::{
    super::state::{self, Item},
    kcl::{
        self, CHECKPOINT, CHECKPOINT_OWNER, CHILDREN, ENTITY_TYPE, FIRST_HASH_KEY, LAST_HASH_KEY, LEASE,
        LEASE_COUNTER, LEASE_OWNER, OWNER_SWITCHES, PARENTS, PENDING, SUB_SEQUENCE,
    },
};

/// A change of attributes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Change {
    pub set: Vec<(&'static str, AttributeValue)>,
    /// Only where there is none.
    pub set_absent: Vec<(&'static str, AttributeValue)>,
    pub remove: Vec<&'static str>,
    pub add_one: Option<&'static str>,
}

/// Everything of a lease that is made. KCL expects a checkpoint of each.
pub(super) fn first(lease: &Lease, shard: Option<&Shard>) -> Item {
    let mut change = Change::default();
    change.claim(lease);
    let checkpoint = lease.checkpoint.as_ref().map_or(LeftAt::TrimHorizon, kcl::checkpoint);
    change.checkpoint(&checkpoint);
    change.describe(shard);
    let attributes = change.set.into_iter().chain(change.set_absent);
    attributes.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// From one state of a lease to the next. Without a checkpoint the stored one stays; so does a word where nothing is settled.
pub(super) fn next(expected: &Lease, lease: &Lease, shard: Option<&Shard>) -> Change {
    let mut change = Change::default();
    change.claim(lease);
    change.describe(shard);
    if let Some(checkpoint) = &lease.checkpoint
        && *checkpoint != *expected.checkpoint.as_ref().unwrap_or(&Position::BEGINNING)
    {
        change.checkpoint(&kcl::checkpoint(checkpoint));
    }
    let is_taken = expected.owner.is_some() && lease.owner.is_some() && lease.from.is_none();
    if is_taken && lease.owner != expected.owner {
        change.set.retain(|(name, _)| *name != OWNER_SWITCHES);
        change.add_one = Some(OWNER_SWITCHES);
    }
    change
}

/// Nobody works under it.
pub(super) fn free(expected: &Lease) -> Change {
    let mut change = Change::default();
    change.claim(&Lease { owner: None, from: None, counter: expected.counter + 1, ..expected.clone() });
    change
}

/// A shard was settled to its end: nobody needs the lease, and KCL finds the shard's children by it.
pub(super) fn end(expected: &Lease, children: &[Shard]) -> Change {
    let mut change = free(expected);
    change.checkpoint(&LeftAt::End);
    change.set.extend(names(children.iter().map(|child| &child.id)).map(|children| (CHILDREN, children)));
    change
}

impl Change {
    fn claim(&mut self, lease: &Lease) {
        self.set.push((LEASE_COUNTER, state::number(lease.counter)));
        self.worker(LEASE_OWNER, lease.owner.as_ref());
        self.worker(CHECKPOINT_OWNER, lease.from.as_ref());
    }

    fn worker(&mut self, name: &'static str, worker: Option<&WorkerId>) {
        match worker {
            Some(worker) => self.set.push((name, state::text(worker.as_str()))),
            None => self.remove.push(name),
        }
    }

    fn checkpoint(&mut self, checkpoint: &LeftAt) {
        let (number, index) = kcl::attributes(checkpoint);
        self.set.extend([(CHECKPOINT, number), (SUB_SEQUENCE, index), (OWNER_SWITCHES, state::number(0))]);
        self.remove.extend(PENDING);
    }

    /// What KCL wants to know of a shard. In rows that it has written it is there.
    fn describe(&mut self, shard: Option<&Shard>) {
        let Some(shard) = shard else { return };
        self.set_absent.push((ENTITY_TYPE, state::text(LEASE)));
        self.set_absent.extend(names(shard.parents.iter()).map(|parents| (PARENTS, parents)));
        if let Some(range) = shard.range {
            self.set_absent.push((FIRST_HASH_KEY, state::text(&range.first.to_string())));
            self.set_absent.push((LAST_HASH_KEY, state::text(&range.last.to_string())));
        }
    }
}

/// DynamoDB knows no empty set.
fn names<'s>(shards: impl Iterator<Item = &'s ShardId>) -> Option<AttributeValue> {
    let names: Vec<String> = shards.map(ShardId::to_string).collect();
    (!names.is_empty()).then_some(AttributeValue::Ss(names))
}
