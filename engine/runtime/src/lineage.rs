//! Lineage: the shards of a source, what they are numbered, and which of them a projection may read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use foldstream_model::{
    Checkpoint, Error, HashKeyRange, Incarnation, LeftAt, Result, Shard, ShardId, ShardNumber, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::planted::{self, Bug};

pub mod rewind;

#[cfg(test)]
mod tests;

/// Every shard that a source has ever listed; the body of the source's row. Nothing is ever forgotten: guards know
/// shards by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    incarnation: Incarnation,
    shards: BTreeMap<ShardId, KnownShard>,
}

/// A shard as it was when it was discovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownShard {
    pub number: ShardNumber,
    /// Those of its parents that were ever listed; the others were trimmed before anything here began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ShardId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<HashKeyRange>,
    /// It was there when the source was first read: the start policy is about it.
    #[serde(default)]
    pub initial: bool,
    /// How far the application was that was taken over when the source was first read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<LeftAt>,
    /// When the source was first found not to list it any more: all of its records were trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
}

/// How far one projection is in a shard, by its checkpoint of the present generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no checkpoint: it stands at the shard's beginning.
    NotBegun,
    Begun,
    /// The shard is sealed and settled to its end.
    Ended,
}

impl KnownShard {
    /// An application had settled all of it before it was taken over: nothing of it is ever read here.
    pub fn was_ended(&self) -> bool {
        self.left_at == Some(LeftAt::End)
    }
}

impl Standing {
    /// By the checkpoint that counts for its generation.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        match checkpoint {
            Checkpoint { ended: true, .. } => Self::Ended,
            Checkpoint { cut: Some(_), .. } => Self::Begun,
            Checkpoint { cut: None, .. } => Self::NotBegun,
        }
    }
}

/// Something that is wrong with the ranges of the shards that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFault {
    /// No open shard takes these hash keys.
    Hole(HashKeyRange),
    /// Two open shards take these.
    Overlap(HashKeyRange),
}

impl fmt::Display for RangeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, range) = match self {
            Self::Hole(range) => ("no open shard takes", range),
            Self::Overlap(range) => ("more than one open shard takes", range),
        };
        write!(f, "{what} the hash keys {}..{}", range.first, range.last)
    }
}

/// What one projection can do now. Both lists are sorted by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// The shards that it may read: not ended, and all of their parents are.
    pub ready: Vec<ShardId>,
    /// The shards that were trimmed before it had settled them. Their events can come from no record any more; what
    /// descends from them is not ready.
    pub lost: Vec<ShardId>,
}

impl Lineage {
    pub fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, shards: BTreeMap::new() }
    }

    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    pub fn get(&self, shard: &ShardId) -> Option<&KnownShard> {
        self.shards.get(shard)
    }

    /// All shards, sorted by id.
    pub fn shards(&self) -> impl Iterator<Item = (&ShardId, &KnownShard)> {
        self.shards.iter()
    }

    /// The shards that were split or merged from one, as their source lists them.
    pub fn children<'a>(&'a self, of: &'a ShardId) -> impl Iterator<Item = Shard> + 'a {
        let children = self.shards.iter().filter(|(_, known)| known.parents.contains(of));
        children.map(|(id, known)| Shard {
            id: id.clone(),
            parents: known.parents.clone(),
            range: known.range,
        })
    }

    /// Every shard goes on where an application has left it. One that it has no lease of was settled to its end if it has one
    /// of a shard that descends from it; else the application has not come to it.
    pub fn take_over(&mut self, left: &BTreeMap<ShardId, LeftAt>) {
        let ended = self.ancestors(|shard| left.contains_key(shard));
        let ended: BTreeSet<ShardId> = ended.into_iter().cloned().collect();
        for (id, known) in &mut self.shards {
            let otherwise = if ended.contains(id) { LeftAt::End } else { LeftAt::TrimHorizon };
            known.left_at = Some(left.get(id).cloned().unwrap_or(otherwise));
        }
    }

    /// Takes what a source lists now, parents before children; says whether anything is new or gone. New shards get the
    /// next numbers, in the order of the list. Invalid when the source is another one under the same name.
    pub fn discover(&mut self, incarnation: &Incarnation, listed: &[Shard], now: Timestamp) -> Result<bool> {
        if *incarnation != self.incarnation {
            return Err(Error::invalid(format!(
                "the source was deleted and made again: known={} found={incarnation}; its positions mean other records \
                 now. Give the new one another name under `sources`, or delete the projections that read it and let \
                 them begin anew",
                self.incarnation
            )));
        }
        let is_listed: BTreeSet<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
        let mut has_changed = false;
        for (id, known) in &mut self.shards {
            if known.gone_at.is_none() && !is_listed.contains(id) {
                known.gone_at = Some(now);
                has_changed = true;
            }
        }
        let initial = self.shards.is_empty();
        for shard in listed {
            has_changed |= self.add(shard, initial)?;
        }
        Ok(has_changed)
    }

    fn add(&mut self, shard: &Shard, initial: bool) -> Result<bool> {
        if self.shards.contains_key(&shard.id) {
            return Ok(false);
        }
        let number = u32::try_from(self.shards.len()).map(ShardNumber);
        let number =
            number.map_err(|_| Error::internal("a source has had more shards than can be numbered"))?;
        let parents =
            shard.parents.iter().filter(|parent| self.shards.contains_key(parent)).cloned().collect();
        let known = KnownShard { number, parents, range: shard.range, initial, left_at: None, gone_at: None };
        self.shards.insert(shard.id.clone(), known);
        Ok(true)
    }

    /// What a projection can do, by how far it is in each shard. When it was registered some were `gone`.
    ///
    /// A parent counts as ended when its checkpoint says so, when a descendant has begun, or when it was gone before
    /// the projection was registered, so that there was never anything to read. One that went later is lost. Which of the
    /// two, no clock can say: it is looked up when the projection is registered.
    pub fn outlook(&self, gone: &BTreeSet<ShardId>, standing: impl Fn(&ShardId) -> Standing) -> Outlook {
        let ended = self.ended(gone, &standing);
        let mut outlook = Outlook::default();
        let mut by_number: Vec<_> = self.shards.iter().filter(|(id, _)| !ended.contains(id)).collect();
        by_number.sort_by_key(|(_, known)| known.number);
        for (id, known) in by_number {
            if known.gone_at.is_some() {
                outlook.lost.push(id.clone());
            } else if known.parents.iter().all(|parent| ended.contains(parent))
                || planted::is(Bug::ChildBeforeParents)
                || (planted::is(Bug::OneParentIsEnough)
                    && known.parents.iter().any(|parent| ended.contains(parent)))
            {
                outlook.ready.push(id.clone());
            }
        }
        outlook
    }

    /// Where the ranges of the open shards leave a hole or overlap; nothing is said of a source that knows no ranges.
    pub fn range_faults(&self) -> Vec<RangeFault> {
        let parents: BTreeSet<&ShardId> = self.shards.values().flat_map(|known| &known.parents).collect();
        let open = self.shards.iter().filter(|(id, known)| known.gone_at.is_none() && !parents.contains(id));
        let ranges: Option<Vec<HashKeyRange>> = open.map(|(_, known)| known.range).collect();
        let mut ranges = ranges.unwrap_or_default();
        if ranges.is_empty() {
            return Vec::new();
        }
        ranges.sort_by_key(|range| range.first);
        let mut faults = Vec::new();
        // The first hash key that no range so far takes; none: all are taken.
        let mut next = Some(0);
        for range in ranges {
            match next {
                Some(next) if next < range.first => {
                    faults.push(RangeFault::Hole(HashKeyRange { first: next, last: range.first - 1 }));
                }
                Some(next) if next == range.first => {}
                taken => {
                    let last = taken.map_or(u128::MAX, |next| next - 1).min(range.last);
                    faults.push(RangeFault::Overlap(HashKeyRange { first: range.first, last }));
                }
            }
            next = next.and_then(|next| Some(next.max(range.last.checked_add(1)?)));
        }
        faults.extend(next.map(|first| RangeFault::Hole(HashKeyRange { first, last: u128::MAX })));
        faults
    }

    fn ended(&self, gone: &BTreeSet<ShardId>, standing: impl Fn(&ShardId) -> Standing) -> BTreeSet<&ShardId> {
        let mut ended = self.ancestors(|shard| standing(shard) != Standing::NotBegun);
        ended.extend(self.shards.iter().filter(|(_, known)| known.was_ended()).map(|(id, _)| id));
        ended.extend(self.shards.keys().filter(|id| match standing(id) {
            Standing::Ended => true,
            Standing::Begun => false,
            Standing::NotBegun => gone.contains(*id),
        }));
        ended
    }

    fn ancestors(&self, of: impl Fn(&ShardId) -> bool) -> BTreeSet<&ShardId> {
        let descendants = self.shards.iter().filter(|(id, _)| of(id));
        let mut parents: Vec<&ShardId> = descendants.flat_map(|(_, known)| &known.parents).collect();
        let mut ancestors = BTreeSet::new();
        while let Some(parent) = parents.pop() {
            if ancestors.insert(parent) {
                parents.extend(self.shards.get(parent).into_iter().flat_map(|known| &known.parents));
            }
        }
        ancestors
    }
}
