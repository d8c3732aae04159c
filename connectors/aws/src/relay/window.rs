//! What may be sent now, and up to where a shard is done: synchronous, without clock or chance, whoever sends and whatever
//! becomes of it.
//!
//! Of each partition key at most one record is on its way: the next one may be sent when it is known that the one before
//! it has arrived. Records of other keys go together.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use foldstream_model::{Position, Record, ShardId, Timestamp};

use super::route::Route;

/// The most of one call, and the most bytes of its data and keys together.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MOST_RECORDS: usize = 500;
const MOST_BYTES: usize = 5 << 20;

/// A record on its way, by which an answer is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// Of a record that no window waits for.
    pub(super) const NONE: Self = Self(u64::MAX);
}

/// A record to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub ticket: Ticket,
    pub partition_key: Arc<str>,
    pub explicit_hash_key: Option<u128>,
    pub data: Bytes,
}

impl Outgoing {
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// The records that were read and are not known to have arrived.
#[derive(Debug, Default)]
pub(super) struct Window {
    shards: BTreeMap<ShardId, Progress>,
    /// By partition key. The first one of each may be on its way.
    keys: BTreeMap<Arc<str>, VecDeque<Waiting>>,
    /// Keys of which the first record may be sent, in the order in which that became so.
    ready: VecDeque<Arc<str>>,
    on_their_way: BTreeMap<Ticket, Arc<str>>,
    tickets: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    outgoing: Outgoing,
    shard: ShardId,
}

/// How far a shard is.
#[derive(Debug)]
struct Progress {
    /// Everything up to here has arrived.
    done: Position,
    /// What was read behind that, in order.
    open: VecDeque<Open>,
    /// Everything that was made before this was read.
    read_until: Option<Timestamp>,
    ended: bool,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    position: Position,
    made_at: Timestamp,
    has_arrived: bool,
}

/// How far a shard is, for whoever saves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub done: Position,
    /// The shard has ended, and everything in it has arrived.
    pub finished: bool,
}

impl Window {
    /// A shard is read behind a position. One that is known already begins anew.
    pub(super) fn begin(&mut self, shard: ShardId, position: Position) {
        self.give_up(&shard);
        let progress = Progress { done: position, open: VecDeque::new(), read_until: None, ended: false };
        self.shards.insert(shard, progress);
    }

    /// The next record of a shard. One of a shard that was given up is nobody's.
    pub(super) fn add(&mut self, shard: &ShardId, record: &Record, route: Route) {
        let Some(progress) = self.shards.get_mut(shard) else { return };
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let (position, made_at) = (record.position.clone(), record.arrived_at);
        progress.open.push_back(Open { ticket, position, made_at, has_arrived: false });
        progress.read_until = progress.read_until.max(Some(made_at));
        let Route { partition_key, explicit_hash_key } = route;
        let partition_key: Arc<str> = partition_key.into();
        let data = record.data.clone();
        let outgoing = Outgoing { ticket, partition_key: partition_key.clone(), explicit_hash_key, data };
        self.bytes += outgoing.size();
        let waiting = self.keys.entry(partition_key.clone()).or_default();
        waiting.push_back(Waiting { outgoing, shard: shard.clone() });
        if waiting.len() == 1 {
            self.ready.push_back(partition_key);
        }
    }

    /// Everything in a shard was read that was made before an instant.
    pub(super) fn read_until(&mut self, shard: &ShardId, instant: Timestamp) {
        if let Some(progress) = self.shards.get_mut(shard) {
            progress.read_until = progress.read_until.max(Some(instant));
        }
    }

    /// Everything that was made before this has arrived, of all shards; none: that is not known of one of them yet, or there is
    /// none.
    pub(super) fn complete_until(&self) -> Option<Timestamp> {
        let open = self.shards.values().filter(|progress| !progress.is_finished());
        let until: Option<Vec<Timestamp>> = open.map(Progress::complete_until).collect();
        until?.into_iter().min()
    }

    /// There are no more records in a shard.
    pub(super) fn end(&mut self, shard: &ShardId) {
        if let Some(progress) = self.shards.get_mut(shard) {
            progress.ended = true;
        }
    }

    /// What may be sent now, in one call: one record of each key, and nothing if there is nothing. All of it must be
    /// answered for by `arrived` or `failed`.
    pub(super) fn batch(&mut self) -> Vec<Outgoing> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MOST_RECORDS
            && let Some(next) = self.ready.front().and_then(|key| self.first(key))
            && (batch.is_empty() || bytes + next.size() <= MOST_BYTES)
        {
            bytes += next.size();
            self.on_their_way.insert(next.ticket, next.partition_key.clone());
            batch.push(next);
            self.ready.pop_front();
        }
        batch
    }

    fn first(&self, key: &Arc<str>) -> Option<Outgoing> {
        Some(self.keys.get(key)?.front()?.outgoing.clone())
    }

    /// It is known to be in the stream.
    pub(super) fn arrived(&mut self, ticket: Ticket) {
        let Some(key) = self.on_their_way.remove(&ticket) else { return };
        let Some(waiting) = self.pop(&key) else { return };
        if let Some(progress) = self.shards.get_mut(&waiting.shard) {
            progress.arrived(ticket);
        }
    }

    /// It is not in the stream, or that is not known: it is sent again.
    pub(super) fn failed(&mut self, ticket: Ticket) {
        let Some(key) = self.on_their_way.remove(&ticket) else { return };
        let first = self.keys.get(&key).and_then(VecDeque::front);
        let is_wanted = first.is_some_and(|first| self.is_open(&first.shard, ticket));
        match is_wanted {
            true => self.ready.push_back(key),
            false => drop(self.pop(&key)),
        }
    }

    fn is_open(&self, shard: &ShardId, ticket: Ticket) -> bool {
        self.shards.get(shard).is_some_and(|progress| progress.find(ticket).is_some())
    }

    /// Takes away the first record of a key; the one behind it may be sent.
    fn pop(&mut self, key: &Arc<str>) -> Option<Waiting> {
        let queue = self.keys.get_mut(key)?;
        let popped = queue.pop_front()?;
        self.bytes -= popped.outgoing.size();
        match queue.is_empty() {
            true => drop(self.keys.remove(key)),
            false => self.ready.push_back(key.clone()),
        }
        Some(popped)
    }

    /// Somebody else goes on with a shard: nothing of it is sent any more. What is on its way is waited for, as the next
    /// record of its key is behind it.
    pub(super) fn give_up(&mut self, shard: &ShardId) {
        if self.shards.remove(shard).is_none() {
            return;
        }
        let (on_their_way, bytes) = (&self.on_their_way, &mut self.bytes);
        self.keys.retain(|_, queue| {
            queue.retain(|waiting| {
                let stays = waiting.shard != *shard || on_their_way.contains_key(&waiting.outgoing.ticket);
                if !stays {
                    *bytes -= waiting.outgoing.size();
                }
                stays
            });
            !queue.is_empty()
        });
        let keys = &self.keys;
        self.ready.retain(|key| keys.contains_key(key));
    }

    /// Of all that was read and has not arrived.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn standings(&self) -> BTreeMap<ShardId, Standing> {
        let standing =
            |progress: &Progress| Standing { done: progress.done.clone(), finished: progress.is_finished() };
        self.shards.iter().map(|(shard, progress)| (shard.clone(), standing(progress))).collect()
    }
}

impl Progress {
    fn is_finished(&self) -> bool {
        self.ended && self.open.is_empty()
    }

    /// The first one that is open has not arrived.
    fn complete_until(&self) -> Option<Timestamp> {
        self.open.front().map(|open| open.made_at).or(self.read_until)
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.open.binary_search_by_key(&ticket, |open| open.ticket).ok()
    }

    fn arrived(&mut self, ticket: Ticket) {
        if let Some(at) = self.find(ticket) {
            self.open[at].has_arrived = true;
        }
        while let Some(open) = self.open.pop_front_if(|open| open.has_arrived) {
            self.done = open.position;
        }
    }
}
