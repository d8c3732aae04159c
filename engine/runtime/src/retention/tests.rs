use foldstream_model::{Generation, Incarnation, Place, Shard, Timestamp};
use proptest::prelude::*;

use super::*;

fn id(chain: &str, position: u64) -> CutId {
    CutId { chain: chain.into(), place: Place::end(Position::new(position.into()), 0) }
}

fn cut(chain: &str, position: u64, since: Option<u64>) -> KnownCut {
    let since = since.map(|since| id(chain, since));
    KnownCut { id: id(chain, position), since, is_complete: true }
}

fn behind(position: u64) -> Kept {
    Kept::Behind(Position::new(position.into()))
}

fn needs(cuts: &[CutId]) -> Needed {
    Needed { cuts: cuts.iter().cloned().collect(), is_over: false }
}

#[test]
fn what_is_older_than_the_newest_whole_cut_in_front_of_the_oldest_record_goes_but_for_what_others_add_to() {
    let mut cuts: Vec<_> = [(1, None), (2, Some(1)), (3, None), (5, Some(3)), (8, Some(5)), (9, None)]
        .map(|(position, since)| cut("a", position, since))
        .into();
    let found = expired(&cuts, &behind(7), &needs(&[]));
    assert_eq!(found.cuts, [id("a", 2), id("a", 1)]);
    assert_eq!(found.entries_before, Some(Position::new(5)));
    cuts[3].is_complete = false;
    let found = expired(&cuts, &behind(7), &needs(&[]));
    assert_eq!(found.entries_before, Some(Position::new(3)), "a cut without one of its pages is no start");
}

#[test]
fn nothing_goes_before_a_whole_cut_is_old_enough() {
    let cuts = [cut("a", 5, None), cut("a", 6, Some(5))];
    assert_eq!(expired(&cuts, &behind(4), &needs(&[])), Expired::default());
    let broken = [cut("a", 3, Some(1)), cut("a", 6, None)];
    assert_eq!(expired(&broken, &behind(4), &needs(&[])), Expired::default());
}

#[test]
fn what_a_projection_stands_on_stays_with_what_it_adds_to() {
    let cuts = [cut("old", 1, None), cut("old", 2, Some(1)), cut("old", 3, Some(2)), cut("new", 9, None)];
    let found = expired(&cuts, &behind(9), &needs(&[id("old", 2)]));
    assert_eq!(found.cuts, [id("old", 3)]);
}

fn shard(name: &str, parents: &[&str]) -> Shard {
    Shard {
        id: ShardId::new(name),
        parents: parents.iter().map(|name| ShardId::new(*name)).collect(),
        range: None,
    }
}

fn split() -> Lineage {
    let mut lineage = Lineage::new(Incarnation::new("one"));
    let listed = [shard("p", &[]), shard("l", &["p"]), shard("r", &["p"])];
    lineage.discover(&Incarnation::new("one"), &listed, Timestamp::EPOCH).unwrap();
    lineage
}

fn at(cut: Option<CutId>, ended: bool) -> Checkpoint {
    Checkpoint {
        generation: Generation(0),
        cut,
        waits_from: None,
        ended,
        settled_until: None,
        stop: None,
        written_at: Timestamp::EPOCH,
    }
}

fn stands(checkpoints: &[(&str, Checkpoint)]) -> Stands {
    let checkpoints =
        checkpoints.iter().map(|(shard, checkpoint)| (ShardId::new(*shard), checkpoint.clone()));
    Stands { checkpoints: checkpoints.collect(), is_elsewhere: false }
}

#[test]
fn a_final_cut_stays_until_every_projection_has_begun_all_children() {
    let end = id("a", 9);
    let (ended, begun) = (at(Some(end.clone()), true), at(Some(id("c", 1)), false));
    let quick = stands(&[("p", ended.clone()), ("l", begun.clone()), ("r", begun.clone())]);
    let slow = stands(&[("p", ended.clone()), ("l", begun.clone()), ("r", at(None, false))]);
    let p = ShardId::new("p");
    let of = |projections: &[Stands]| needed(&split(), &p, projections);
    assert_eq!(of(&[quick.clone(), slow.clone()]), needs(std::slice::from_ref(&end)));
    assert_eq!(
        of(&[quick.clone(), stands(&[])]),
        needs(&[]),
        "one that has not begun may be reading the parent"
    );
    let over = Needed { cuts: BTreeSet::new(), is_over: true };
    assert_eq!(of(std::slice::from_ref(&quick)), over);
    let elsewhere = Stands { is_elsewhere: true, ..Stands::default() };
    assert_eq!(of(&[quick, elsewhere]), over);
    let cuts = [cut("a", 8, None), cut("a", 9, Some(8)), cut("b", 3, None)];
    assert_eq!(expired(&cuts, &Kept::Nothing, &of(&[slow])).cuts, [id("b", 3)]);
    assert_eq!(expired(&cuts, &Kept::Nothing, &over).cuts, [id("a", 9), id("a", 8), id("b", 3)]);
}

#[test]
fn a_shard_without_children_is_never_over() {
    let ended = stands(&[("l", at(Some(id("a", 9)), true))]);
    assert_eq!(needed(&split(), &ShardId::new("l"), &[ended]), needs(&[id("a", 9)]));
}

#[derive(Debug, Clone)]
struct Case {
    cuts: Vec<KnownCut>,
    kept: Kept,
    needed: Needed,
}

fn cases() -> impl Strategy<Value = Case> {
    let cut = (0u8..3, 1u64..12, prop::option::of(0u64..12), prop::bool::weighted(0.9));
    let cuts = prop::collection::vec(cut, 0..16).prop_map(|cuts| {
        let mut known = BTreeMap::new();
        for (chain, position, since, is_complete) in cuts {
            let chain = format!("chain-{chain}");
            let cut = KnownCut {
                is_complete,
                ..super::tests::cut(&chain, position, since.filter(|since| *since < position))
            };
            known.insert(cut.id.clone(), cut);
        }
        known.into_values().collect::<Vec<_>>()
    });
    let kept = prop_oneof![6 => (0u64..13).prop_map(behind), 1 => Just(Kept::Nothing)];
    let needed =
        (prop::collection::vec((0u8..3, 1u64..12), 0..3), any::<bool>()).prop_map(|(cuts, is_over)| {
            let cuts =
                cuts.iter().map(|(chain, position)| id(&format!("chain-{chain}"), *position)).collect();
            Needed { cuts, is_over }
        });
    (cuts, kept, needed).prop_map(|(cuts, kept, needed)| Case { cuts, kept, needed })
}

/// The cut and what it adds to, as far as that is there.
fn chain<'a>(cuts: &'a [KnownCut], id: &'a CutId) -> Vec<&'a KnownCut> {
    let Some(cut) = cuts.iter().find(|cut| cut.id == *id) else { return Vec::new() };
    let mut all = vec![cut];
    all.extend(cut.since.iter().flat_map(|since| chain(cuts, since)));
    all
}

fn can_be_read(cuts: &[KnownCut], id: &CutId) -> bool {
    let chain = chain(cuts, id);
    chain.last().is_some_and(|first| first.since.is_none()) && chain.iter().all(|cut| cut.is_complete)
}

/// The rule, read word by word.
fn naive(case: &Case) -> BTreeSet<CutId> {
    let Case { cuts, kept, needed } = case;
    if *kept == Kept::Nothing && needed.is_over {
        return cuts.iter().map(|cut| cut.id.clone()).collect();
    }
    let position = |cut: &KnownCut| cut.id.place.position.clone();
    let is_in_front = |cut: &&KnownCut| match kept {
        Kept::Behind(oldest) => position(cut) <= *oldest,
        Kept::Nothing => true,
    };
    let starts = cuts.iter().filter(is_in_front).filter(|cut| can_be_read(cuts, &cut.id)).map(position);
    let Some(start) = starts.max() else { return BTreeSet::new() };
    let is_wanted = |cut: &&KnownCut| position(cut) >= start || needed.cuts.contains(&cut.id);
    let wanted: BTreeSet<&CutId> =
        cuts.iter().filter(is_wanted).flat_map(|cut| chain(cuts, &cut.id)).map(|cut| &cut.id).collect();
    cuts.iter().map(|cut| &cut.id).filter(|id| !wanted.contains(id)).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_goes_is_what_the_rule_says(case in cases()) {
        let found = expired(&case.cuts, &case.kept, &case.needed);
        prop_assert_eq!(found.cuts.iter().cloned().collect::<BTreeSet<_>>(), naive(&case));
        prop_assert_eq!(found.cuts.len(), naive(&case).len());
    }

    /// A crash may come after any of the removals.
    #[test]
    fn whatever_could_be_read_and_is_needed_can_be_read_after_each_removal(case in cases()) {
        let found = expired(&case.cuts, &case.kept, &case.needed);
        let stays: Vec<_> = case.cuts.iter().map(|cut| &cut.id).filter(|id| !found.cuts.contains(id)).collect();
        let mut left = case.cuts.clone();
        for gone in &found.cuts {
            let base_first = left.iter().any(|cut| cut.since.as_ref() == Some(gone));
            prop_assert!(!base_first, "{:?} went before what adds to it", gone);
            left.retain(|cut| cut.id != *gone);
            for id in &stays {
                prop_assert_eq!(can_be_read(&left, id), can_be_read(&case.cuts, id));
            }
        }
        // The next round, of this worker or of another, finds nothing more: what is left does not change the rule.
        let again = expired(&left, &case.kept, &case.needed);
        prop_assert_eq!(again.cuts, Vec::<CutId>::new());
    }
}

fn stands_at(position: u64, ended: bool) -> Stands {
    stands(&[("shard", at(Some(id("a", position)), ended))])
}

#[test]
fn the_hindmost_projection_is_one_that_reads_the_shard_and_has_not_ended_it() {
    let hindmost = |known: &[(&str, Stands)]| {
        let known: Vec<_> =
            known.iter().map(|(name, stands)| (ProjectionId::new(name, 1), stands.clone())).collect();
        let found = super::hindmost(&ShardId::new("shard"), &known);
        found.map(|(id, position)| (id.name.to_string(), position))
    };
    let (far, near, ended) = (stands_at(9, false), stands_at(4, false), stands_at(2, true));
    let elsewhere = Stands { is_elsewhere: true, ..Stands::default() };
    let known = [("far", far.clone()), ("near", near), ("ended", ended.clone()), ("elsewhere", elsewhere)];
    assert_eq!(hindmost(&known), Some(("near".to_owned(), Position::new(4))));
    assert_eq!(
        hindmost(&[("far", far), ("new", stands(&[]))]),
        Some(("new".to_owned(), Position::BEGINNING))
    );
    assert_eq!(hindmost(&[("ended", ended)]), None);
}

#[test]
fn what_is_left_is_said_below_a_quarter_and_again_when_half_of_that_is_gone() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    let now = Timestamp::EPOCH.plus_micros(30 * 3_600_000_000);
    assert_eq!(left(None, DAY, now), DAY, "nothing is unread, however quiet it was");
    assert_eq!(left(Some(now.plus_micros(-5 * 3_600_000_000)), DAY, now), hours(19));
    assert_eq!(left(Some(Timestamp::EPOCH), DAY, now), Duration::ZERO);
    let (mut warned_of, mut said) = (None, Vec::new());
    for left in [9, 6, 5, 4, 3, 2, 1, 0, 0, 12, 5] {
        let (remaining, remembered) = remaining(hours(left), DAY, warned_of);
        warned_of = remembered;
        said.extend((remaining != Remaining::Fine).then_some((left, remaining)));
    }
    let little = Remaining::Little;
    assert_eq!(said, [(5, little), (2, little), (1, little), (0, Remaining::Nothing), (5, little)]);
}
