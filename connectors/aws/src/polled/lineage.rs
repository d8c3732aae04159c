//! The order of shards that descend from each other.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{Shard, ShardId};

/// In an order in which every parent stands before its children. Parents that are not listed any more are forgotten.
pub(crate) fn parents_first(mut shards: BTreeMap<ShardId, Shard>) -> Vec<Shard> {
    let listed: BTreeSet<ShardId> = shards.keys().cloned().collect();
    let mut placed = BTreeSet::new();
    let mut in_order = Vec::with_capacity(shards.len());
    while !shards.is_empty() {
        let before = shards.len();
        shards.retain(|id, shard| {
            shard.parents.retain(|parent| listed.contains(parent));
            let waits = shard.parents.iter().any(|parent| !placed.contains(parent));
            if !waits {
                placed.insert(id.clone());
                in_order.push(shard.clone());
            }
            waits
        });
        if shards.len() == before {
            // No shard descends from itself; if one did, its records would still be wanted.
            in_order.extend(std::mem::take(&mut shards).into_values());
        }
    }
    in_order
}

#[cfg(test)]
mod tests {
    use foldstream_model::HashKeyRange;

    use super::*;

    fn shard(id: &str, parents: &[&str]) -> (ShardId, Shard) {
        let id = ShardId::new(id);
        let parents = parents.iter().copied().map(ShardId::new).collect();
        (id.clone(), Shard { id, parents, range: Some(HashKeyRange::ALL) })
    }

    #[test]
    fn parents_come_first_whatever_they_are_called() {
        let listed = BTreeMap::from([
            shard("a", &["c"]),
            shard("b", &["a", "gone"]),
            shard("c", &["gone"]),
            shard("d", &["c", "a"]),
        ]);
        let in_order = parents_first(listed);
        let ids: Vec<&str> = in_order.iter().map(|shard| shard.id.as_str()).collect();
        assert_eq!(ids, ["c", "a", "b", "d"]);
        assert!(in_order[0].parents.is_empty(), "a parent that is gone is forgotten");
    }
}
