//! The merge of a `global` projection: how far its shards have come, and up to when its events may be written.
//!
//! A watermark moves behind the slowest shard. It decides lateness and never safety: an event that comes after its
//! documents have moved on is recorded as late, whatever the reason. The lanes sort, judge and write.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{Place, ShardNumber, ShardPlaces, Timestamp};

use crate::lanes::Bounds;

/// The merge of one projection.
#[derive(Debug)]
pub struct Merge {
    /// In microseconds.
    lateness: i64,
    shards: BTreeMap<ShardNumber, Reading>,
    read: Arc<ShardPlaces>,
}

#[derive(Debug)]
struct Reading {
    /// Every event of the shard that was recorded at or before this has been read, as far as lateness is allowed.
    complete: Timestamp,
    /// Set at the shard's end: the children whose beginnings it still waits for.
    children: Option<BTreeSet<ShardNumber>>,
}

/// What one batch of a shard has brought.
#[derive(Debug, Clone)]
pub struct MergeRead {
    /// All that was released at or before this place has been read.
    pub up_to: Place,
    /// The newest recorded-at among what was released, whether it touches documents or not.
    pub newest: Option<Timestamp>,
    /// The batch ended at the shard's tip: the time of the read that found it.
    pub tip: Option<Timestamp>,
    /// What the source states. A source that states a low watermark does so from its first batch on: with it, no clock
    /// moves the merge.
    pub low_watermark: Option<Timestamp>,
}

impl Merge {
    /// A merge that waits for events that are up to `lateness` later in the stream than they should be.
    pub fn new(lateness: Duration) -> Self {
        let lateness = i64::try_from(lateness.as_micros()).unwrap_or(i64::MAX);
        Self { lateness, shards: BTreeMap::new(), read: Arc::default() }
    }

    /// A reading of the shard begins, or begins again, behind this place; the lanes have abandoned the one before.
    /// `settled_until` is that of the checkpoint it starts from. A child begins when its parents were read to their ends,
    /// settled or not: what is at their ends waits for it.
    pub fn begin(&mut self, shard: ShardNumber, from: Place, settled_until: Option<Timestamp>) {
        let parents = self
            .shards
            .values()
            .filter(|reading| reading.children.as_ref().is_some_and(|children| children.contains(&shard)));
        let inherited = parents.map(|parent| parent.complete).max();
        let settled = settled_until.map(|until| self.less_lateness(until));
        let complete = inherited.max(settled).unwrap_or(Timestamp::MIN);
        self.shards.insert(shard, Reading { complete, children: None });
        let places = &mut Arc::make_mut(&mut self.read).places;
        if from == Place::BEGINNING {
            places.remove(&shard)
        } else {
            places.insert(shard, from)
        };
    }

    /// A reading of the shard will begin: nothing is written before. Said of all shards that are there when the
    /// projection starts, before any of them begins; and when a reading was given up, before the lanes abandon its line:
    /// what it delivered and is not settled must be read again, so no guard may say that it was read.
    pub fn expect(&mut self, shard: ShardNumber) {
        self.begin(shard, Place::BEGINNING, None);
    }

    /// A batch of the shard was read.
    pub fn read(&mut self, shard: ShardNumber, batch: MergeRead) {
        let stated = batch.low_watermark.filter(|_| batch.tip.is_some());
        let seen = batch.newest.max(batch.tip.filter(|_| batch.low_watermark.is_none()));
        let complete = seen.map(|at| self.less_lateness(at)).max(stated);
        let Some(reading) = self.shards.get_mut(&shard) else { return };
        reading.complete = reading.complete.max(complete.unwrap_or(Timestamp::MIN));
        let read = Arc::make_mut(&mut self.read).places.entry(shard).or_insert(Place::BEGINNING);
        if batch.up_to > *read {
            *read = batch.up_to;
        }
    }

    /// The shard was read to its end. It holds the merge where it is until all its children have begun.
    pub fn ended(&mut self, shard: ShardNumber, children: &[ShardNumber]) {
        if let Some(reading) = self.shards.get_mut(&shard) {
            reading.children = Some(children.iter().copied().collect());
        }
    }

    /// What the lanes may write, and what they say of it in guards.
    pub fn bounds(&self) -> Bounds {
        Bounds { watermark: self.watermark(), read: self.read.clone() }
    }

    /// No event recorded at or before this is expected any more.
    pub fn watermark(&self) -> Timestamp {
        let unknown = if self.shards.is_empty() { Timestamp::MIN } else { Timestamp::MAX };
        self.shards
            .values()
            .filter(|reading| self.holds(reading))
            .map(|reading| reading.complete)
            .min()
            .unwrap_or(unknown)
    }

    /// The shard that must be read on for the watermark to move. One that was read to its end is none: when it holds the
    /// merge, it waits for a child, and the child for its other parents, which are read.
    pub fn held_by(&self) -> Option<ShardNumber> {
        let read = self.shards.iter().filter(|(_, reading)| reading.children.is_none());
        read.min_by_key(|(_, reading)| reading.complete).map(|(shard, _)| *shard)
    }

    /// Not when it was read to its end and all its children have begun.
    fn holds(&self, reading: &Reading) -> bool {
        let begun = |child| self.shards.contains_key(child);
        !reading.children.as_ref().is_some_and(|children| children.iter().all(begun))
    }

    /// Up to when everything has been read once something of this time was: another event of the very same time may
    /// still come, so it is not included.
    fn less_lateness(&self, at: Timestamp) -> Timestamp {
        at.plus_micros(self.lateness.saturating_neg()).plus_micros(-1)
    }
}
