use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{ErrorKind, Position};
use proptest::prelude::*;

use super::*;

fn place(number: u32) -> Place {
    Place::new(Position::new(number.into()), 0, 0)
}

fn origin(shard: u32, at: u32, stream: &str, sequence: u64, recorded_at: i64) -> Origin {
    Origin {
        shard: ShardNumber(shard),
        place: place(at),
        stream: StreamId::new(stream),
        sequence: Sequence(sequence),
        event_type: EventType::new("Made"),
        recorded_at: Timestamp::from_seconds(recorded_at),
    }
}

fn key() -> DocumentKey {
    DocumentKey::new("order-7")
}

/// The guard after these events were applied on the stored one.
fn after(
    ordering: Ordering,
    epoch: u32,
    stored: Option<&Guard>,
    origins: &[Origin],
    read: &ShardPlaces,
) -> Guard {
    let key = key();
    let mut judge = Judge::new(&key, ordering, Epoch(epoch), stored).unwrap();
    origins.iter().for_each(|origin| judge.advance(origin));
    judge.into_guard(&ShardPlaces::default(), read).unwrap()
}

fn judged(ordering: Ordering, epoch: u32, stored: Option<&Guard>, origin: &Origin) -> Result<Judgement> {
    Judge::new(&key(), ordering, Epoch(epoch), stored)?.judge(origin)
}

fn read(places: &[(u32, u32)]) -> ShardPlaces {
    ShardPlaces {
        places: places.iter().map(|(shard, at)| (ShardNumber(*shard), place(*at))).collect(),
        ..ShardPlaces::default()
    }
}

const NOTHING: &[(u32, u32)] = &[];

#[test]
fn a_stream_may_skip_sequences_but_never_go_back() {
    let stored = after(Ordering::PerStream, 0, None, &[origin(0, 1, "a", 3, 0)], &read(NOTHING));
    for (sequence, expected) in
        [(2, Judgement::Duplicate), (3, Judgement::Duplicate), (4, Judgement::Apply), (9, Judgement::Apply)]
    {
        let judgement =
            judged(Ordering::PerStream, 0, Some(&stored), &origin(5, 1, "a", sequence, 0)).unwrap();
        assert_eq!(judgement, expected, "{sequence}");
    }
}

#[test]
fn another_stream_at_the_same_key_is_poison_that_names_both_and_the_key() {
    let stored = after(Ordering::PerStream, 0, None, &[origin(0, 1, "order-7-a", 3, 0)], &read(NOTHING));
    let error = judged(Ordering::PerStream, 0, Some(&stored), &origin(0, 2, "order-7-b", 1, 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poison);
    for part in ["document=order-7 ", "stream=order-7-b", "other=order-7-a"] {
        assert!(error.message().contains(part), "{error}");
    }
}

#[test]
fn a_lower_epoch_counts_as_nothing_and_a_higher_one_fences() {
    let event = origin(0, 1, "a", 1, 0);
    for ordering in [Ordering::PerStream, Ordering::Commutative, Ordering::Global] {
        let stored = after(ordering, 4, None, std::slice::from_ref(&event), &read(&[(0, 1)]));
        assert_eq!(judged(ordering, 5, Some(&stored), &event).unwrap(), Judgement::Apply);
        assert_eq!(judged(ordering, 4, Some(&stored), &event).unwrap(), Judgement::Duplicate);
        assert_eq!(judged(ordering, 3, Some(&stored), &event).unwrap_err().kind(), ErrorKind::Fenced);
        let rebuilt = after(ordering, 5, Some(&stored), std::slice::from_ref(&event), &read(NOTHING));
        assert_eq!(rebuilt.epoch, Epoch(5));
    }
}

#[test]
fn a_guard_of_another_ordering_is_refused() {
    let stored = after(Ordering::PerStream, 0, None, &[origin(0, 1, "a", 1, 0)], &read(NOTHING));
    let error = judged(Ordering::Commutative, 0, Some(&stored), &origin(0, 1, "a", 1, 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("new version"), "{error}");
}

#[test]
fn every_write_changes_the_guard() {
    let event = origin(0, 1, "a", 1, 0);
    for ordering in [Ordering::Commutative, Ordering::Global] {
        let once = after(ordering, 0, None, std::slice::from_ref(&event), &read(NOTHING));
        assert_ne!(once, after(ordering, 0, Some(&once), std::slice::from_ref(&event), &read(NOTHING)));
    }
}

#[test]
fn an_ordered_document_calls_an_older_event_late_unless_its_merge_had_read_it() {
    let stored = after(Ordering::Global, 0, None, &[origin(0, 9, "a", 2, 50)], &read(&[(0, 9), (1, 4)]));
    let cases = [
        (origin(1, 5, "b", 1, 51), Judgement::Apply),
        (origin(1, 4, "b", 1, 51), Judgement::Apply),
        (origin(1, 5, "b", 1, 49), Judgement::Late),
        (origin(1, 4, "b", 1, 49), Judgement::Duplicate),
        (origin(0, 9, "a", 2, 50), Judgement::Duplicate),
        (origin(0, 10, "a", 3, 50), Judgement::Apply),
        (origin(2, 1, "0", 1, 50), Judgement::Late),
    ];
    for (event, expected) in cases {
        assert_eq!(judged(Ordering::Global, 0, Some(&stored), &event).unwrap(), expected, "{event:?}");
    }
}

#[test]
fn a_guard_is_ahead_of_a_merge_that_has_read_less_of_an_open_shard() {
    let stored = after(Ordering::Global, 0, None, &[origin(0, 9, "a", 2, 50)], &read(&[(0, 9), (1, 4)]));
    let key = key();
    let judge = Judge::new(&key, Ordering::Global, Epoch(0), Some(&stored)).unwrap();
    let mut closed = ShardPlaces::default();
    assert!(!judge.is_ahead_of(&read(&[(0, 9), (1, 7)]), &closed));
    assert!(judge.is_ahead_of(&read(&[(0, 8), (1, 7)]), &closed));
    assert!(judge.is_ahead_of(&read(&[(0, 9)]), &closed));
    close(&mut closed, ShardNumber(1));
    assert!(!judge.is_ahead_of(&read(&[(0, 9)]), &closed));
}

#[test]
fn closed_shards_shrink_to_one_number_and_are_never_forgotten() {
    let mut closed = ShardPlaces::default();
    [0, 1, 3].into_iter().for_each(|shard| close(&mut closed, ShardNumber(shard)));
    let mut places = read(&[(0, 7), (2, 5), (3, 1), (6, 2)]);
    shrink(&mut places, &closed);
    assert_eq!(places.closed_below, 4);
    assert_eq!(places.except, BTreeSet::from([ShardNumber(2)]));
    assert_eq!(places.places.keys().map(|shard| shard.0).collect::<Vec<_>>(), [2, 6]);
    shrink(&mut places, &ShardPlaces::default());
    assert!(covers(&places, ShardNumber(3), &place(1_000)) && !covers(&places, ShardNumber(2), &place(6)));
}

/// What places should mean, said at length.
#[derive(Default, Clone)]
struct Naive {
    closed: BTreeSet<u32>,
    places: BTreeMap<u32, u32>,
}

impl Naive {
    fn covers(&self, shard: u32, at: u32) -> bool {
        self.closed.contains(&shard) || self.places.get(&shard).is_some_and(|covered| at <= *covered)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u32, u32),
    Close(u32),
    Shrink(Vec<u32>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = 0u32..8;
    let step = prop_oneof![
        (shard.clone(), 1u32..9).prop_map(|(shard, at)| Step::Advance(shard, at)),
        shard.clone().prop_map(Step::Close),
        prop::collection::vec(shard, 0..5).prop_map(Step::Shrink),
    ];
    prop::collection::vec(step, 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn places_cover_what_they_were_told_and_nothing_else(steps in steps()) {
        let (mut places, mut naive) = (ShardPlaces::default(), Naive::default());
        for step in steps {
            match step {
                Step::Advance(shard, at) => {
                    advance(&mut places, ShardNumber(shard), &place(at));
                    let covered = naive.places.entry(shard).or_default();
                    *covered = at.max(*covered);
                }
                Step::Close(shard) => {
                    close(&mut places, ShardNumber(shard));
                    naive.closed.insert(shard);
                }
                Step::Shrink(shards) => {
                    let mut closed = ShardPlaces::default();
                    shards.iter().for_each(|shard| close(&mut closed, ShardNumber(*shard)));
                    shrink(&mut places, &closed);
                    naive.closed.extend(shards);
                }
            }
            for shard in 0..9 {
                for at in 0..10 {
                    prop_assert_eq!(covers(&places, ShardNumber(shard), &place(at)), naive.covers(shard, at));
                }
            }
            prop_assert!(places.places.keys().all(|shard| !is_closed(&places, *shard)));
            prop_assert!(places.except.iter().all(|shard| shard.0 < places.closed_below));
        }
    }

    #[test]
    fn a_guard_that_is_stored_and_read_back_judges_alike(
        ordering in prop_oneof![Just(Ordering::Commutative), Just(Ordering::Global)],
        applied in prop::collection::vec((0u32..3, 1u32..9, 0i64..9), 1..9),
        read_to in prop::collection::btree_map(0u32..3, 1u32..9, 0..4),
        asked in (0u32..3, 1u32..9, 0i64..9),
    ) {
        let origins: Vec<_> = applied.iter().map(|(shard, at, time)| origin(*shard, *at, "s", 1, *time)).collect();
        let read_to: Vec<_> = read_to.into_iter().collect();
        let guard = after(ordering, 1, None, &origins, &read(&read_to));
        let again = Guard::from_json(&guard.to_json().unwrap()).unwrap();
        prop_assert_eq!(&again, &guard);
        let event = origin(asked.0, asked.1, "s", 1, asked.2);
        let judgement = judged(ordering, 1, Some(&again), &event).unwrap();
        let covered = match ordering {
            Ordering::Commutative => applied.iter().any(|(shard, at, _)| *shard == asked.0 && asked.1 <= *at),
            _ => read_to.iter().any(|(shard, at)| *shard == asked.0 && asked.1 <= *at),
        };
        let beyond = ordering == Ordering::Global && asked.2 > applied.last().unwrap().2;
        let expected = match (beyond, covered, ordering) {
            (true, ..) => Judgement::Apply,
            (_, true, _) => Judgement::Duplicate,
            (_, _, Ordering::Global) => Judgement::Late,
            _ => Judgement::Apply,
        };
        prop_assert_eq!(judgement, expected);
    }

    #[test]
    fn sequences_of_a_stream_are_applied_once_and_in_order(sequences in prop::collection::vec(1u64..12, 0..30)) {
        let (mut stored, mut taken) = (None, Vec::new());
        for sequence in sequences {
            let event = origin(0, 1, "a", sequence, 0);
            if judged(Ordering::PerStream, 0, stored.as_ref(), &event).unwrap() == Judgement::Apply {
                taken.push(sequence);
                stored = Some(after(Ordering::PerStream, 0, stored.as_ref(), &[event], &read(NOTHING)));
            }
        }
        prop_assert!(taken.is_sorted_by(|a, b| a < b));
    }
}

#[test]
fn while_a_mark_stands_nothing_shrinks() {
    let stored = after(Ordering::Commutative, 0, None, &[origin(0, 3, "a", 1, 0)], &read(NOTHING));
    let mut closed = ShardPlaces::default();
    close(&mut closed, ShardNumber(0));
    let key = key();
    let mut judge = Judge::new(&key, Ordering::Commutative, Epoch(0), Some(&stored)).unwrap();
    judge.set_mark();
    let marked = judge.into_guard(&closed, &ShardPlaces::default()).unwrap();
    let waits = origin(0, 4, "a", 2, 0);
    assert_eq!(judged(Ordering::Commutative, 0, Some(&marked), &waits).unwrap(), Judgement::Apply);
    let mut judge = Judge::new(&key, Ordering::Commutative, Epoch(0), Some(&marked)).unwrap();
    judge.clear_mark();
    let cleared = judge.into_guard(&closed, &ShardPlaces::default()).unwrap();
    assert_eq!(judged(Ordering::Commutative, 0, Some(&cleared), &waits).unwrap(), Judgement::Duplicate);
}

#[test]
fn every_mark_of_a_document_has_another_number_and_an_older_epochs_counts_as_none() {
    let key = key();
    let mut guard = None;
    for number in 1..4 {
        let mut judge = Judge::new(&key, Ordering::PerStream, Epoch(0), guard.as_ref()).unwrap();
        assert_eq!(judge.mark(), None);
        judge.set_mark();
        assert_eq!(judge.mark(), Some(MarkNumber(number)));
        let marked = judge.into_guard(&ShardPlaces::default(), &ShardPlaces::default()).unwrap();
        assert_eq!(Judge::new(&key, Ordering::PerStream, Epoch(1), Some(&marked)).unwrap().mark(), None);
        let mut judge = Judge::new(&key, Ordering::PerStream, Epoch(0), Some(&marked)).unwrap();
        judge.clear_mark();
        guard = judge.into_guard(&ShardPlaces::default(), &ShardPlaces::default());
    }
    let first = origin(0, 1, "a", 1, 0);
    assert_eq!(judged(Ordering::PerStream, 0, guard.as_ref(), &first).unwrap(), Judgement::Apply);
}
