//! A stream of records in memory, with shards that are split and merged, and records that are trimmed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    Error, HashKeyRange, Incarnation, Position, Record, Result, Shard, ShardId, StreamHash, Timestamp,
    ports::{Batch, From, ReadLimit, ShardReader, Source, SourceDescription},
};
use tokio::{sync::Notify, time::Instant};

/// A stream; clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    incarnation: Incarnation,
    /// Where partition keys fall.
    hash: fn(&str) -> u128,
    state: Arc<Mutex<State>>,
    /// Wakes readers in the order in which they began to wait.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    shards: Vec<Kept>,
    /// Positions rise over all shards, so those of one have gaps.
    position: u64,
}

struct Kept {
    shard: Shard,
    range: HashKeyRange,
    closed: bool,
    /// The position of the newest record of all when it was made.
    born: u64,
    /// The positions of all records ever put.
    numbers: Vec<u64>,
    /// The position of the last record ever put.
    last: u64,
    /// No record at or before this position is kept.
    trimmed: u64,
    /// It is closed, and nothing of it is kept: it is listed no more.
    gone: bool,
    records: Vec<(u64, Record)>,
}

/// A shard, and which positions it has.
#[derive(Debug, Clone)]
pub struct Extent {
    pub shard: Shard,
    pub closed: bool,
    /// All its records are behind this.
    pub born: u64,
    /// The last record ever put; zero: none.
    pub last: u64,
    /// No record at or before this position is kept.
    pub trimmed: u64,
}

impl Kept {
    fn behind(&self, after: u64) -> usize {
        self.records.partition_point(|(position, _)| *position <= after)
    }
}

impl State {
    fn find(&self, shard: &ShardId) -> Result<&Kept> {
        let found = self.shards.iter().find(|kept| kept.shard.id == *shard && !kept.gone);
        found.ok_or_else(|| Error::invalid(format!("there is no such shard: shard={shard}")))
    }

    fn find_mut(&mut self, shard: &ShardId) -> &mut Kept {
        self.shards.iter_mut().find(|kept| kept.shard.id == *shard).expect("a shard of this log")
    }

    fn add(&mut self, parents: Vec<ShardId>, range: HashKeyRange) -> ShardId {
        let id = ShardId::new(format!("shard-{:04}", self.shards.len()));
        let shard = Shard { id: id.clone(), parents, range: Some(range) };
        self.shards.push(Kept {
            shard,
            range,
            closed: false,
            born: self.position,
            numbers: Vec::new(),
            last: 0,
            trimmed: 0,
            gone: false,
            records: Vec::new(),
        });
        id
    }
}

impl MemoryLog {
    pub fn new(name: &str, shards: u32) -> Self {
        Self::hashed(name, shards, hash_key)
    }

    /// One whose partition keys fall where this says.
    pub fn hashed(name: &str, shards: u32, hash: fn(&str) -> u128) -> Self {
        let incarnation = Incarnation::new(name);
        let log = Self { incarnation, hash, state: Arc::default(), changed: Arc::default() };
        let width = u128::MAX / u128::from(shards);
        for index in 0..shards {
            let first = u128::from(index) * width + u128::from(index > 0);
            let last = if index + 1 == shards { u128::MAX } else { u128::from(index + 1) * width };
            log.state().add(Vec::new(), HashKeyRange { first, last });
        }
        log
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record into the open shard whose range holds its key.
    pub fn put(&self, partition_key: &str, data: Bytes, at: Timestamp) -> (ShardId, Position) {
        let mut state = self.state();
        state.position += 3;
        let number = state.position;
        let key = (self.hash)(partition_key);
        let open = state.shards.iter_mut().find(|kept| !kept.closed && kept.range.contains(key));
        let kept = open.expect("open shards hold all keys");
        let position = Position::new(number.into());
        let record =
            Record { position: position.clone(), partition_key: partition_key.into(), arrived_at: at, data };
        kept.records.push((number, record));
        kept.last = number;
        kept.numbers.push(number);
        let id = kept.shard.id.clone();
        drop(state);
        self.changed.notify_waiters();
        (id, position)
    }

    /// The open shard whose range holds a key.
    pub fn shard_of(&self, partition_key: &str) -> ShardId {
        let key = (self.hash)(partition_key);
        let state = self.state();
        let open = state.shards.iter().find(|kept| !kept.closed && kept.range.contains(key));
        open.expect("open shards hold all keys").shard.id.clone()
    }

    /// The open shards by their ranges.
    pub fn open_shards(&self) -> Vec<ShardId> {
        let state = self.state();
        let mut open: Vec<&Kept> = state.shards.iter().filter(|kept| !kept.closed).collect();
        open.sort_by_key(|kept| kept.range.first);
        open.into_iter().map(|kept| kept.shard.id.clone()).collect()
    }

    /// What each shard that is listed is like now.
    pub fn extents(&self) -> Vec<Extent> {
        let state = self.state();
        let extent = |kept: &Kept| {
            let Kept { closed, born, last, trimmed, .. } = *kept;
            Extent { shard: kept.shard.clone(), closed, born, last, trimmed }
        };
        state.shards.iter().filter(|kept| !kept.gone).map(extent).collect()
    }

    /// Whether the shard has ever had a record at a position.
    pub fn has_had(&self, shard: &ShardId, position: u64) -> bool {
        self.state().find(shard).is_ok_and(|kept| kept.numbers.binary_search(&position).is_ok())
    }

    /// At most so many records behind a position, and when the next one behind them arrived.
    pub fn records(
        &self,
        shard: &ShardId,
        after: u64,
        most: usize,
    ) -> (Vec<(u64, Record)>, Option<Timestamp>) {
        let state = self.state();
        let unread = state.find(shard).map_or(&[][..], |kept| &kept.records[kept.behind(after)..]);
        let (now, later) = unread.split_at(unread.len().min(most));
        (now.to_vec(), later.first().map(|(_, record)| record.arrived_at))
    }

    /// Ends with the next change of anything.
    pub async fn changes(&self) {
        self.changed.notified().await;
    }

    /// Splits an open shard in the middle of its keys.
    pub fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        let mut state = self.state();
        let parent = state.find_mut(shard);
        parent.closed = true;
        let HashKeyRange { first, last } = parent.range;
        let middle = first.midpoint(last);
        let lower = state.add(vec![shard.clone()], HashKeyRange { first, last: middle });
        let upper = state.add(vec![shard.clone()], HashKeyRange { first: middle + 1, last });
        drop(state);
        self.changed.notify_waiters();
        [lower, upper]
    }

    /// Merges two open shards that are adjacent.
    pub fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId {
        let mut state = self.state();
        let mut ranges = Vec::new();
        for id in [shard, adjacent] {
            let parent = state.find_mut(id);
            parent.closed = true;
            ranges.push(parent.range);
        }
        let first = ranges[0].first.min(ranges[1].first);
        let last = ranges[0].last.max(ranges[1].last);
        let child = state.add(vec![shard.clone(), adjacent.clone()], HashKeyRange { first, last });
        drop(state);
        self.changed.notify_waiters();
        child
    }

    /// Forgets the records of a shard up to a position; and beyond the last one the shard, if it is closed.
    pub fn trim(&self, shard: &ShardId, up_to: &Position) {
        let mut state = self.state();
        let kept = state.find_mut(shard);
        kept.gone |= kept.closed && up_to.as_u64().is_none_or(|up_to| up_to > kept.last);
        let up_to = up_to.as_u64().unwrap_or(0).min(kept.last);
        let behind = kept.behind(up_to);
        kept.records.drain(..behind);
        kept.trimmed = kept.trimmed.max(up_to);
    }

    /// Up to where records of shards were forgotten; of a shard that is listed no more, beyond any position.
    pub fn forgotten(&self) -> Vec<(ShardId, Position)> {
        let state = self.state();
        let forgotten = state.shards.iter().filter(|kept| kept.gone || kept.trimmed > 0);
        let up_to = |kept: &Kept| Position::new(if kept.gone { u64::MAX } else { kept.trimmed }.into());
        forgotten.map(|kept| (kept.shard.id.clone(), up_to(kept))).collect()
    }

    /// Forgets all records that were put so far.
    pub fn trim_all(&self) {
        let shards: Vec<_> = self.state().shards.iter().map(|kept| kept.shard.id.clone()).collect();
        for shard in shards {
            self.trim(&shard, &Position::new(u64::MAX.into()));
        }
    }
}

fn hash_key(partition_key: &str) -> u128 {
    let [high, low] = StreamHash::of(partition_key).words();
    (u128::from(high) << 64) | u128::from(low)
}

#[async_trait]
impl Source for MemoryLog {
    async fn describe(&self) -> Result<SourceDescription> {
        Ok(SourceDescription { incarnation: self.incarnation.clone(), retention: None })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        Ok(self.state().shards.iter().filter(|kept| !kept.gone).map(|kept| kept.shard.clone()).collect())
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let state = self.state();
        let kept = state.find(shard)?;
        let after = match from {
            From::TrimHorizon => kept.trimmed,
            From::Latest => kept.last,
            From::AtTimestamp(at) => {
                let first = kept.records.iter().find(|(_, record)| record.arrived_at >= at);
                first.map_or(kept.last, |(position, _)| position - 1)
            }
            From::After(position) => position.as_u64().unwrap_or(u64::MAX),
        };
        if !(kept.trimmed..=kept.last).contains(&after) {
            return Err(lost(kept, after));
        }
        drop(state);
        Ok(Box::new(MemoryLogReader { log: self.clone(), shard: shard.clone(), after }))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        (self.hash)(partition_key)
    }
}

fn lost(kept: &Kept, after: u64) -> Error {
    Error::invalid(format!(
        "the shard does not hold what was asked for: shard={} after={after} trimmed={} last={}",
        kept.shard.id, kept.trimmed, kept.last
    ))
}

struct MemoryLogReader {
    log: MemoryLog,
    shard: ShardId,
    after: u64,
}

impl MemoryLogReader {
    fn fetch(&mut self, limit: ReadLimit) -> Result<Batch> {
        let state = self.log.state();
        let kept = state.find(&self.shard)?;
        if self.after < kept.trimmed {
            return Err(lost(kept, self.after));
        }
        let unread = kept.records.get(kept.behind(self.after)..).unwrap_or_default();
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (position, record) in unread.iter().take(limit.records.max(1)) {
            bytes += record.data.len() + record.partition_key.len();
            records.push(record.clone());
            self.after = *position;
            if bytes >= limit.bytes {
                break;
            }
        }
        let behind = (unread.len() - records.len()) as u64;
        let tip = behind == 0;
        Ok(Batch { records, end: tip && kept.closed, tip, behind: Some(behind), low_watermark: None })
    }
}

#[async_trait]
impl ShardReader for MemoryLogReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let deadline = Instant::now() + limit.wait;
        let changed = self.log.changed.clone();
        loop {
            let change = changed.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            let batch = self.fetch(limit)?;
            if !batch.records.is_empty() || batch.end {
                return Ok(batch);
            }
            if tokio::time::timeout_at(deadline, change).await.is_err() {
                return Ok(batch);
            }
        }
    }

    fn position(&self) -> Position {
        Position::new(self.after.into())
    }
}
