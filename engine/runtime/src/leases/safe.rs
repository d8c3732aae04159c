//! From where in a shard whoever else uses the table of leases could go on without losing an event.
//!
//! Not behind what any registered projection has settled, whether it runs or not, and not behind a record whose event waits
//! for a missing one: only who keeps the order state knows of that event.

use std::collections::{BTreeMap, VecDeque};

use foldstream_model::{Checkpoint, LeftAt, Position, ProjectionId};

use crate::lineage::KnownShard;

/// Places that are remembered while events wait. With more the places lie further apart, and the one that is named is further
/// back than it has to be.
const PLACES: usize = 256;

/// Where one projection stands in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Everything up to the record here is settled; none: a part of what one record has released.
    pub settled: Option<Position>,
    /// The first record that brought an event which waits for a missing one there.
    pub waits_from: Option<Position>,
    pub ended: bool,
}

/// One shard.
#[derive(Debug, Default)]
pub struct Safe {
    /// All registered projections, as they were last looked up.
    registered: BTreeMap<ProjectionId, Stands>,
    /// Those that this worker serves, which knows better.
    served: BTreeMap<ProjectionId, Stands>,
    /// Up to each of these everything was settled, in the order of the shard; events before it may wait.
    settled: VecDeque<Position>,
    /// One in so many of them is remembered, and so many were not since the last.
    stride: usize,
    skipped: usize,
}

impl Stands {
    pub fn of(checkpoint: &Checkpoint, shard: Option<&KnownShard>) -> Self {
        let left_at = || match shard.and_then(|known| known.left_at.as_ref()) {
            Some(LeftAt::Behind(settled)) => settled.clone(),
            _ => Position::BEGINNING,
        };
        let settled = match &checkpoint.cut {
            None => Some(left_at()),
            Some(cut) => cut.place.is_past_record().then(|| cut.place.position.clone()),
        };
        Self { settled, waits_from: checkpoint.waits_from.clone(), ended: checkpoint.ended }
    }
}

/// Everything in the shard is settled to its end by all of these, and nothing of it waits.
pub fn is_settled(registered: &BTreeMap<ProjectionId, Stands>) -> bool {
    !registered.is_empty() && registered.values().all(|stands| stands.ended && stands.waits_from.is_none())
}

impl Safe {
    pub fn looked_up(&mut self, registered: BTreeMap<ProjectionId, Stands>) {
        self.registered = registered;
    }

    pub fn served(&mut self, served: BTreeMap<ProjectionId, Stands>) {
        self.served = served;
    }

    /// The position up to which nothing would be lost; none where none is known that is behind the stored one for sure.
    pub fn position(&mut self) -> Option<Position> {
        let stands = |(id, stands)| self.served.get(id).unwrap_or(stands);
        let all: Vec<&Stands> = self.registered.iter().map(stands).collect();
        let settled = all.iter().map(|stands| stands.settled.as_ref()).collect::<Option<Vec<_>>>()?;
        let settled = settled.into_iter().min()?.clone();
        let Some(waits_from) = all.iter().filter_map(|stands| stands.waits_from.as_ref()).min().cloned()
        else {
            (self.settled, self.stride, self.skipped) = ([settled.clone()].into(), 1, 0);
            return Some(settled);
        };
        self.remember(settled);
        let before = self.settled.partition_point(|place| *place < waits_from);
        self.settled.drain(..before.saturating_sub(1));
        if self.settled.len() < PLACES / 4 {
            self.stride = (self.stride / 2).max(1);
        }
        self.settled.front().filter(|_| before > 0).cloned()
    }

    /// A projection that is new, or was rewound, takes all of it back.
    fn remember(&mut self, settled: Position) {
        self.settled.truncate(self.settled.partition_point(|known| *known < settled));
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        (self.skipped, self.stride) = (0, self.stride.max(1));
        self.settled.push_back(settled);
        if self.settled.len() > PLACES {
            self.stride *= 2;
            let mut nth = 0;
            self.settled.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProjectionId {
        ProjectionId::new(name, 1)
    }

    fn at(settled: u128, waits_from: Option<u128>) -> Stands {
        Stands {
            settled: Some(Position::new(settled)),
            waits_from: waits_from.map(Position::new),
            ended: false,
        }
    }

    fn safe(registered: &[(&str, Stands)]) -> Safe {
        let mut safe = Safe::default();
        safe.looked_up(registered.iter().map(|(name, stands)| (id(name), stands.clone())).collect());
        safe
    }

    #[test]
    fn the_least_of_all_registered_projections_counts_whoever_serves_them() {
        let mut safe = safe(&[("a", at(5, None)), ("paused", at(3, None))]);
        safe.served([(id("a"), at(9, None)), (id("deleted"), at(1, None))].into());
        assert_eq!(safe.position(), Some(Position::new(3)));
        safe.looked_up([(id("a"), at(5, None))].into());
        assert_eq!(safe.position(), Some(Position::new(9)));
        safe.looked_up([(id("a"), at(5, None)), (id("new"), at(0, None))].into());
        assert_eq!(safe.position(), Some(Position::BEGINNING), "it needs everything");
    }

    #[test]
    fn before_it_is_known_who_is_registered_nothing_is_said() {
        let mut safe = Safe::default();
        safe.served([(id("a"), at(9, None))].into());
        assert_eq!(safe.position(), None);
    }

    #[test]
    fn what_waits_holds_it_back_until_it_has_come() {
        let mut safe = safe(&[("a", at(0, None))]);
        let mut position = |settled, waits_from| {
            safe.served([(id("a"), at(settled, waits_from))].into());
            safe.position()
        };
        assert_eq!(position(10, None), Some(Position::new(10)));
        assert_eq!(position(20, Some(14)), Some(Position::new(10)));
        assert_eq!(position(30, Some(14)), Some(Position::new(10)));
        assert_eq!(position(40, Some(31)), Some(Position::new(30)), "another one waits by now");
        assert_eq!(position(50, None), Some(Position::new(50)));
    }

    #[test]
    fn of_what_waited_before_this_worker_began_no_place_is_known() {
        let mut safe = safe(&[("a", at(20, Some(14)))]);
        assert_eq!(safe.position(), None, "what is stored stays");
    }

    #[test]
    fn a_record_of_which_a_part_is_settled_counts_for_nothing() {
        let part = Stands { settled: None, ..at(0, None) };
        assert_eq!(safe(&[("a", at(20, None)), ("b", part)]).position(), None);
    }

    #[test]
    fn places_are_bounded_and_those_that_are_left_are_still_safe() {
        let mut safe = safe(&[("a", at(0, None))]);
        for settled in 1..=10_000 {
            safe.served([(id("a"), at(settled, (settled > 1).then_some(2)))].into());
            assert_eq!(safe.position(), Some(Position::new(1)));
            assert!(safe.settled.len() <= PLACES);
        }
        safe.served([(id("a"), at(10_001, Some(9_000)))].into());
        let found = safe.position().unwrap();
        assert!(found < Position::new(9_000) && found > Position::new(5_000), "{found}");
    }

    #[test]
    fn a_shard_is_settled_when_all_have_ended_it_and_nothing_of_it_waits() {
        let ended = Stands { ended: true, ..at(9, None) };
        let of = |stands: &[&Stands]| {
            let named = stands.iter().enumerate().map(|(n, stands)| (id(&n.to_string()), (*stands).clone()));
            is_settled(&named.collect())
        };
        assert!(of(&[&ended, &ended]) && !of(&[&ended, &at(9, None)]) && !of(&[]));
        assert!(!of(&[&Stands { waits_from: Some(Position::new(4)), ..ended.clone() }]));
    }
}
