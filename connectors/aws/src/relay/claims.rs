//! Which shards a relay has claimed, and may: synchronous. Whether others still live is judged by its own clock.

use std::{collections::BTreeMap, time::Duration};

use foldstream_model::{Lease, LeaseKey, ShardId, WorkerId};
use tokio::time::Instant;

/// What a relay knows of the leases of its table's shards.
#[derive(Debug)]
pub(super) struct Claims {
    me: WorkerId,
    lasts: Duration,
    seen: BTreeMap<ShardId, Seen>,
}

/// A lease as it is stored, and since when it is so.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
}

impl Claims {
    pub(super) fn new(me: WorkerId, lasts: Duration) -> Self {
        Self { me, lasts, seen: BTreeMap::new() }
    }

    /// All leases as they were listed.
    pub(super) fn listed(&mut self, leases: Vec<Lease>, now: Instant) {
        let mut before = std::mem::take(&mut self.seen);
        for lease in leases {
            let LeaseKey::Shard(shard) = lease.key.clone() else { continue };
            let seen = match before.remove(&shard) {
                Some(seen) if seen.lease.state() == lease.state() => seen,
                _ => Seen { lease, since: now },
            };
            self.seen.insert(shard, seen);
        }
    }

    /// One was written.
    pub(super) fn written(&mut self, lease: Lease, now: Instant) {
        if let LeaseKey::Shard(shard) = lease.key.clone() {
            self.seen.insert(shard, Seen { lease, since: now });
        }
    }

    pub(super) fn removed(&mut self, shard: &ShardId) {
        self.seen.remove(shard);
    }

    pub(super) fn is_mine(&self, shard: &ShardId) -> bool {
        self.seen.get(shard).is_some_and(|seen| seen.lease.owner.as_ref() == Some(&self.me))
    }

    pub(super) fn mine(&self) -> Vec<Lease> {
        let leases = self.seen.values().map(|seen| &seen.lease);
        leases.filter(|lease| lease.owner.as_ref() == Some(&self.me)).cloned().collect()
    }

    /// Those of mine that are to be written, to say that I live.
    pub(super) fn due(&self, now: Instant) -> Vec<Lease> {
        let is_due = |shard: &ShardId| {
            self.seen
                .get(shard)
                .is_some_and(|seen| now.saturating_duration_since(seen.since) >= self.lasts / 4)
        };
        let key = |lease: &Lease| matches!(&lease.key, LeaseKey::Shard(shard) if is_due(shard));
        self.mine().into_iter().filter(key).collect()
    }

    /// What is to be written in place of what is stored, to have a shard; none: another relay has it.
    pub(super) fn take(&self, shard: &ShardId, now: Instant) -> Option<(Option<Lease>, Lease)> {
        let seen = self.seen.get(shard);
        let is_free = seen.is_none_or(|seen| {
            seen.lease.owner.is_none() || now.saturating_duration_since(seen.since) >= self.lasts
        });
        let counter = seen.map_or(0, |seen| seen.lease.counter + 1);
        let key = LeaseKey::Shard(shard.clone());
        let lease = Lease { key, owner: Some(self.me.clone()), from: None, counter, checkpoint: None };
        is_free.then(|| (seen.map(|seen| seen.lease.clone()), lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(20);

    fn lease(owner: Option<&str>, counter: u64) -> Lease {
        let key = LeaseKey::Shard(ShardId::new("s"));
        Lease { key, owner: owner.map(WorkerId::new), from: None, counter, checkpoint: None }
    }

    fn claims() -> Claims {
        Claims::new(WorkerId::new("me"), LASTS)
    }

    #[test]
    fn a_shard_is_taken_that_is_free_or_whose_owner_does_not_write_any_more() {
        let (mut claims, now, shard) = (claims(), Instant::now(), ShardId::new("s"));
        let (expected, taken) = claims.take(&shard, now).unwrap();
        assert_eq!((expected, taken), (None, lease(Some("me"), 0)));
        claims.listed(vec![lease(Some("other"), 4)], now);
        assert_eq!(claims.take(&shard, now + LASTS / 2), None);
        claims.listed(vec![lease(Some("other"), 5)], now + LASTS / 2);
        assert_eq!(claims.take(&shard, now + LASTS), None, "it was written meanwhile");
        claims.listed(vec![lease(Some("other"), 5)], now + LASTS);
        let (expected, taken) = claims.take(&shard, now + LASTS * 3 / 2).unwrap();
        assert_eq!((expected, taken), (Some(lease(Some("other"), 5)), lease(Some("me"), 6)));
        claims.listed(vec![lease(None, 9)], now);
        assert_eq!(claims.take(&shard, now).unwrap().1, lease(Some("me"), 10));
    }

    #[test]
    fn mine_is_what_is_stored_so_and_is_written_in_time() {
        let (mut claims, now, shard) = (claims(), Instant::now(), ShardId::new("s"));
        claims.written(lease(Some("me"), 1), now);
        assert!(claims.is_mine(&shard) && claims.due(now).is_empty());
        assert_eq!(claims.due(now + LASTS / 4), [lease(Some("me"), 1)]);
        claims.listed(vec![lease(Some("other"), 2)], now);
        assert!(!claims.is_mine(&shard) && claims.mine().is_empty());
    }
}
