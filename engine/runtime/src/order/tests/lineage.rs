//! Shards that are split and merged while a stream's events are on their way.

use foldstream_model::HashKeyRange;
use proptest::prelude::*;

use super::*;

const LOW: HashKeyRange = HashKeyRange { first: 0, last: 99 };
const HIGH: HashKeyRange = HashKeyRange { first: 100, last: u128::MAX };

/// Streams a and b live in the lower half, x and y in the upper one.
fn hash_key(partition_key: &str) -> u128 {
    if partition_key < "m" { 50 } else { 150 }
}

fn child(parents: &[&Order], range: Option<HashKeyRange>) -> Order {
    Order::child(parents[0].options.clone(), as_it_is(), parents, range, &hash_key)
}

/// Which sequences each stream has released.
fn by_stream<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> BTreeMap<String, Vec<u64>> {
    let mut by_stream: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, stream, sequence) in stages.into_iter().flat_map(Stage::releases) {
        by_stream.entry(stream).or_default().push(sequence);
    }
    by_stream
}

/// Streams and sequences in the order of their records, where each shard's records end, and what never comes.
type History = (Vec<(&'static str, u64)>, [usize; 2], BTreeSet<(&'static str, u64)>);

/// The events of four streams, a few of them late, doubled or lost, and where each shard's records end.
fn records() -> impl Strategy<Value = History> {
    let moves = prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, any::<bool>()), 0..8);
    let lost = prop::option::of(any::<prop::sample::Index>());
    let cuts = [any::<prop::sample::Index>(), any::<prop::sample::Index>()];
    (prop::collection::vec(prop::sample::select(vec!["a", "b", "x", "y"]), 1..30), moves, lost, cuts)
        .prop_map(|(streams, moves, lost, cuts)| {
            let mut counts = BTreeMap::new();
            let mut records: Vec<_> = streams
                .into_iter()
                .map(|stream| {
                    let count = counts.entry(stream).or_insert(0);
                    *count += 1;
                    (stream, *count)
                })
                .collect();
            for (from, by, doubles) in moves {
                let from = from.index(records.len());
                let record = records[from];
                if !doubles {
                    records.remove(from);
                }
                records.insert((from + by).min(records.len()), record);
            }
            let lost: BTreeSet<_> = lost.map(|lost| records[lost.index(records.len())]).into_iter().collect();
            records.retain(|record| !lost.contains(record));
            let mut cuts = cuts.map(|cut| cut.index(records.len() + 1));
            cuts.sort_unstable();
            (records, cuts, lost)
        })
}

/// Reads a shard, and saves and restores its whole state after some record.
fn read(order: Order, records: &[(&str, u64)], restores_at: usize, rows: &Rows) -> Stage {
    let options = order.options.clone();
    let mut stage = Stage::beside(order, rows);
    stage.begin();
    for (index, (stream, sequence)) in records.iter().enumerate() {
        if index == restores_at {
            stage.order = Order::restore(options.clone(), as_it_is(), &[whole(&stage.order)]).unwrap();
        }
        stage.record(1 + index as u128, event(stream, *sequence));
    }
    stage
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_split_and_a_merge_release_every_event_once_and_in_order(
        (records, [split, merge], lost) in records(),
        knows_ranges: bool,
        restores_at in 0usize..20,
        options in within_bounds(),
        swaps_parents: bool,
    ) {
        let range = |range| knows_ranges.then_some(range);
        let of = |half: u128| {
            let middle = records[split..merge].iter().filter(move |(stream, _)| hash_key(stream) == half);
            middle.copied().collect::<Vec<_>>()
        };
        let rows = Rows::default();
        let parent = read(Order::new(options.clone(), as_it_is()), &records[..split], restores_at, &rows);
        let low = read(child(&[&parent.order], range(LOW)), &of(50), restores_at, &rows);
        let high = read(child(&[&parent.order], range(HIGH)), &of(150), restores_at, &rows);
        let mut parents = [&low.order, &high.order];
        if swaps_parents {
            parents.reverse();
        }
        let merged = read(child(&parents, range(HashKeyRange::ALL)), &records[merge..], restores_at, &rows);

        let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (stream, sequence) in records.iter().copied().collect::<BTreeSet<_>>() {
            let is_behind_a_gap = lost.iter().any(|(of, missing)| *of == stream && *missing < sequence);
            if !is_behind_a_gap {
                expected.entry(stream.to_owned()).or_default().push(sequence);
            }
        }
        prop_assert_eq!(by_stream([&parent, &low, &high, &merged]), expected);
        prop_assert_eq!(merged.order.has_gaps(), records.iter().any(|(stream, sequence)| {
            lost.iter().any(|(of, missing)| of == stream && missing < sequence)
        }));
    }
}

#[test]
fn early_events_go_to_the_child_whose_range_holds_their_partition_key() {
    let mut parent = Stage::new(options());
    parent.record(1, event("a", 2));
    parent.record(2, event("x", 2));
    let streams = |order: &Order| order.gaps().iter().map(|gap| gap.stream.to_string()).collect::<String>();
    assert_eq!(streams(&child(&[&parent.order], Some(LOW))), "a");
    assert_eq!(streams(&child(&[&parent.order], Some(HIGH))), "x");
    assert_eq!(child(&[&parent.order], None).gaps().len(), 2);
}

#[test]
fn a_child_says_which_gaps_it_knows_from_its_parents_only() {
    let mut parent = Stage::new(options());
    parent.record(1, event("a", 2));
    let mut child = Stage::of(child(&[&parent.order], None));
    assert!(child.order.gaps()[0].is_inherited);
    child.record(1, event("a", 3));
    assert!(!child.order.gaps()[0].is_inherited);
    assert_eq!(child.order.gaps()[0].since, Timestamp::from_seconds(1));
}

#[test]
fn what_was_given_up_in_a_parent_is_known_in_its_children() {
    let mut parent = Stage::new(options());
    parent.entry(0, 1, &give_up("a", 2));
    let child = child(&[&parent.order], Some(LOW));
    let given_up = GivenUp { stream: StreamHash::of("a"), first: Sequence(1), last: Sequence(2) };
    assert_eq!(child.given_up().collect::<Vec<_>>(), [given_up]);
}

/// Where the event that each sequence of two streams comes in: a parent, the other one, or their child.
fn whereabouts() -> impl Strategy<Value = Vec<(&'static str, u64, usize)>> {
    let of_stream = |stream| {
        let shards = prop::collection::vec(0usize..3, 0..8);
        shards.prop_map(move |shards| {
            (1..).zip(shards).map(|(sequence, shard)| (stream, sequence, shard)).collect()
        })
    };
    (of_stream("a"), of_stream("b")).prop_map(|(a, b): (Vec<_>, Vec<_>)| [a, b].concat()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn a_merge_releases_at_its_beginning_what_waited_in_one_parent_for_events_of_the_other(
        events in whereabouts(),
        restores_at in 0usize..10,
        options in within_bounds(),
        swaps_parents: bool,
    ) {
        let of = |shard| {
            let records = events.iter().filter(move |(.., of)| *of == shard);
            records.map(|(stream, sequence, _)| (*stream, *sequence)).collect::<Vec<_>>()
        };
        let rows = Rows::default();
        let order = || Order::new(options.clone(), as_it_is());
        let [one, other] = [0, 1].map(|parent| read(order(), &of(parent), restores_at, &rows));
        let mut parents = [&one.order, &other.order];
        if swaps_parents {
            parents.reverse();
        }
        let merged = read(child(&parents, None), &of(2), restores_at, &rows);
        for (stream, released) in by_stream([&one, &other, &merged]) {
            prop_assert_eq!(released, (1..).take(events.iter().filter(|(of, ..)| *of == stream).count()).collect::<Vec<_>>());
        }
        prop_assert!(!merged.order.has_gaps());
        let at_beginning = merged.out.iter().filter(|placed| placed.place.position == Position::BEGINNING);
        prop_assert!(at_beginning.zip(1..).all(|(placed, ordinal)| placed.place.ordinal == ordinal));
    }
}

#[test]
fn an_inherited_event_directly_behind_the_head_is_released_at_the_childs_beginning_and_not_again() {
    let (mut one, mut other) = (Stage::new(options()), Stage::new(options()));
    one.record(1, event("a", 1));
    other.record(1, event("a", 2));
    other.record(2, event("b", 2));
    let mut merged = Stage::of(child(&[&one.order, &other.order], None));
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    merged.begin();
    assert_eq!(merged.shown(), "a2@0/0/1");
    log.released(end(0), merged.order.take_changes()).unwrap();

    // A cut at the very beginning does not hold it as released, one behind it does.
    for (place, expected) in [(Place::BEGINNING, "a2@0/0/1"), (end(0), "")] {
        let cut = log.cut(&place, &[], &merged.order).unwrap();
        let mut again = Stage::of(Order::restore(options(), as_it_is(), &[cut]).unwrap());
        again.begin();
        assert_eq!((again.shown().as_str(), again.head("a")), (expected, Some(2)));
        assert_eq!(again.order.gaps().len(), 1);
    }
}
