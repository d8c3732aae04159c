//! Where a projection starts in each shard when it is rewound.
//!
//! Only what comes before in a shard, or before it in its parents, may be left out. So a shard of which something is read
//! again takes all that descends from it back to the beginning, whatever was asked of that; and nothing moves forward.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{Checkpoint, CutId, Place, Position, ShardId};

use super::{Lineage, Standing};

#[cfg(test)]
mod tests;

/// What a rewind makes of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It was settled to its end, which is this cut, and nothing of it is read again.
    Ended(CutId),
    /// Where the projection stands already: it has settled nothing behind what was asked for.
    Unmoved(CutId),
    /// On the newest cut that is not behind this place; at the shard's beginning if there is none.
    NotBehind(Place),
    Beginning,
}

impl Lineage {
    /// By shard, where a projection starts that stands at these checkpoints and is to go back so far that everything behind
    /// these positions comes again. A shard of which none is asked goes back to its beginning. Some were `gone` when the
    /// projection was registered.
    pub fn rewound(
        &self,
        gone: &BTreeSet<ShardId>,
        stands: &BTreeMap<ShardId, Checkpoint>,
        asked: &BTreeMap<ShardId, Position>,
    ) -> BTreeMap<ShardId, Start> {
        let mut parents_first: Vec<_> = self.shards.iter().collect();
        parents_first.sort_by_key(|(_, known)| known.number);
        let (mut starts, mut ended) = (BTreeMap::new(), BTreeSet::new());
        for (shard, known) in parents_first {
            let stands = stands.get(shard);
            let is_behind_parents = known.parents.iter().all(|parent| ended.contains(parent));
            let asked = asked.get(shard).filter(|_| is_behind_parents);
            let start = asked.map_or(Start::Beginning, |asked| start(stands, asked));
            let is_begun = stands.map_or(Standing::NotBegun, Standing::of) != Standing::NotBegun;
            let never_was = known.was_ended() || (!is_begun && gone.contains(shard));
            if never_was || matches!(start, Start::Ended(_)) {
                ended.insert(shard);
            }
            starts.insert(shard.clone(), start);
        }
        starts
    }
}

fn start(stands: Option<&Checkpoint>, asked: &Position) -> Start {
    let asked = Place::end(asked.clone(), u32::MAX);
    match stands.and_then(|stands| Some((stands.ended, stands.cut.as_ref()?))) {
        None => Start::Beginning,
        Some((_, cut)) if cut.place > asked => Start::NotBehind(asked),
        Some((true, cut)) => Start::Ended(cut.clone()),
        Some((false, cut)) => Start::Unmoved(cut.clone()),
    }
}
