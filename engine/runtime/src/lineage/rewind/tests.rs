use foldstream_model::{Generation, Incarnation, Shard, Timestamp};
use proptest::{prelude::*, sample::Index};

use super::*;

fn id(shard: usize) -> ShardId {
    ShardId::new(format!("shard-{shard:02}"))
}

fn place(record: usize) -> Place {
    Place::end(position(record), 0)
}

fn position(record: usize) -> Position {
    Position::new(record as u128)
}

fn cut(record: usize) -> CutId {
    CutId { chain: "chain".to_owned(), place: place(record) }
}

fn checkpoint(record: usize, ended: bool) -> Checkpoint {
    Checkpoint {
        generation: Generation(0),
        cut: (record > 0 || ended).then(|| cut(record)),
        waits_from: None,
        ended,
        settled_until: None,
        stop: None,
        written_at: Timestamp::EPOCH,
    }
}

/// Shards, parents before children, with the records 1, 2, 3, … in each, and a projection that reads them.
#[derive(Debug, Clone)]
struct Bed {
    parents: Vec<Vec<usize>>,
    /// The instant of each record; those of a child are later than all of its parents.
    records: Vec<Vec<u64>>,
    /// Behind which records there is a cut; behind the last of a shard that has ended there always is.
    cuts: Vec<BTreeSet<usize>>,
    lineage: Lineage,
    stands: BTreeMap<ShardId, Checkpoint>,
}

impl Bed {
    fn new(parents: Vec<Vec<usize>>, counts: &[usize], cuts: &[u8]) -> Self {
        let mut lineage = Lineage::new(Incarnation::new("made at noon"));
        let listed: Vec<Shard> = (0..parents.len())
            .map(|shard| Shard {
                id: id(shard),
                parents: parents[shard].iter().copied().map(id).collect(),
                range: None,
            })
            .collect();
        lineage.discover(&Incarnation::new("made at noon"), &listed, Timestamp::EPOCH).unwrap();
        let (mut records, mut last): (Vec<Vec<u64>>, Vec<u64>) = Default::default();
        for (of, count) in parents.iter().zip(counts) {
            let begins = of.iter().map(|parent| last[*parent]).max().unwrap_or(0);
            records.push((1..=*count as u64).map(|record| begins + 2 * record).collect());
            last.push(begins + 2 * *count as u64);
        }
        let cuts =
            cuts.iter().map(|bits| (1..=8usize).filter(|record| bits >> (record - 1) & 1 == 1).collect());
        Self { cuts: cuts.take(parents.len()).collect(), parents, records, lineage, stands: BTreeMap::new() }
    }

    fn stands(&self, shard: usize) -> Checkpoint {
        self.stands.get(&id(shard)).cloned().unwrap_or(checkpoint(0, false))
    }

    fn record(&self, shard: usize) -> usize {
        usize::try_from(self.stands(shard).place().position.as_u64().unwrap()).unwrap()
    }

    fn is_closed(&self, shard: usize) -> bool {
        self.parents.iter().any(|of| of.contains(&shard))
    }

    fn ready(&self) -> Vec<usize> {
        let standing = |shard: &ShardId| self.stands.get(shard).map_or(Standing::NotBegun, Standing::of);
        let ready = self.lineage.outlook(&BTreeSet::new(), standing).ready;
        (0..self.parents.len()).filter(|shard| ready.contains(&id(*shard))).collect()
    }

    /// Reads a shard further, to some cut or to its end; what was read.
    fn read(&mut self, shard: usize, to_end: bool) -> Vec<usize> {
        let (from, last) = (self.record(shard), self.records[shard].len());
        let to = match to_end {
            true => last,
            false => self.cuts[shard].iter().copied().find(|cut| *cut > from && *cut <= last).unwrap_or(from),
        };
        if to_end || to > from {
            self.stands.insert(id(shard), checkpoint(to, to_end && self.is_closed(shard)));
        }
        (from + 1..=to).collect()
    }

    fn rewind(&mut self, asked: &BTreeMap<ShardId, Position>) {
        let starts = self.lineage.rewound(&BTreeSet::new(), &self.stands, asked);
        for shard in 0..self.parents.len() {
            let start = match &starts[&id(shard)] {
                Start::Ended(cut) => Checkpoint { cut: Some(cut.clone()), ..checkpoint(0, true) },
                Start::Unmoved(cut) => Checkpoint { cut: Some(cut.clone()), ..checkpoint(0, false) },
                Start::NotBehind(until) => checkpoint(self.newest_cut(shard, until), false),
                Start::Beginning => checkpoint(0, false),
            };
            self.stands.insert(id(shard), start);
        }
    }

    fn newest_cut(&self, shard: usize, until: &Place) -> usize {
        let last = self.records[shard].len();
        let cuts = self.cuts[shard].iter().filter(|cut| **cut <= last && place(**cut) <= *until);
        cuts.max().copied().unwrap_or(0)
    }

    /// Reads everything; the records of each shard that were delivered. A child that begins finds the ends of its parents.
    fn read_all(&mut self) -> Result<Vec<Vec<usize>>, TestCaseError> {
        let mut delivered = vec![Vec::new(); self.parents.len()];
        let mut is_read = BTreeSet::new();
        while let Some(shard) = self.ready().into_iter().find(|shard| !is_read.contains(shard)) {
            for parent in &self.parents[shard] {
                let ended = self.stands(*parent);
                prop_assert!(ended.ended && ended.cut.is_some(), "{shard} begins before {parent} has ended");
            }
            delivered[shard] = self.read(shard, true);
            is_read.insert(shard);
        }
        for shard in 0..self.parents.len() {
            let stands = self.stands(shard);
            let is_done = stands.ended || (!self.is_closed(shard) && is_read.contains(&shard));
            prop_assert!(is_done, "shard {shard} waits for ever: {stands:?}");
        }
        Ok(delivered)
    }
}

fn bed() -> impl Strategy<Value = Bed> {
    let shards =
        prop::collection::vec((prop::collection::vec(any::<Index>(), 0..3), 0usize..6, any::<u8>()), 1..9);
    shards.prop_map(|shards| {
        let parents = shards.iter().enumerate().map(|(child, (picks, _, _))| match child {
            0 => Vec::new(),
            _ => picks.iter().map(|pick| pick.index(child)).collect::<BTreeSet<_>>().into_iter().collect(),
        });
        let counts: Vec<usize> = shards.iter().map(|(_, count, _)| *count).collect();
        let cuts: Vec<u8> = shards.iter().map(|(_, _, cuts)| *cuts).collect();
        Bed::new(parents.collect(), &counts, &cuts)
    })
}

#[derive(Debug, Clone)]
enum To {
    Beginning,
    /// In some shards.
    Positions(Vec<(bool, usize)>),
    Time(u64),
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        1 => Just(To::Beginning),
        3 => prop::collection::vec((any::<bool>(), 0usize..7), 9).prop_map(To::Positions),
        3 => (0u64..40).prop_map(To::Time),
    ]
}

impl To {
    fn asked(&self, bed: &Bed) -> BTreeMap<ShardId, Position> {
        let shards = 0..bed.parents.len();
        match self {
            Self::Beginning => BTreeMap::new(),
            Self::Positions(positions) => {
                let named = shards.filter(|shard| positions[*shard].0);
                named
                    .map(|shard| (id(shard), position(positions[shard].1.min(bed.records[shard].len()))))
                    .collect()
            }
            Self::Time(time) => {
                let before = |shard: usize| bed.records[shard].iter().filter(|at| **at < *time).count();
                shards.map(|shard| (id(shard), position(before(shard)))).collect()
            }
        }
    }
}

/// What must come again, and what may not.
fn check(before: &Bed, to: &To, rewound: &Bed, delivered: &[Vec<usize>]) -> Result<(), TestCaseError> {
    let asked = to.asked(before);
    for (shard, delivered) in delivered.iter().enumerate() {
        let (stood, last) = (before.record(shard), before.records[shard].len());
        let first = delivered.first().copied().unwrap_or(last + 1);
        prop_assert_eq!(delivered, &(first..=last).collect::<Vec<_>>(), "nothing is left out between");
        let named = asked.get(&id(shard)).map_or(0, |position| position.as_u64().unwrap() as usize);
        prop_assert!(first <= named.min(stood) + 1, "shard {shard} is read only from {first} on");
        let stays = |shard: &usize| rewound.stands(*shard).ended;
        if before.parents[shard].iter().all(stays) && asked.contains_key(&id(shard)) {
            let start = if stood <= named { stood } else { before.newest_cut(shard, &place(named)) };
            prop_assert_eq!(first, start + 1, "shard {} begins where it has to", shard);
            prop_assert_eq!(stays(&shard), stood <= named && before.stands(shard).ended);
        }
        if let To::Time(time) = to {
            let all_before = before.records[shard].iter().all(|at| at < time);
            prop_assert!(!(all_before && before.stands(shard).ended) || delivered.is_empty());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn after_a_rewind_everything_from_the_asked_place_on_comes_again_in_order_and_no_shard_waits_for_ever(
        bed in bed(),
        steps in prop::collection::vec((any::<Index>(), any::<bool>()), 0..24),
        rewinds in prop::collection::vec((to(), prop::collection::vec((any::<Index>(), any::<bool>()), 0..12)), 1..4),
    ) {
        let mut bed = bed;
        let read_some = |bed: &mut Bed, steps: &[(Index, bool)]| {
            for (pick, to_end) in steps {
                let ready = bed.ready();
                if !ready.is_empty() {
                    bed.read(ready[pick.index(ready.len())], *to_end);
                }
            }
        };
        read_some(&mut bed, &steps);
        for (to, steps) in rewinds {
            let before = bed.clone();
            bed.rewind(&to.asked(&before));
            let mut all = bed.clone();
            let delivered = all.read_all()?;
            check(&before, &to, &bed, &delivered)?;
            read_some(&mut bed, &steps);
        }
    }
}

/// Shard 0 splits into 1 and 2, which merge into 3; all but the last have ended.
fn diamond() -> Bed {
    let mut bed = Bed::new(vec![vec![], vec![0], vec![0], vec![1, 2]], &[2, 2, 2, 2], &[0xff; 4]);
    bed.read_all().unwrap();
    bed
}

fn starts(bed: &Bed, asked: &[(usize, usize)]) -> Vec<Start> {
    let asked = asked.iter().map(|(shard, record)| (id(*shard), position(*record))).collect();
    bed.lineage.rewound(&BTreeSet::new(), &bed.stands, &asked).into_values().collect()
}

#[test]
fn a_place_in_one_child_alone_takes_the_whole_back_to_the_beginning() {
    assert_eq!(starts(&diamond(), &[(1, 1)]), vec![Start::Beginning; 4]);
}

#[test]
fn a_place_in_a_child_behind_its_parents_end_leaves_the_parent_and_the_sibling_as_they_are() {
    let ended = |record| Start::Ended(cut(record));
    let expected =
        [ended(2), Start::NotBehind(Place::end(position(1), u32::MAX)), ended(2), Start::Beginning];
    assert_eq!(starts(&diamond(), &[(0, 2), (1, 1), (2, 2), (3, 1)]), expected);
}

#[test]
fn a_rewind_never_goes_forward() {
    let mut bed = Bed::new(vec![vec![]], &[6], &[0b111]);
    bed.read(0, false);
    assert_eq!(starts(&bed, &[(0, 5)]), [Start::Unmoved(cut(1))]);
}

#[test]
fn a_shard_that_was_gone_before_the_projection_was_registered_holds_nobody_back() {
    let mut bed = Bed::new(vec![vec![], vec![0]], &[2, 2], &[0xff; 2]);
    let child = Shard { id: id(1), parents: vec![id(0)], range: None };
    bed.lineage.discover(&Incarnation::new("made at noon"), &[child], Timestamp::EPOCH).unwrap();
    bed.stands.insert(id(1), checkpoint(2, false));
    let (gone, asked) = (BTreeSet::from([id(0)]), BTreeMap::from([(id(1), position(1))]));
    let starts = bed.lineage.rewound(&gone, &bed.stands, &asked);
    assert_eq!(starts[&id(1)], Start::NotBehind(Place::end(position(1), u32::MAX)));
}
