//! Who should have which lease.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{LeaseKey, WorkerId};

/// The owner of each lease; a lease that is not named has nobody to go to.
pub type Plan<'a> = BTreeMap<&'a LeaseKey, &'a WorkerId>;

/// Shares leases so that no worker has two more than another, with as few moves as that takes. `leases` are named with
/// their owner and whether they may be moved away from it. Equal views make equal plans.
pub fn plan<'a>(
    workers: &BTreeSet<&'a WorkerId>,
    leases: impl Iterator<Item = (&'a LeaseKey, Option<(&'a WorkerId, bool)>)>,
) -> Plan<'a> {
    let mut shares: BTreeMap<&WorkerId, usize> = workers.iter().map(|worker| (*worker, 0)).collect();
    let (mut plan, mut movable, mut free) =
        (Plan::new(), BTreeMap::<&WorkerId, Vec<&LeaseKey>>::new(), Vec::new());
    for (key, owned) in leases {
        match owned.and_then(|(owner, moves)| Some((owner, moves, shares.get_mut(owner)?))) {
            Some((owner, moves, share)) => {
                *share += 1;
                plan.insert(key, owner);
                if moves {
                    movable.entry(owner).or_default().push(key);
                }
            }
            None => free.push(key),
        }
    }
    for key in free {
        if let Some((worker, share)) = shares.iter_mut().min_by_key(|(worker, share)| (**share, **worker)) {
            *share += 1;
            plan.insert(key, worker);
        }
    }
    while let Some((from, to)) = uneven(&shares)
        && let Some(key) = movable.get_mut(from).and_then(Vec::pop)
    {
        plan.insert(key, to);
        *shares.entry(from).or_default() -= 1;
        *shares.entry(to).or_default() += 1;
    }
    plan
}

/// One that has two more than another, and that other.
fn uneven<'a>(shares: &BTreeMap<&'a WorkerId, usize>) -> Option<(&'a WorkerId, &'a WorkerId)> {
    let (most, high) = shares.iter().max_by_key(|(_, share)| **share)?;
    let (least, low) = shares.iter().min_by_key(|(worker, share)| (**share, **worker))?;
    (*high >= low + 2).then_some((*most, *least))
}
