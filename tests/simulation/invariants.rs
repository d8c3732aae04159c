//! What must hold at every write, as functions of what was stored and what is stored now. None of them knows a store, a
//! clock or a task; each says what is broken.

use foldstream_model::{Checkpoint, Fed, Guard, Journal, ShardNumber, ShardPlaces};

type Held = Result<(), String>;

fn holds(condition: bool, broken: impl FnOnce() -> String) -> Held {
    if condition { Ok(()) } else { Err(broken()) }
}

/// A document's guard only moves on: in its stream, in each of its shards, in its order.
pub fn guard_moves_on(before: &Guard, after: &Guard) -> Held {
    let forward = match (&before.fed, &after.fed) {
        _ if after.epoch != before.epoch => after.epoch > before.epoch,
        (Fed::Stream { stream, sequence }, Fed::Stream { stream: same, sequence: next }) => {
            stream == same && sequence < next
        }
        (Fed::Shards { revision, places }, Fed::Shards { revision: next_revision, places: next_places }) => {
            next_revision > revision && places_move_on(places, next_places)
        }
        (
            Fed::Ordered { revision, key, read },
            Fed::Ordered { revision: next_revision, key: next_key, read: next_read },
        ) => next_revision > revision && next_key >= key && places_move_on(read, next_read),
        _ => false,
    };
    holds(forward, || format!("a guard goes back: {before:?} -> {after:?}"))
}

fn places_move_on(before: &ShardPlaces, after: &ShardPlaces) -> bool {
    let is_closed = |places: &ShardPlaces, number: &ShardNumber| {
        number.0 < places.closed_below && !places.except.contains(number)
    };
    let open_again = (0..before.closed_below)
        .map(ShardNumber)
        .any(|number| is_closed(before, &number) && !is_closed(after, &number));
    let goes_back = before.places.iter().any(|(number, place)| {
        !is_closed(after, number) && after.places.get(number).is_none_or(|next| next < place)
    });
    !open_again && !goes_back
}

/// The sequences that were applied to a `per_stream` document are the stream's own, from the first one, none left out
/// and none doubled.
pub fn applied_without_holes(applied: &[u64], of_stream: &[u64]) -> Held {
    holds(of_stream.starts_with(applied), || format!("applied={applied:?} of the stream's {of_stream:?}"))
}

/// A checkpoint never goes back within a generation, and never to a lower one.
pub fn checkpoint_moves_on(before: &Checkpoint, after: &Checkpoint) -> Held {
    let forward = match before.generation.cmp(&after.generation) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => before.place() <= after.place() && (after.ended || !before.ended),
        std::cmp::Ordering::Greater => false,
    };
    holds(forward, || format!("a checkpoint goes back: {before:?} -> {after:?}"))
}

/// A horizon never goes back, and a seal is for ever.
pub fn journal_moves_on(before: &Journal, after: &Journal) -> Held {
    let forward = before.horizon <= after.horizon
        && before.base == after.base
        && before.start == after.start
        && before.trimmed <= after.trimmed
        && (!before.sealed || (after.sealed && before.horizon == after.horizon && before.last == after.last));
    holds(forward, || format!("a journal goes back: {before:?} -> {after:?}"))
}

/// Parents before children: a projection has something settled in a child only once it has ended all parents.
pub fn parents_have_ended<'a>(parents: impl IntoIterator<Item = (&'a str, Option<&'a Checkpoint>)>) -> Held {
    for (parent, checkpoint) in parents {
        let ended = checkpoint.is_some_and(|checkpoint| checkpoint.ended);
        holds(ended, || {
            format!("a child is entered before its parent has ended: parent={parent} {checkpoint:?}")
        })?;
    }
    Ok(())
}
