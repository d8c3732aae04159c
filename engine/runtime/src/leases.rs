//! Leases: how the workers of a fleet share the shards and merges of a source, without a leader.
//!
//! Each worker makes the same [`balance::Plan`] of what it sees and carries out its own part: it takes what is free and
//! planned for it, and offers what is planned for another, which is passed on as soon as the work under it has drained.
//! A lease that nobody renews is free. Time here is the worker's own, counted from any instant; no safety rests on it,
//! nor on leases at all.

mod balance;
pub mod safe;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldstream_model::{Lease, LeaseKey, Position, WorkerId};

use self::balance::Plan;
use crate::planted::{self, Bug};

/// One worker's view of the leases of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leases {
    me: WorkerId,
    lasts: Duration,
    /// What there was to be claimed when that was last looked up, and when; none: not yet.
    work: Option<(Duration, BTreeSet<LeaseKey>)>,
    /// The source was not read yet: leases of its shards are another application's.
    is_new: bool,
    seen: BTreeMap<LeaseKey, Seen>,
    asked: BTreeMap<LeaseKey, Asked>,
    drained: BTreeSet<LeaseKey>,
    checkpoints: BTreeMap<LeaseKey, Position>,
    leaving: bool,
}

/// A lease as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    lease: Lease,
    /// When a lease under this key was first seen.
    first: Duration,
    /// When this state was first seen.
    since: Duration,
    /// When these two, its owner and who passes it on, were first seen.
    paired: Duration,
    offer: Offer,
    /// When a write last told of it.
    told: Option<Duration>,
    /// Until when it is ours, if it is: counted from before the write that made it so was sent.
    until: Option<Duration>,
}

/// A write that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    at: Duration,
    change: Change,
}

/// A change of the store: what must be there, and what is put in its place; none: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    pub key: LeaseKey,
    pub expected: Option<Lease>,
    pub lease: Option<Lease>,
}

/// What a worker does under a lease that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holding {
    Work,
    /// Drains, and says so by [`Leases::drained`].
    PassOn(Offer),
}

/// Names one offer of a lease to one worker: by the counter that it was first seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offer(u64);

impl Leases {
    /// `lasts`: for how long a lease is good after it was renewed; the same for the whole fleet.
    pub fn new(me: WorkerId, lasts: Duration) -> Self {
        Self {
            me,
            lasts,
            work: None,
            is_new: false,
            seen: BTreeMap::new(),
            asked: BTreeMap::new(),
            drained: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            leaving: false,
        }
    }

    /// How often a worker looks at the leases.
    pub fn interval(&self) -> Duration {
        self.lasts / 4
    }

    /// What there is to be claimed, shards and merges that some registered projection needs, as looked up from `asked_at`
    /// on. All else is cleaned up, but for leases that were made since.
    pub fn needed(&mut self, asked_at: Duration, work: BTreeSet<LeaseKey>) {
        self.work = Some((asked_at, work));
    }

    /// As long as nobody has read the source, leases of its shards are left alone, whoever made them.
    pub fn is_new(&mut self, is_new: bool) {
        self.is_new = is_new;
    }

    fn is_over(&self, key: &LeaseKey, seen: &Seen) -> bool {
        if self.is_new && matches!(key, LeaseKey::Shard(_)) {
            return false;
        }
        self.work.as_ref().is_some_and(|(at, work)| seen.first < *at && !work.contains(key))
    }

    /// Every shard and merge that is there to be claimed.
    fn work(&self) -> impl Iterator<Item = &LeaseKey> {
        let needed = self.work.iter().flat_map(|(_, work)| work);
        let made_since = self.seen.iter().filter(|(key, seen)| {
            if self.is_new && matches!(key, LeaseKey::Shard(_)) {
                return false;
            }
            let is_needed = self.work.as_ref().is_some_and(|(_, work)| work.contains(key));
            !matches!(key, LeaseKey::Worker(_)) && !is_needed && !self.is_over(key, seen)
        });
        needed.chain(made_since.map(|(key, _)| key))
    }

    /// Where whoever takes a lease of a shard may go on without losing an event; the next renewal says so.
    pub fn settled(&mut self, key: LeaseKey, checkpoint: Position) {
        self.checkpoints.insert(key, checkpoint);
    }

    /// Gives everything away, and takes nothing any more.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// The work under a lease that is to be passed on has ended. Of an offer that was withdrawn meanwhile it says nothing:
    /// the work may have begun again.
    pub fn drained(&mut self, key: LeaseKey, offer: Offer) {
        let stands = |seen: &Seen| seen.lease.from.as_ref() == Some(&self.me) && seen.offer == offer;
        if self.seen.get(&key).is_some_and(stands) {
            self.drained.insert(key);
        }
    }

    /// What a list said that was asked for at `asked_at`. What a write has told since then is newer.
    pub fn listed(&mut self, asked_at: Duration, now: Duration, leases: Vec<Lease>) {
        let listed: BTreeMap<LeaseKey, Lease> =
            leases.into_iter().map(|lease| (lease.key.clone(), lease)).collect();
        let keys: BTreeSet<LeaseKey> = self.seen.keys().chain(listed.keys()).cloned().collect();
        for key in keys {
            let told = self.seen.get(&key).and_then(|seen| seen.told);
            if !self.asked.contains_key(&key) && told.is_none_or(|told| told < asked_at) {
                self.see(now, &key, listed.get(&key).cloned());
            }
        }
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whose lease is taken by a change, as it has ended without leaving, or seems to.
    pub fn taken_from<'a>(&self, change: &'a Change) -> Option<&'a WorkerId> {
        let after = change.lease.as_ref()?.holder()?;
        let before = change.expected.as_ref()?.holder()?;
        (*after == self.me && *before != self.me).then_some(before)
    }

    /// What is stored once a change was tried: what it put, if it was done.
    pub fn answered(&mut self, now: Duration, key: &LeaseKey, stored: Option<Lease>) {
        let Some(Asked { at, change }) = self.asked.remove(key) else { return };
        let is_ours = |lease: &Lease| lease.holder() == Some(&self.me);
        let renewed = stored == change.lease && stored.as_ref().is_some_and(is_ours);
        self.see(now, key, stored);
        if let Some(seen) = self.seen.get_mut(key) {
            seen.told = Some(now);
            seen.until = if renewed { Some(at + self.lasts) } else { seen.until };
        }
    }

    fn see(&mut self, now: Duration, key: &LeaseKey, stored: Option<Lease>) {
        let ours = stored.as_ref().is_some_and(|lease| lease.holder() == Some(&self.me));
        if !ours {
            // By when it comes back, others may have gone further.
            self.checkpoints.remove(key);
        }
        let Some(lease) = stored else {
            self.seen.remove(key);
            self.drained.remove(key);
            return;
        };
        match self.seen.get_mut(key) {
            Some(seen) if seen.lease.state() == lease.state() => {}
            Some(seen) => {
                seen.until = seen.until.filter(|_| ours);
                if (&seen.lease.owner, &seen.lease.from) != (&lease.owner, &lease.from) {
                    (seen.paired, seen.offer) = (now, Offer(lease.counter));
                    self.drained.remove(key);
                }
                (seen.lease, seen.since) = (lease, now);
            }
            None => {
                let offer = Offer(lease.counter);
                let seen =
                    Seen { lease, first: now, since: now, paired: now, offer, told: None, until: None };
                self.seen.insert(key.clone(), seen);
            }
        }
    }

    /// The work that this worker does now.
    pub fn holdings(&self, now: Duration) -> BTreeMap<LeaseKey, Holding> {
        let ours = self.seen.iter().filter(|(key, seen)| {
            !matches!(key, LeaseKey::Worker(_)) && seen.until.is_some_and(|until| now < until)
        });
        ours.map(|(key, seen)| (key.clone(), self.holding(now, seen))).collect()
    }

    /// An offer is worked on until the one that it was made to has had the time to see it, and waits.
    fn holding(&self, now: Duration, seen: &Seen) -> Holding {
        let offered = seen.lease.from.as_ref() == Some(&self.me);
        let hurries = seen.lease.owner.is_none();
        match offered && (hurries || now >= seen.paired + self.interval()) {
            true => Holding::PassOn(seen.offer),
            false => Holding::Work,
        }
    }

    /// Whether another is passing something on to this worker: then it looks as often as it can.
    pub fn expects(&self) -> bool {
        self.seen
            .values()
            .any(|seen| seen.lease.from.is_some() && seen.lease.owner.as_ref() == Some(&self.me))
    }

    /// Whether there is nothing left to give away.
    pub fn has_left(&self) -> bool {
        self.asked.is_empty() && self.seen.values().all(|seen| seen.lease.holder() != Some(&self.me))
    }

    /// Leases that nobody works under.
    pub fn unclaimed(&self, now: Duration) -> Vec<LeaseKey> {
        let free = |key: &&LeaseKey| self.seen.get(key).is_none_or(|seen| self.is_free(now, seen));
        self.work().filter(free).cloned().collect()
    }

    /// Whether all work is claimed, none of it is on its way to this worker, and whoever else holds some was seen to
    /// renew it.
    pub fn is_settled(&self, now: Duration) -> bool {
        let is_alive = |(key, seen): (&LeaseKey, &Seen)| {
            let ours = seen.lease.holder() == Some(&self.me);
            let held =
                if ours { seen.until.is_some_and(|until| now < until) } else { seen.since > seen.first };
            held || matches!(key, LeaseKey::Worker(_))
        };
        self.work.is_some()
            && self.unclaimed(now).is_empty()
            && !self.expects()
            && self.seen.iter().all(is_alive)
    }

    /// What is to be written now; each is answered by [`Leases::answered`].
    pub fn changes(&mut self, now: Duration) -> Vec<Change> {
        let mut changes: Vec<Change> = self.own_place(now).into_iter().collect();
        let plan = self.plan(now);
        changes.extend(self.seen.iter().filter_map(|(key, seen)| self.change(now, key, seen, &plan)));
        let unseen = self.work().filter(|key| !self.seen.contains_key(*key));
        changes.extend(unseen.filter_map(|key| self.create(key, &plan)));
        changes.retain(|change| !self.asked.contains_key(&change.key));
        for change in &changes {
            self.asked.insert(change.key.clone(), Asked { at: now, change: change.clone() });
        }
        changes
    }

    /// The worker's own place in the fleet; it is given up first.
    fn own_place(&self, now: Duration) -> Option<Change> {
        let key = LeaseKey::Worker(self.me.clone());
        match self.seen.get(&key) {
            None if self.leaving => None,
            None => {
                let lease = first(&key, &self.me);
                Some(Change { key, expected: None, lease: Some(lease) })
            }
            Some(seen) if self.leaving => {
                Some(Change { key, expected: Some(seen.lease.clone()), lease: None })
            }
            Some(seen) => self.renew(now, seen),
        }
    }

    /// Whoever knows of new work makes its lease, for the one that it is planned for.
    fn create(&self, key: &LeaseKey, plan: &Plan<'_>) -> Option<Change> {
        let lease = first(key, plan.get(key)?);
        Some(Change { key: key.clone(), expected: None, lease: Some(lease) })
    }

    fn change(&self, now: Duration, key: &LeaseKey, seen: &Seen, plan: &Plan<'_>) -> Option<Change> {
        let lease = &seen.lease;
        let ours = lease.holder() == Some(&self.me);
        let remove = || Change { key: key.clone(), expected: Some(lease.clone()), lease: None };
        if let LeaseKey::Worker(worker) = key {
            return (*worker != self.me && self.is_free(now, seen)).then(remove);
        }
        if self.is_over(key, seen) {
            return (ours || self.is_free(now, seen)).then(remove);
        }
        let planned = plan.get(key).copied();
        match &lease.from {
            _ if !ours => {
                let mine = planned == Some(&self.me) && self.is_free(now, seen);
                mine.then(|| self.put(seen, planned, None))
            }
            Some(_) if self.drained.contains(key) => Some(self.put(seen, lease.owner.as_ref(), None)),
            // It was offered to one that is gone.
            Some(from) if lease.owner.is_some() && planned != lease.owner.as_ref() => {
                Some(self.put(seen, planned, Some(from).filter(|from| planned != Some(from))))
            }
            None if planned != Some(&self.me) && (planned.is_some() || self.leaving) => {
                Some(self.put(seen, planned, Some(&self.me)))
            }
            _ => self.renew(now, seen),
        }
    }

    /// A renewal is due well before the lease ends, so that a lost one can be repeated.
    fn renew(&self, now: Duration, seen: &Seen) -> Option<Change> {
        let due = seen.until.is_none_or(|until| now + self.lasts >= until + self.interval());
        due.then(|| self.put(seen, seen.lease.owner.as_ref(), seen.lease.from.as_ref()))
    }

    fn put(&self, seen: &Seen, owner: Option<&WorkerId>, from: Option<&WorkerId>) -> Change {
        let old = &seen.lease;
        let lease = Lease {
            key: old.key.clone(),
            owner: owner.cloned(),
            from: from.cloned(),
            counter: old.counter + 1,
            checkpoint: self.checkpoints.get(&old.key).or(old.checkpoint.as_ref()).cloned(),
        };
        Change { key: old.key.clone(), expected: Some(old.clone()), lease: Some(lease) }
    }

    /// Nobody holds it, or nobody has renewed it for as long as it lasts.
    fn is_free(&self, now: Duration, seen: &Seen) -> bool {
        let ours = seen.until.is_some_and(|until| now < until);
        let is_over = now >= seen.since + self.lasts && !planted::is(Bug::LeaseForEver);
        seen.lease.holder().is_none() || (!ours && is_over)
    }

    fn plan(&self, now: Duration) -> Plan<'_> {
        let free = |seen: &&Seen| self.is_free(now, seen);
        let silent: BTreeSet<&WorkerId> =
            self.seen.values().filter(free).filter_map(|seen| seen.lease.holder()).collect();
        let takes_part = |worker: &WorkerId| match *worker == self.me {
            true => !self.leaving,
            false => !silent.contains(worker),
        };
        let workers = self.seen.keys().filter_map(|key| match key {
            LeaseKey::Worker(worker) => Some(worker).filter(|worker| takes_part(worker)),
            LeaseKey::Shard(_) | LeaseKey::Merge(_) => None,
        });
        let workers = workers.collect();
        let owned = |key: &LeaseKey| {
            let seen = self.seen.get(key).filter(|seen| !self.is_free(now, seen))?;
            Some((seen.lease.owner.as_ref()?, seen.lease.from.is_none()))
        };
        balance::plan(&workers, self.work().map(|key| (key, owned(key))))
    }
}

fn first(key: &LeaseKey, owner: &WorkerId) -> Lease {
    Lease { key: key.clone(), owner: Some(owner.clone()), from: None, counter: 1, checkpoint: None }
}
