//! What must hold at every write, as functions of what was stored and what is stored now. None of them knows a store, a
//! clock or a task; each says what is broken. The running line, the simulation and some of the models ask the same ones.

use foldstream_model::{
    Checkpoint, Fed, Guard, Journal, Lease, Mark, MarkNumber, Reach, ShardNumber, ShardPlaces,
};

/// Or what is broken, in words.
pub type Held = Result<(), String>;

fn holds(condition: bool, broken: impl FnOnce() -> String) -> Held {
    if condition { Ok(()) } else { Err(broken()) }
}

/// A document's guard only moves on: in its stream, in each of its shards, in its order.
pub fn guard_moves_on(before: &Guard, after: &Guard) -> Held {
    let forward = match (&before.fed, &after.fed) {
        _ if after.epoch != before.epoch => after.epoch > before.epoch,
        _ if !mark_moves_on(before.mark, after.mark) => false,
        (same, unchanged) if same == unchanged => {
            let is_recorded = before.unrecorded.is_superset(&after.unrecorded);
            is_recorded && (before.mark, &before.unrecorded) != (after.mark, &after.unrecorded)
        }
        (Fed::Nothing, Fed::Stream { .. }) => true,
        (Fed::Stream { stream, sequence }, Fed::Stream { stream: same, sequence: next }) => {
            stream == same && sequence < next
        }
        (Fed::Shards { revision, places }, Fed::Shards { revision: next_revision, places: next_places }) => {
            next_revision > revision && places_move_on(places, next_places)
        }
        (
            Fed::Ordered { revision, key, read, parked },
            Fed::Ordered { revision: next_revision, key: next_key, read: next_read, parked: next_parked },
        ) => {
            let is_new = next_revision > revision && next_key >= key && places_move_on(read, next_read);
            let of_document = || (next_key.as_deref(), &**next_read);
            let (next_key, next_read) =
                next_parked.as_ref().map_or_else(of_document, |next| (next.key.as_ref(), &next.read));
            let parked_moves_on =
                |parked: &Reach| next_key >= parked.key.as_ref() && places_move_on(&parked.read, next_read);
            is_new && parked.as_deref().is_none_or(parked_moves_on)
        }
        _ => false,
    };
    holds(forward, || format!("a guard goes back: {before:?} -> {after:?}"))
}

/// A mark is set under a higher number than the last, and taken off under its own.
fn mark_moves_on(before: Option<Mark>, after: Option<Mark>) -> bool {
    let number = |mark: Option<Mark>| match mark {
        Some(Mark::Set(number) | Mark::Cleared(number)) => number.0,
        None => 0,
    };
    match after {
        _ if before == after => true,
        Some(Mark::Set(_)) => number(after) == number(before) + 1,
        Some(Mark::Cleared(_)) => before == Some(Mark::Set(MarkNumber(number(after)))),
        None => false,
    }
}

/// No shard is taken as covered to its end while events of it may wait.
pub fn nothing_shrinks_under_a_mark(before: &Guard, after: &Guard) -> Held {
    let closed = |guard: &Guard| match &guard.fed {
        Fed::Shards { places, .. } | Fed::Ordered { read: places, parked: None, .. } => {
            (places.closed_below, places.except.clone())
        }
        Fed::Ordered { parked: Some(parked), .. } => (parked.read.closed_below, parked.read.except.clone()),
        Fed::Nothing | Fed::Stream { .. } => Default::default(),
    };
    let is_marked = matches!(after.mark, Some(Mark::Set(_))) && before.epoch == after.epoch;
    holds(!is_marked || closed(before) == closed(after), || {
        format!("a guard shrinks under a mark: {before:?} -> {after:?}")
    })
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

/// A lease changes by one step of its counter, and only who holds it passes it on.
pub fn lease_moves_on(before: &Lease, after: &Lease) -> Held {
    let is_next = before.key == after.key && before.counter.checked_add(1) == Some(after.counter);
    let is_holders = after.from.is_none() || after.from.as_ref() == before.holder();
    holds(is_next && is_holders, || {
        format!("a lease changes hands without its condition: {before:?} -> {after:?}")
    })
}

/// Once what is beyond was spilled, early events in memory weigh no more than they may.
pub fn early_is_bounded(bytes: usize, limit: usize) -> Held {
    holds(bytes <= limit, || format!("early events in memory: bytes={bytes} limit={limit}"))
}

#[cfg(test)]
mod tests {
    use foldstream_model::{
        BasePolicy, Epoch, Generation, LeaseKey, Place, Position, Sequence, ShardId, StreamId, Timestamp,
        WorkerId,
    };

    use super::*;

    fn of_stream(sequence: u64) -> Guard {
        let fed = Fed::Stream { stream: StreamId::new("s"), sequence: Sequence(sequence) };
        Guard::new(Epoch(0), fed)
    }

    fn of_shard(revision: u64, position: u64) -> Guard {
        let mut places = ShardPlaces::default();
        places.places.insert(ShardNumber(0), Place::new(Position::new(position.into()), 0, 0));
        let fed = Fed::Shards { revision, places: Box::new(places) };
        Guard::new(Epoch(0), fed)
    }

    #[test]
    fn a_guard_that_goes_back_or_stays_is_named() {
        assert!(guard_moves_on(&of_stream(1), &of_stream(2)).is_ok());
        assert!(guard_moves_on(&of_stream(2), &of_stream(2)).is_err());
        assert!(guard_moves_on(&of_shard(1, 5), &of_shard(2, 6)).is_ok());
        assert!(guard_moves_on(&of_shard(1, 5), &of_shard(2, 4)).is_err());
        assert!(guard_moves_on(&of_shard(1, 5), &of_shard(1, 6)).is_err());
        assert!(guard_moves_on(&of_stream(9), &Guard { epoch: Epoch(1), ..of_stream(1) }).is_ok());
        assert!(guard_moves_on(&Guard { epoch: Epoch(1), ..of_stream(1) }, &of_stream(9)).is_err());
    }

    #[test]
    fn a_discard_that_is_left_in_a_guard_moves_it_and_is_taken_out_once() {
        let unrecorded = |guard| Guard { unrecorded: [(ShardNumber(0), Place::BEGINNING)].into(), ..guard };
        assert!(guard_moves_on(&of_stream(1), &unrecorded(of_stream(2))).is_ok());
        assert!(guard_moves_on(&unrecorded(of_stream(2)), &of_stream(2)).is_ok());
        assert!(guard_moves_on(&of_stream(2), &unrecorded(of_stream(2))).is_err());
    }

    #[test]
    fn a_hole_and_a_repeat_among_applied_sequences_are_named() {
        assert!(applied_without_holes(&[1, 2], &[1, 2, 3]).is_ok());
        assert!(applied_without_holes(&[1, 3], &[1, 2, 3]).is_err());
        assert!(applied_without_holes(&[1, 1], &[1, 2, 3]).is_err());
    }

    #[test]
    fn a_checkpoint_that_is_not_ended_any_more_or_of_an_older_generation_is_named() {
        let checkpoint = |generation, ended| Checkpoint {
            generation: Generation(generation),
            cut: None,
            waits_from: None,
            ended,
            settled_until: None,
            stop: None,
            written_at: Timestamp::MIN,
        };
        assert!(checkpoint_moves_on(&checkpoint(1, false), &checkpoint(1, true)).is_ok());
        assert!(checkpoint_moves_on(&checkpoint(1, true), &checkpoint(1, false)).is_err());
        assert!(checkpoint_moves_on(&checkpoint(1, true), &checkpoint(2, false)).is_ok());
        assert!(checkpoint_moves_on(&checkpoint(2, false), &checkpoint(1, true)).is_err());
        let open = checkpoint(1, false);
        assert!(parents_have_ended([("p", Some(&open))]).is_err());
        assert!(parents_have_ended([("p", None)]).is_err());
    }

    #[test]
    fn a_horizon_that_goes_back_or_behind_a_seal_is_named() {
        let journal = |horizon: u64, sealed| Journal {
            base: BasePolicy::First,
            start: Position::BEGINNING,
            horizon: Position::new(horizon.into()),
            entries: Vec::new(),
            last: None,
            trimmed: None,
            sealed,
        };
        assert!(journal_moves_on(&journal(1, false), &journal(2, true)).is_ok());
        assert!(journal_moves_on(&journal(2, false), &journal(1, false)).is_err());
        assert!(journal_moves_on(&journal(2, true), &journal(3, true)).is_err());
        assert!(journal_moves_on(&journal(2, true), &journal(2, false)).is_err());
    }

    #[test]
    fn a_lease_that_leaves_a_step_out_or_is_passed_on_by_another_is_named() {
        let lease = |owner, from: Option<&str>, counter| Lease {
            key: LeaseKey::Shard(ShardId::new("0")),
            owner: Some(WorkerId::new(owner)),
            from: from.map(WorkerId::new),
            counter,
            checkpoint: None,
        };
        assert!(lease_moves_on(&lease("a", None, 1), &lease("b", Some("a"), 2)).is_ok());
        assert!(lease_moves_on(&lease("a", None, 1), &lease("b", None, 2)).is_ok(), "it has run out");
        assert!(lease_moves_on(&lease("a", None, 1), &lease("b", None, 3)).is_err());
        assert!(lease_moves_on(&lease("a", None, 1), &lease("b", Some("c"), 2)).is_err());
    }
}
