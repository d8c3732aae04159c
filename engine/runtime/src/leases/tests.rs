//! Fleets over a store that loses answers, delays and refuses nothing else: a list of leases and a counted clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldstream_model::{Lease, LeaseKey, ShardId, WorkerId};
use proptest::prelude::*;

use super::{Change, Holding, Leases, balance, first};

const LASTS: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(50);

fn shard(number: usize) -> LeaseKey {
    LeaseKey::Shard(ShardId::new(format!("s-{number:03}")))
}

fn work(shards: usize) -> BTreeSet<LeaseKey> {
    (0..shards).map(shard).collect()
}

struct Member {
    leases: Leases,
    /// It works under these; what it drains takes a while.
    works: BTreeMap<LeaseKey, usize>,
    next_look: Duration,
    frozen_until: Duration,
    /// Writes that were sent and whose answers are on their way, with when they come and whether they do.
    answers: Vec<(Duration, LeaseKey, Option<Option<Lease>>)>,
}

#[derive(Default)]
struct Fleet {
    now: Duration,
    stored: BTreeMap<LeaseKey, Lease>,
    members: BTreeMap<WorkerId, Member>,
    work: BTreeSet<LeaseKey>,
    offers: usize,
    takes: usize,
    chance: u64,
}

impl Fleet {
    fn new(shards: usize, seed: u64) -> Self {
        Self { work: work(shards), chance: seed | 1, ..Self::default() }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % below
    }

    fn join(&mut self, name: &str) {
        let id = WorkerId::new(name);
        let mut leases = Leases::new(id.clone(), LASTS);
        leases.needed(self.now, self.work.clone());
        let member = Member {
            leases,
            works: BTreeMap::new(),
            next_look: self.now,
            frozen_until: Duration::ZERO,
            answers: Vec::new(),
        };
        self.members.insert(id, member);
    }

    fn apply(&mut self, change: &Change) {
        if self.stored.get(&change.key) != change.expected.as_ref() {
            return;
        }
        match &change.lease {
            Some(lease) => {
                let before = change.expected.as_ref().and_then(|lease| lease.from.as_ref());
                let work = !matches!(lease.key, LeaseKey::Worker(_));
                self.offers += usize::from(work && lease.from.is_some() && before.is_none());
                let owner = |lease: &Lease| lease.holder().cloned();
                self.takes += usize::from(
                    work && change.expected.as_ref().and_then(owner) != owner(lease) && before.is_none(),
                );
                self.stored.insert(change.key.clone(), lease.clone());
            }
            None => {
                self.stored.remove(&change.key);
            }
        }
    }

    /// One step of every worker; a share of the answers, in percent, is lost, and found out by reading back later.
    fn step(&mut self, lost: u64) {
        self.now += STEP;
        let now = self.now;
        let names: Vec<WorkerId> = self.members.keys().cloned().collect();
        for name in names {
            let Some(mut member) = self.members.remove(&name) else { continue };
            if member.frozen_until <= now {
                self.work_on(&mut member, lost);
            }
            self.members.insert(name, member);
        }
    }

    fn work_on(&mut self, member: &mut Member, lost: u64) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut member.answers).into_iter().partition(|(at, ..)| *at <= now);
        member.answers = later;
        let due: Vec<(Duration, LeaseKey, Option<Option<Lease>>)> = due;
        for (_, key, stored) in due {
            let stored = stored.unwrap_or_else(|| self.stored.get(&key).cloned());
            member.leases.answered(now, &key, stored);
        }
        if member.next_look <= now || member.leases.expects() {
            member.leases.listed(now, now, self.stored.values().cloned().collect());
            member.next_look = now + member.leases.interval();
        }
        for change in member.leases.changes(now) {
            let (is_lost, delay) = (self.draw(100) < lost, self.draw(4) as u32);
            let reaches = !is_lost || self.draw(2) == 0;
            if reaches {
                self.apply(&change);
            }
            let answer = (!is_lost).then(|| self.stored.get(&change.key).cloned());
            member.answers.push((now + STEP * delay, change.key, answer));
        }
        let holdings = member.leases.holdings(now);
        member.works.retain(|key, _| holdings.contains_key(key));
        for (key, holding) in holdings {
            let left = member.works.entry(key.clone()).or_insert(3);
            match holding {
                Holding::Work => *left = 3,
                Holding::PassOn(_) if *left > 0 => *left -= 1,
                Holding::PassOn(offer) => member.leases.drained(key, offer),
            }
        }
    }

    fn run(&mut self, time: Duration, lost: u64) {
        let until = self.now + time;
        while self.now < until {
            self.step(lost);
        }
    }

    /// Who works under each lease.
    fn working(&self) -> BTreeMap<LeaseKey, Vec<&WorkerId>> {
        let mut working: BTreeMap<LeaseKey, Vec<&WorkerId>> = BTreeMap::new();
        for (name, member) in &self.members {
            for key in member.works.keys() {
                working.entry(key.clone()).or_default().push(name);
            }
        }
        working
    }

    fn assert_shared(&self) {
        let working = self.working();
        for key in &self.work {
            assert_eq!(working.get(key).map_or(0, Vec::len), 1, "{key}: {:?}", self.stored.get(key));
        }
        let shares: Vec<usize> = self.members.values().map(|member| member.works.len()).collect();
        let (most, least) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
        assert!(most - least <= 1, "{shares:?}");
        assert_eq!(self.stored.len(), self.work.len() + self.members.len(), "{:?}", self.stored.keys());
    }
}

#[test]
fn a_worker_alone_takes_everything_at_once() {
    let mut fleet = Fleet::new(7, 1);
    fleet.join("a");
    fleet.run(STEP * 12, 0);
    fleet.assert_shared();
    assert_eq!(fleet.offers, 0);
}

#[test]
fn a_worker_that_joins_ten_others_on_a_hundred_shards_gets_its_share_in_nine_moves() {
    let mut fleet = Fleet::new(100, 1);
    (0..10).for_each(|number| fleet.join(&format!("w-{number}")));
    fleet.run(LASTS * 3, 0);
    fleet.assert_shared();
    let (takes, offers) = (fleet.takes, fleet.offers);
    fleet.join("w-new");
    fleet.run(LASTS * 3, 0);
    fleet.assert_shared();
    assert_eq!((fleet.takes - takes, fleet.offers - offers), (0, 9));
}

#[test]
fn what_a_crashed_worker_had_is_taken_when_its_leases_have_ended() {
    let mut fleet = Fleet::new(8, 1);
    fleet.join("a");
    fleet.join("b");
    fleet.run(LASTS * 3, 0);
    fleet.members.remove(&WorkerId::new("a"));
    fleet.run(LASTS * 3 / 4 - STEP, 0);
    assert_eq!(fleet.working().len(), 4, "nothing is taken early");
    fleet.run(LASTS / 2 + LASTS / 4, 0);
    fleet.assert_shared();
}

#[test]
fn a_worker_that_leaves_passes_its_work_on_and_nobody_waits_for_its_leases_to_end() {
    let mut fleet = Fleet::new(8, 1);
    fleet.join("a");
    fleet.join("b");
    fleet.run(LASTS * 3, 0);
    let leaver = WorkerId::new("a");
    fleet.members.get_mut(&leaver).unwrap().leases.leave();
    fleet.run(LASTS - STEP, 0);
    assert!(fleet.members[&leaver].leases.has_left());
    fleet.members.remove(&leaver);
    fleet.assert_shared();
}

#[test]
fn the_last_worker_leaves_everything_free() {
    let mut fleet = Fleet::new(3, 1);
    fleet.join("a");
    fleet.run(LASTS, 0);
    fleet.members.get_mut(&WorkerId::new("a")).unwrap().leases.leave();
    fleet.run(STEP * 20, 0);
    assert!(fleet.members[&WorkerId::new("a")].leases.has_left());
    assert!(fleet.stored.values().all(|lease| lease.holder().is_none()));
    fleet.members.clear();
    fleet.join("b");
    fleet.run(STEP * 12, 0);
    fleet.assert_shared();
}

#[test]
fn at_a_hand_over_the_gap_is_short_and_nobody_works_beside_another() {
    let mut fleet = Fleet::new(2, 1);
    fleet.join("a");
    fleet.run(LASTS, 0);
    fleet.join("b");
    let mut gap = 0;
    for _ in 0..200 {
        fleet.step(0);
        let working = fleet.working();
        assert!(working.values().all(|workers| workers.len() == 1), "{working:?}");
        gap += 2 - working.len();
    }
    fleet.assert_shared();
    assert!(STEP * gap as u32 <= Duration::from_millis(300), "nobody worked for {gap} steps");
}

#[test]
fn a_released_lease_is_passed_on_to_nobody_and_taken_again() {
    let mut fleet = Fleet::new(1, 1);
    fleet.join("a");
    fleet.run(LASTS, 0);
    let lease = fleet.stored.get_mut(&shard(0)).unwrap();
    (lease.from, lease.owner, lease.counter) = (lease.owner.take(), None, lease.counter + 1);
    let takes = fleet.takes;
    fleet.run(LASTS, 0);
    fleet.assert_shared();
    assert_eq!(fleet.takes - takes, 1);
}

#[test]
fn a_lease_that_nothing_needs_any_more_is_removed() {
    let mut fleet = Fleet::new(3, 1);
    fleet.join("a");
    fleet.run(LASTS, 0);
    fleet.work = work(2);
    let only = fleet.members.get_mut(&WorkerId::new("a")).unwrap();
    only.leases.needed(fleet.now, fleet.work.clone());
    fleet.run(LASTS, 0);
    fleet.assert_shared();
}

#[test]
fn a_lease_that_another_has_made_for_new_work_is_claimed_and_not_cleaned_up() {
    let mut fleet = Fleet::new(2, 1);
    fleet.join("a");
    fleet.run(LASTS, 0);
    fleet.work = work(5);
    fleet.join("b");
    fleet.run(LASTS * 2, 0);
    fleet.assert_shared();
}

#[test]
fn leases_of_a_source_that_nobody_has_read_are_left_alone_however_long_they_were_not_renewed() {
    let mut leases = Leases::new(WorkerId::new("a"), LASTS);
    let foreign = first(&shard(0), &WorkerId::new("other"));
    leases.is_new(true);
    leases.needed(STEP, BTreeSet::new());
    let place = leases.changes(STEP).remove(0);
    leases.answered(STEP, &place.key, place.lease);
    for look in [STEP * 2, STEP + LASTS, STEP + LASTS * 2] {
        let place = first(&LeaseKey::Worker(WorkerId::new("a")), &WorkerId::new("a"));
        leases.listed(look, look, vec![place, foreign.clone()]);
        leases.needed(look, BTreeSet::new());
        let touched = leases.changes(look).into_iter().any(|change| change.key == shard(0));
        assert!(!touched && leases.unclaimed(look).is_empty());
    }
    leases.is_new(false);
    leases.needed(STEP + LASTS * 2, work(1));
    let taken = leases.changes(STEP + LASTS * 2).into_iter().find(|change| change.key == shard(0)).unwrap();
    assert_eq!(taken.expected, Some(foreign));
}

#[test]
fn an_old_list_does_not_take_back_what_a_write_has_told() {
    let mut leases = Leases::new(WorkerId::new("a"), LASTS);
    leases.needed(STEP, work(1));
    leases.listed(STEP, STEP, Vec::new());
    let place = leases.changes(STEP);
    leases.answered(STEP, &place[0].key, place[0].lease.clone());
    let takes = leases.changes(STEP * 2);
    leases.answered(STEP * 3, &shard(0), takes[0].lease.clone());
    leases.listed(STEP, STEP * 4, Vec::new());
    assert_eq!(leases.holdings(STEP * 4), BTreeMap::from([(shard(0), Holding::Work)]));
}

#[test]
fn what_has_drained_for_an_offer_that_was_withdrawn_is_not_passed_on_by_the_next() {
    let (mut fleet, a) = (Fleet::new(2, 1), WorkerId::new("a"));
    fleet.join("a");
    fleet.run(LASTS, 0);
    fleet.join("b");
    let (key, offer) = loop {
        fleet.step(0);
        let holdings = fleet.members[&a].leases.holdings(fleet.now);
        if let Some((key, Holding::PassOn(offer))) = holdings.into_iter().find(|held| held.1 != Holding::Work)
        {
            break (key, offer);
        }
    };
    let Member { mut leases, answers, .. } = fleet.members.remove(&a).unwrap();
    for (_, key, _) in answers {
        leases.answered(fleet.now, &key, fleet.stored.get(&key).cloned());
    }
    for (owner, from) in [("a", None), ("b", Some(a.clone()))] {
        let lease = fleet.stored.get_mut(&key).unwrap();
        (lease.owner, lease.from, lease.counter) = (Some(WorkerId::new(owner)), from, lease.counter + 1);
        fleet.now += STEP;
        leases.listed(fleet.now, fleet.now, fleet.stored.values().cloned().collect());
        leases.drained(key.clone(), offer);
    }
    let passes_on = |change: &Change| change.key == key && change.lease.as_ref().unwrap().from.is_none();
    assert!(!leases.clone().changes(fleet.now).iter().any(passes_on));
    fleet.now += leases.interval();
    let Some(Holding::PassOn(next)) = leases.holdings(fleet.now).get(&key).copied() else { panic!() };
    leases.drained(key.clone(), next);
    assert!(leases.changes(fleet.now).iter().any(passes_on));
}

/// What happens in a fleet before its faults stop: what, to whom, and after how many steps.
type Happenings = Vec<(usize, usize, u32)>;

fn assert_shared_after(seed: u64, shards: usize, lost: u64, happenings: Happenings) {
    let mut fleet = Fleet::new(shards, seed);
    fleet.join("first");
    let mut leavers = BTreeSet::new();
    for (number, (kind, whom, steps)) in happenings.into_iter().enumerate() {
        fleet.run(STEP * steps, lost);
        let names: Vec<WorkerId> = fleet.members.keys().cloned().collect();
        let chosen = names.get(whom % names.len().max(1)).cloned();
        match (kind, chosen) {
            (1, Some(name)) if names.len() > 1 => {
                fleet.members.remove(&name);
            }
            (2, Some(name)) => {
                let frozen = fleet.now + STEP * steps * 3;
                fleet.members.get_mut(&name).unwrap().frozen_until = frozen;
            }
            (3, Some(name)) if names.len() > leavers.len() + 1 => {
                fleet.members.get_mut(&name).unwrap().leases.leave();
                leavers.insert(name);
            }
            _ => fleet.join(&format!("w-{number}")),
        }
    }
    fleet.members.values_mut().for_each(|member| member.frozen_until = Duration::ZERO);
    fleet.run(LASTS * 6, 0);
    for leaver in leavers {
        if let Some(member) = fleet.members.remove(&leaver) {
            assert!(member.leases.has_left(), "{leaver} still holds something");
        }
    }
    if !fleet.members.is_empty() {
        fleet.run(LASTS * 4, 0);
        fleet.assert_shared();
    }
}

#[test]
fn who_leaves_frozen_and_the_last_of_all_gets_rid_of_everything() {
    let happenings = vec![(0, 0, 1), (2, 1, 19), (3, 5, 1), (1, 2, 1), (2, 0, 33)];
    assert_shared_after(2_978_579_393_295_204_628, 2, 0, happenings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_happened_the_work_is_shared_once_faults_stop(
        seed in any::<u64>(),
        shards in 0..6_usize,
        lost in 0..60_u64,
        happenings in proptest::collection::vec((0..4_usize, 0..6_usize, 1..40_u32), 1..6),
    ) {
        assert_shared_after(seed, shards, lost, happenings);
    }

    #[test]
    fn a_plan_is_even_and_moves_no_more_than_it_must(
        owners in proptest::collection::vec(proptest::option::of(0..8_usize), 0..60),
        live in proptest::collection::btree_set(0..8_usize, 1..8),
    ) {
        let ids: Vec<WorkerId> = (0..8).map(|number| WorkerId::new(format!("w{number}"))).collect();
        let keys: Vec<LeaseKey> = (0..owners.len()).map(shard).collect();
        let workers = live.iter().map(|number| &ids[*number]).collect::<BTreeSet<_>>();
        let owned = |at: usize| owners[at].map(|number| (&ids[number], true));
        let plan = balance::plan(&workers, keys.iter().enumerate().map(|(at, key)| (key, owned(at))));
        prop_assert_eq!(plan.len(), keys.len());
        let mut shares: BTreeMap<&WorkerId, usize> = workers.iter().map(|worker| (*worker, 0)).collect();
        let mut before = shares.clone();
        let mut moved = 0;
        for (at, key) in keys.iter().enumerate() {
            *shares.get_mut(plan[key]).unwrap() += 1;
            if let Some((owner, _)) = owned(at).filter(|(owner, _)| workers.contains(owner)) {
                *before.get_mut(owner).unwrap() += 1;
                moved += usize::from(plan[key] != owner);
            }
        }
        let (low, high) = (keys.len() / workers.len(), keys.len().div_ceil(workers.len()));
        prop_assert!(shares.values().all(|share| (low..=high).contains(share)), "{:?}", shares);
        let over: usize = before.values().map(|share| share.saturating_sub(high)).sum();
        let free = keys.len() - before.values().sum::<usize>();
        let under: usize = before.values().map(|share| low.saturating_sub(*share)).sum();
        prop_assert!(moved <= over.max(under.saturating_sub(free)), "moved={moved} over={over}");
    }
}
