//! Up to which place each shard's events are covered. Shards that are settled to their end shrink into "all below a
//! number are closed, but these", and are never forgotten: whoever slept through it would apply their events again.

use foldstream_model::{Place, ShardNumber, ShardPlaces};

use crate::planted::{self, Bug};

/// Whether an event of this shard, released at this place, is covered.
pub fn covers(places: &ShardPlaces, shard: ShardNumber, place: &Place) -> bool {
    is_closed(places, shard) || places.places.get(&shard).is_some_and(|covered| place <= covered)
}

pub fn is_closed(places: &ShardPlaces, shard: ShardNumber) -> bool {
    shard.0 < places.closed_below && !places.except.contains(&shard)
}

/// Covers the shard up to this place. Never goes back, and leaves a closed shard closed.
pub fn advance(places: &mut ShardPlaces, shard: ShardNumber, place: &Place) {
    if covers(places, shard, place) {
        return;
    }
    match places.places.get_mut(&shard) {
        Some(covered) => covered.clone_from(place),
        None => {
            places.places.insert(shard, place.clone());
        }
    }
}

/// Covers the shard to its end.
pub fn close(places: &mut ShardPlaces, shard: ShardNumber) {
    if shard.0 >= places.closed_below {
        places.except.extend((places.closed_below..shard.0).map(ShardNumber));
        places.closed_below = shard.0.saturating_add(1);
    } else {
        places.except.remove(&shard);
    }
    places.places.remove(&shard);
}

/// Closes all shards that are closed in `closed`.
pub fn shrink(places: &mut ShardPlaces, closed: &ShardPlaces) {
    if closed.closed_below == 0 {
        return;
    }
    if planted::is(Bug::ClosedEntryDropped) {
        return places.places.retain(|shard, _| !is_closed(closed, *shard));
    }
    let open = |shard: &ShardNumber| !is_closed(places, *shard) && !is_closed(closed, *shard);
    places.except = places.except.union(&closed.except).copied().filter(open).collect();
    places.closed_below = places.closed_below.max(closed.closed_below);
    let ShardPlaces { closed_below, except, places } = places;
    places.retain(|shard, _| shard.0 >= *closed_below || except.contains(shard));
}
