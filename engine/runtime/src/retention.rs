//! Retention: which cuts and journal entries nobody can need any more.
//!
//! A source removes records that are old enough, and nobody can begin where records are missing. So of a shard that is
//! listed this much stays: the newest whole cut that is not behind what the source still keeps, all that are behind that
//! one, those that a registered projection stands on, and whatever these add to. Of a shard that is listed no more, the
//! final cuts stay until every projection has begun its children, which inherit them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldstream_model::{Checkpoint, CutId, Position, ProjectionId, ShardId, Timestamp};

use crate::lineage::Lineage;

#[cfg(test)]
mod tests;

/// A cut, as its rows tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCut {
    pub id: CutId,
    /// The cut that it adds to.
    pub since: Option<CutId>,
    /// All of its pages are there.
    pub is_complete: bool,
}

/// What a source still has of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Every record behind this position.
    Behind(Position),
    /// The shard is not listed any more.
    Nothing,
}

/// What registered projections need of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// The cuts that they stand on.
    pub cuts: BTreeSet<CutId>,
    /// All of them have begun what descends from the shard: once it is gone, nothing of it is needed.
    pub is_over: bool,
}

/// What may be removed of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// In the order of their removal: a cut before the one that it adds to, so that what is left is always whole.
    pub cuts: Vec<CutId>,
    /// Entries that were appended at horizons before this one.
    pub entries_before: Option<Position>,
}

/// A registered projection in one source: the checkpoints that count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stands {
    /// A shard that is not named: the projection has not begun it.
    pub checkpoints: BTreeMap<ShardId, Checkpoint>,
    /// It reads another source, and never this one.
    pub is_elsewhere: bool,
}

/// What registered projections, running or not, need of a shard.
pub fn needed(lineage: &Lineage, shard: &ShardId, projections: &[Stands]) -> Needed {
    let mut children: BTreeMap<&ShardId, Vec<&ShardId>> = BTreeMap::new();
    for (child, known) in lineage.shards() {
        for parent in &known.parents {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut needed = Needed { cuts: BTreeSet::new(), is_over: true };
    for projection in projections {
        let is_past = projection.is_past(shard, &children);
        needed.is_over &= is_past || projection.is_elsewhere;
        let checkpoint =
            projection.checkpoints.get(shard).filter(|checkpoint| !(checkpoint.ended && is_past));
        needed.cuts.extend(checkpoint.and_then(|checkpoint| checkpoint.cut.clone()));
    }
    needed
}

/// The projection that has settled least of a shard, and up to where; none: all have settled it to its end.
pub fn hindmost<'p>(
    shard: &ShardId,
    projections: &'p [(ProjectionId, Stands)],
) -> Option<(&'p ProjectionId, Position)> {
    let here = projections.iter().filter(|(_, stands)| !stands.is_elsewhere);
    let unsettled = here.filter_map(|(id, stands)| match stands.checkpoints.get(shard) {
        Some(checkpoint) if checkpoint.ended => None,
        Some(checkpoint) => Some((id, checkpoint.place().position)),
        None => Some((id, Position::BEGINNING)),
    });
    unsettled.min_by(|a, b| a.1.cmp(&b.1))
}

/// How long the oldest record that has not settled is still kept; none: everything has settled.
pub fn left(oldest: Option<Timestamp>, retention: Duration, now: Timestamp) -> Duration {
    let age = oldest.map_or(0, |oldest| now.micros_since(oldest));
    retention.saturating_sub(Duration::from_micros(age))
}

/// Whether something is to be said of what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    Fine,
    /// Less than a quarter of the retention, and half of what was left when that was said before.
    Little,
    Nothing,
}

/// What to say of what is left, and what to remember of it for the next time.
pub fn remaining(
    left: Duration,
    retention: Duration,
    warned_of: Option<Duration>,
) -> (Remaining, Option<Duration>) {
    if left >= retention / 4 {
        return (Remaining::Fine, None);
    }
    match warned_of {
        Some(before) if left > before / 2 || before.is_zero() => (Remaining::Fine, warned_of),
        _ if left.is_zero() => (Remaining::Nothing, Some(left)),
        _ => (Remaining::Little, Some(left)),
    }
}

/// A shard, and all that descends from it.
pub fn with_descendants(lineage: &Lineage, shard: &ShardId) -> BTreeSet<ShardId> {
    let mut family = BTreeSet::from([shard.clone()]);
    loop {
        let is_new = |(child, known): &(&ShardId, &crate::lineage::KnownShard)| {
            !family.contains(*child) && known.parents.iter().any(|parent| family.contains(parent))
        };
        let children: Vec<ShardId> =
            lineage.shards().filter(is_new).map(|(child, _)| child.clone()).collect();
        if children.is_empty() {
            return family;
        }
        family.extend(children);
    }
}

impl Stands {
    /// It has begun all children of a shard, or what descends from them.
    fn is_past(&self, shard: &ShardId, children: &BTreeMap<&ShardId, Vec<&ShardId>>) -> bool {
        children.get(shard).is_some_and(|children_of_shard| {
            children_of_shard.iter().all(|child| {
                let checkpoint = self.checkpoints.get(*child);
                checkpoint.is_some_and(|checkpoint| checkpoint.ended || checkpoint.cut.is_some())
                    || self.is_past(child, children)
            })
        })
    }
}

/// What nobody can need any more. Safe for ever once it was: whatever others do meanwhile, none of it is needed again.
pub fn expired(cuts: &[KnownCut], kept: &Kept, needed: &Needed) -> Expired {
    let known: BTreeMap<&CutId, &KnownCut> = cuts.iter().map(|cut| (&cut.id, cut)).collect();
    if *kept == Kept::Nothing && needed.is_over {
        return Expired { cuts: newest_first(known.into_keys()), entries_before: None };
    }
    let is_reached = |cut: &&KnownCut| match kept {
        Kept::Behind(position) => cut.id.place.position <= *position,
        Kept::Nothing => true,
    };
    let whole = cuts.iter().filter(is_reached).filter(|cut| is_whole(cut, &known));
    let Some(floor) = whole.map(|cut| &cut.id.place.position).max() else { return Expired::default() };
    let mut stays: BTreeSet<&CutId> = BTreeSet::new();
    for cut in cuts.iter().filter(|cut| cut.id.place.position >= *floor || needed.cuts.contains(&cut.id)) {
        let mut next = Some(cut);
        while let Some(cut) = next.filter(|cut| stays.insert(&cut.id)) {
            next = cut.since.as_ref().and_then(|since| known.get(since).copied());
        }
    }
    let expired = known.into_keys().filter(|id| !stays.contains(id));
    Expired { cuts: newest_first(expired), entries_before: Some(floor.clone()) }
}

/// It and all that it adds to are there.
fn is_whole(cut: &KnownCut, known: &BTreeMap<&CutId, &KnownCut>) -> bool {
    let mut cut = cut;
    while cut.is_complete {
        let Some(since) = &cut.since else { return true };
        match known.get(since).filter(|before| before.id.place < cut.id.place) {
            Some(before) => cut = before,
            None => return false,
        }
    }
    false
}

fn newest_first<'a>(cuts: impl Iterator<Item = &'a CutId>) -> Vec<CutId> {
    let mut cuts: Vec<CutId> = cuts.cloned().collect();
    cuts.sort_by(|a, b| b.place.cmp(&a.place).then_with(|| a.chain.cmp(&b.chain)));
    cuts
}
