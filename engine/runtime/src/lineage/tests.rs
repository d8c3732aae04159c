use foldstream_model::{CutId, ErrorKind, Generation, Place, Position};
use proptest::prelude::*;

use super::*;

fn id(name: &str) -> ShardId {
    ShardId::new(name)
}

fn shard(name: &str, parents: &[&str]) -> Shard {
    Shard { id: id(name), parents: parents.iter().map(|name| id(name)).collect(), range: None }
}

fn incarnation() -> Incarnation {
    Incarnation::new("made at noon")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn ids(names: &[&str]) -> Vec<ShardId> {
    names.iter().map(|name| id(name)).collect()
}

fn diamond() -> Vec<Shard> {
    vec![shard("p", &[]), shard("c1", &["p"]), shard("c2", &["p"]), shard("m", &["c1", "c2"])]
}

fn known(listed: &[Shard]) -> Lineage {
    let mut lineage = Lineage::new(incarnation());
    assert!(lineage.discover(&incarnation(), listed, at(0)).unwrap());
    lineage
}

/// What was gone when a projection was registered.
fn gone(names: &[&str]) -> BTreeSet<ShardId> {
    ids(names).into_iter().collect()
}

/// The standing of a projection that has ended and begun these shards, and no others.
fn standing(ended: &[&str], begun: &[&str]) -> impl Fn(&ShardId) -> Standing {
    let (ended, begun) = (ids(ended), ids(begun));
    move |shard| match () {
        () if ended.contains(shard) => Standing::Ended,
        () if begun.contains(shard) => Standing::Begun,
        () => Standing::NotBegun,
    }
}

#[test]
fn a_child_of_a_merge_waits_for_both_parents() {
    let lineage = known(&diamond());
    let ready = |ended: &[&str]| lineage.outlook(&gone(&[]), standing(ended, &[])).ready;
    assert_eq!(ready(&[]), ids(&["p"]));
    assert_eq!(ready(&["p"]), ids(&["c1", "c2"]));
    assert_eq!(ready(&["p", "c2"]), ids(&["c1"]));
    assert_eq!(ready(&["p", "c1", "c2"]), ids(&["m"]));
    assert_eq!(ready(&["p", "c1", "c2", "m"]), ids(&[]));
}

#[test]
fn a_shard_that_ended_and_was_cleaned_up_still_stands_before_its_children_for_a_paused_projection() {
    let mut lineage = known(&diamond());
    let (quick, paused) = (standing(&["p"], &["c1"]), standing(&[], &["p"]));
    let left = [shard("c1", &[]), shard("c2", &[]), shard("m", &["c1", "c2"])];
    assert!(lineage.discover(&incarnation(), &left, at(50)).unwrap());
    assert_eq!(lineage.outlook(&gone(&[]), quick), Outlook { ready: ids(&["c1", "c2"]), lost: ids(&[]) });
    assert_eq!(lineage.outlook(&gone(&[]), paused), Outlook { ready: ids(&[]), lost: ids(&["p"]) });
}

#[test]
fn a_shard_that_is_still_listed_waits_for_a_projection_that_is_not_known_yet_though_all_others_ended_it() {
    let lineage = known(&diamond());
    assert_eq!(
        lineage.outlook(&gone(&[]), standing(&[], &[])),
        Outlook { ready: ids(&["p"]), lost: ids(&[]) }
    );
}

#[test]
fn a_projection_begins_with_what_was_left_when_it_was_registered() {
    let mut lineage = known(&diamond());
    lineage.discover(&incarnation(), &[shard("c1", &[]), shard("c2", &[])], at(50)).unwrap();
    assert_eq!(lineage.outlook(&gone(&["p", "m"]), standing(&[], &[])).ready, ids(&["c1", "c2"]));
    assert_eq!(lineage.outlook(&gone(&[]), standing(&[], &[])).lost, ids(&["p", "m"]));
}

#[test]
fn parents_that_were_trimmed_before_anything_began_are_not_waited_for() {
    let lineage = known(&[shard("c1", &["p"]), shard("c2", &["p"])]);
    assert_eq!(lineage.outlook(&gone(&[]), standing(&[], &[])).ready, ids(&["c1", "c2"]));
}

#[test]
fn after_a_rewind_what_lies_before_its_start_counts_as_ended() {
    let lineage = known(&diamond());
    assert_eq!(lineage.outlook(&gone(&[]), standing(&[], &["c1", "c2"])).ready, ids(&["c1", "c2"]));
    assert_eq!(lineage.outlook(&gone(&[]), standing(&[], &["m"])).ready, ids(&["m"]));
}

#[test]
fn a_shard_without_a_lease_was_ended_if_what_descends_from_it_has_one() {
    let mut lineage = known(&diamond());
    lineage
        .take_over(&BTreeMap::from([(id("c1"), LeftAt::End), (id("c2"), LeftAt::Behind(Position::new(7)))]));
    let left = |shard: &str| lineage.get(&id(shard)).unwrap().left_at.clone();
    assert_eq!([left("p"), left("c1")], [Some(LeftAt::End), Some(LeftAt::End)]);
    assert_eq!([left("c2"), left("m")], [Some(LeftAt::Behind(Position::new(7))), Some(LeftAt::TrimHorizon)]);
    assert_eq!(lineage.outlook(&gone(&[]), standing(&[], &[])).ready, ids(&["c2"]));
    assert_eq!(lineage.outlook(&gone(&[]), standing(&["c2"], &[])).ready, ids(&["m"]));
    let stored = serde_json::to_string(&lineage).unwrap();
    assert_eq!(serde_json::from_str::<Lineage>(&stored).unwrap(), lineage);
}

#[test]
fn what_an_application_had_ended_is_not_lost_when_it_goes_and_nobody_goes_back_to_it() {
    let mut lineage = known(&diamond());
    lineage.take_over(&BTreeMap::from([(id("m"), LeftAt::TrimHorizon)]));
    lineage.discover(&incarnation(), &[shard("m", &[])], at(50)).unwrap();
    let outlook = lineage.outlook(&gone(&[]), standing(&[], &[]));
    assert_eq!(outlook, Outlook { ready: ids(&["m"]), lost: ids(&[]) });
    let asked = BTreeMap::from([(id("m"), Position::new(3))]);
    let cut = CutId { chain: "chain".into(), place: Place::end(Position::new(9), 0) };
    let stands = Checkpoint {
        generation: Generation(0),
        cut: Some(cut),
        waits_from: None,
        ended: false,
        settled_until: None,
        stop: None,
        written_at: at(0),
    };
    let starts = lineage.rewound(&gone(&[]), &BTreeMap::from([(id("m"), stands)]), &asked);
    assert_eq!(starts[&id("m")], rewind::Start::NotBehind(Place::end(Position::new(3), u32::MAX)));
}

#[test]
fn numbers_are_dense_and_stay() {
    let mut lineage = known(&[shard("z", &[]), shard("a", &[])]);
    lineage.discover(&incarnation(), &[shard("a", &[]), shard("b", &["z"])], at(1)).unwrap();
    let numbers: Vec<_> = lineage.shards().map(|(id, known)| (id.to_string(), known.number.0)).collect();
    assert_eq!(numbers, [("a".into(), 1), ("b".into(), 2), ("z".into(), 0)]);
    assert!(!lineage.discover(&incarnation(), &[shard("a", &[]), shard("b", &["z"])], at(2)).unwrap());
    let stored = serde_json::to_string(&lineage).unwrap();
    assert_eq!(serde_json::from_str::<Lineage>(&stored).unwrap(), lineage);
}

#[test]
fn a_source_that_was_made_again_is_refused() {
    let mut lineage = known(&diamond());
    let before = lineage.clone();
    let error = lineage.discover(&Incarnation::new("made at one"), &diamond(), at(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("made at noon") && error.message().contains("made at one"), "{error}");
    assert_eq!(lineage, before);
}

/// A graph of shards in the order in which a source would have made them; parents by their index.
fn graph() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..10).prop_map(
        |shards| {
            let parents = |(child, picks): (usize, &Vec<prop::sample::Index>)| match child {
                0 => Vec::new(),
                _ => {
                    picks.iter().map(|pick| pick.index(child)).collect::<BTreeSet<_>>().into_iter().collect()
                }
            };
            shards.iter().enumerate().map(parents).collect()
        },
    )
}

fn ranged(name: &str, first: u128, last: u128, parents: &[&str]) -> Shard {
    let parents = parents.iter().map(|parent| id(parent)).collect();
    Shard { id: id(name), parents, range: Some(HashKeyRange { first, last }) }
}

#[test]
fn open_shards_that_take_every_hash_key_once_have_no_fault() {
    let half = u128::MAX / 2;
    let lineage = known(&[
        ranged("a", 0, u128::MAX, &[]),
        ranged("b", 0, half, &["a"]),
        ranged("c", half + 1, u128::MAX, &["a"]),
    ]);
    assert_eq!(lineage.range_faults(), []);
    let unknown = known(&[Shard { range: None, ..ranged("a", 0, 0, &[]) }]);
    assert_eq!(unknown.range_faults(), [], "a source that knows no ranges has none that are wrong");
}

#[test]
fn holes_and_overlaps_of_open_shards_are_found() {
    let lineage = known(&[ranged("a", 10, 100, &[]), ranged("b", 90, 200, &[]), ranged("c", 300, 400, &[])]);
    let range = |first, last| HashKeyRange { first, last };
    let hole = |first, last| RangeFault::Hole(range(first, last));
    assert_eq!(
        lineage.range_faults(),
        [hole(0, 9), RangeFault::Overlap(range(90, 100)), hole(201, 299), hole(401, u128::MAX)]
    );
    let covered = known(&[ranged("a", 0, u128::MAX, &[]), ranged("b", 5, 9, &[])]);
    assert_eq!(covered.range_faults(), [RangeFault::Overlap(range(5, 9))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Reads shards as they become ready, while the source trims some that have ended for nobody or for everybody.
    #[test]
    fn every_shard_is_read_once_and_behind_all_of_its_parents_unless_it_was_lost(
        graph in graph(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
        registered_at in 0i64..20,
    ) {
        let name = |index: usize| format!("shard-{index}");
        let all: Vec<Shard> = graph.iter().enumerate().map(|(index, parents)| Shard {
            id: id(&name(index)),
            parents: parents.iter().map(|parent| id(&name(*parent))).collect(),
            range: None,
        }).collect();
        let mut lineage = known(&all);
        let mut gone: BTreeMap<usize, i64> = BTreeMap::new();
        let mut ended: BTreeSet<usize> = BTreeSet::new();
        for (time, (pick, trims)) in (1i64..).zip(steps) {
            let counts_as_ended =
                |index: &usize| ended.contains(index) || gone.get(index).is_some_and(|gone| *gone <= registered_at);
            let expected_ready: Vec<_> = (0..graph.len())
                .filter(|index| !ended.contains(index) && !gone.contains_key(index))
                .filter(|index| graph[*index].iter().all(counts_as_ended))
                .collect();
            let expected_lost: Vec<_> =
                gone.iter().filter(|(index, _)| !counts_as_ended(index)).map(|(index, _)| *index).collect();
            let before = gone.iter().filter(|(_, gone)| **gone <= registered_at);
            let before = before.map(|(index, _)| id(&name(*index))).collect();
            let outlook = lineage.outlook(&before, |shard| {
                match ended.iter().any(|index| id(&name(*index)) == *shard) {
                    true => Standing::Ended,
                    false => Standing::NotBegun,
                }
            });
            let to_ids = |indexes: &[usize]| indexes.iter().map(|index| id(&name(*index))).collect::<Vec<_>>();
            prop_assert_eq!(&outlook.ready, &to_ids(&expected_ready));
            prop_assert_eq!(&outlook.lost, &to_ids(&expected_lost));

            if trims {
                // Sources trim the oldest first.
                let next = (0..graph.len()).find(|index| !gone.contains_key(index));
                gone.extend(next.map(|index| (index, time)));
                let left: Vec<_> = (0..graph.len()).filter(|index| !gone.contains_key(index)).collect();
                let left: Vec<_> = left.iter().map(|index| all[*index].clone()).collect();
                lineage.discover(&incarnation(), &left, at(time)).unwrap();
            } else if !expected_ready.is_empty() {
                ended.insert(expected_ready[pick.index(expected_ready.len())]);
            }
        }
    }
}
