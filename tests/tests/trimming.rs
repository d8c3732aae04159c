//! What the source has trimmed, nobody can begin at; what is saved of that time goes too.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use foldstream_model::{
    Clock, Cut, CutId, ErrorKind, Journal, Ordering, Place, Position, ProjectionId, Result, ShardId,
    SourceName, Timestamp,
    ports::{CheckpointStore, RowKey, Table},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, SourceSpec},
    control::{Actor, Controls, RewindTo},
    order::cut_rows,
    rows::{self, Rows},
    trimming::{Removed, Trimming},
    worker::Until,
};
use foldstream_tests::{
    around::{Around, Aspect, Call},
    bed::Bed,
    crashing::{Crash, gated},
    memory::MemoryCheckpoints,
    projectors::Kind,
};
use tokio_util::sync::CancellationToken;

fn source() -> SourceName {
    SourceName::new("events")
}

fn projections(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::SumOfStates),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ]
}

async fn documents(bed: &Bed) -> Vec<BTreeMap<String, String>> {
    vec![bed.documents("collect").await, bed.documents("sum").await, bed.documents("feed").await]
}

fn trimming(bed: &Bed) -> Trimming {
    Trimming::new(source(), bed.log.source(), Rows::new(bed.store.checkpoints()))
}

async fn trim(bed: &Bed) -> Removed {
    trimming(bed).round().await.unwrap()
}

async fn shard(bed: &Bed) -> ShardId {
    bed.log.describe().await.unwrap().shards[0].id.clone()
}

async fn cut_keys(bed: &Bed, shard: &ShardId) -> Vec<String> {
    let partition = rows::cuts_partition(&source(), shard);
    Rows::new(bed.store.checkpoints()).keys(Table::Cuts, &partition).await.unwrap()
}

async fn journal(bed: &Bed, shard: &ShardId) -> Journal {
    let rows = Rows::new(bed.store.checkpoints());
    rows.journal(&source(), shard, None, &Position::BEGINNING).await.unwrap().unwrap().1
}

fn actor() -> Actor {
    Actor { who: "tester".into(), reason: None, at: Timestamp::from_seconds(1) }
}

/// Back to where the oldest record stands that is kept.
async fn oldest(bed: &Bed) -> (ShardId, RewindTo) {
    let described = bed.log.describe().await.unwrap().shards.remove(0);
    (described.id.clone(), RewindTo::Positions(BTreeMap::from([(described.id, described.trimmed)])))
}

/// Rewinds every projection to where the oldest record stands that is kept, and says what was found to start on.
async fn rewind_to_the_oldest(bed: &Bed, names: &[&str]) -> BTreeSet<Position> {
    let (shard, to) = oldest(bed).await;
    let mut starts = BTreeSet::new();
    for name in names {
        let plan = bed.rewind(name, &to, false).await.unwrap();
        starts.insert(plan.starts[&shard].place.position.clone());
    }
    starts
}

/// Runs again and again, each time with new events and less of the old ones.
async fn live(bed: &Bed, rounds: usize) -> Vec<usize> {
    let shard = shard(bed).await;
    let (mut instants, mut counts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for stream in ["a", "b", "c"] {
            bed.append(stream, &[1, 2]).await;
        }
        bed.relay().await;
        bed.catch_up(projections(bed)).await.unwrap();
        instants.push(bed.clock.now());
        if round >= 2 {
            bed.trim_before(instants[round - 2]).await;
        }
        trim(bed).await;
        counts.push(cut_keys(bed, &shard).await.len());
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_stays_bounded_and_a_rewind_to_the_oldest_record_still_finds_its_start() {
    let bed = Bed::new(1).await;
    let shard = shard(&bed).await;
    let counts = live(&bed, 12).await;
    assert!(counts[11] <= counts[3].max(counts[4]) + 4, "{counts:?}");
    let before = documents(&bed).await;
    let sequences: Vec<String> = (1..=24).map(|n| n.to_string()).collect();
    assert_eq!(before[0]["a"], format!("{{\"sequences\":[{}]}}", sequences.join(",")));
    let trimmed = bed.log.describe().await.unwrap().shards[0].trimmed.clone();
    assert_eq!(trimmed, Position::new(60));
    assert_eq!(rewind_to_the_oldest(&bed, &["collect", "sum", "feed"]).await, BTreeSet::from([trimmed]));
    let to = [0, 1, 59].map(|position| BTreeMap::from([(shard.clone(), Position::new(position))]));
    for to in to.map(RewindTo::Positions).into_iter().chain([RewindTo::Beginning]) {
        let error = bed.rewind("sum", &to, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("the oldest position that can be named is 60"), "{error}");
    }
    bed.counted.forget();
    bed.catch_up(projections(&bed)).await.unwrap();
    assert!(bed.counted.most().1 >= 12, "it was read again");
    assert_eq!(documents(&bed).await, before);
    bed.append("a", &[1]).await;
    bed.relay().await;
    bed.catch_up(projections(&bed)).await.unwrap();
    assert!(bed.documents("collect").await["a"].ends_with(",24,25]}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_worker_removes_what_the_source_has_trimmed_and_a_paused_projection_keeps_its_place() {
    let bed = Bed::new(1).await;
    let rows = Rows::new(bed.store.checkpoints());
    let paused = ProjectionId::new("paused", 1);
    bed.append("a", &[1]).await;
    bed.relay().await;
    bed.catch_up(vec![bed.projection("paused", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    Controls::new(rows.clone()).set_paused(&paused, true, &actor()).await.unwrap();
    let shard = shard(&bed).await;
    for _ in 0..5 {
        bed.append("a", &[1]).await;
        bed.relay().await;
        bed.catch_up(projections(&bed)).await.unwrap();
    }
    bed.trim_before(bed.clock.now()).await;
    let old = |keys: Vec<String>| {
        let places = keys.iter().map(|key| cut_rows::id_of(key).unwrap().place);
        places.filter(|place| place.position < Position::new(6)).count()
    };
    assert!(old(cut_keys(&bed, &shard).await) >= 6);
    let worker = bed.worker(vec![bed.source()], projections(&bed));
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let see = async {
        while old(cut_keys(&bed, &shard).await) > 1 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(run, see) });
    both.await.expect("in time").0.unwrap();
    let stands = rows.checkpoint(&paused, &source(), &shard).await.unwrap().unwrap().body.cut.unwrap();
    assert!(rows.cuts(&source(), &shard, &stands).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_stays_small_however_many_gaps_were_filled() {
    let bed = Bed::with_transport(1).await;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    let idle = || bed.projection("idle", Ordering::PerStream, Kind::Collect);
    let shard = shard(&bed).await;
    let mut instants = Vec::new();
    for round in 0..8 {
        let stream = format!("s-{round}");
        bed.append(&stream, &[7, 7, 7]).await;
        bed.put(&stream, 1, 7).await;
        bed.put(&stream, 3, 7).await;
        if round == 0 {
            bed.catch_up(vec![idle()]).await.unwrap();
        }
        bed.catch_up(collect()).await.unwrap();
        instants.push(bed.clock.now());
        if round >= 2 {
            bed.trim_before(instants[round - 2]).await;
        }
        trim(&bed).await;
    }
    let journal = journal(&bed, &shard).await;
    assert_eq!((journal.entries.len(), journal.trimmed), (3, Some(Position::new(12))));
    let before = bed.documents("collect").await;
    assert!(before.len() == 8 && before.values().all(|document| document == r#"{"sequences":[1,2,3]}"#));
    assert_eq!(rewind_to_the_oldest(&bed, &["collect"]).await, BTreeSet::from([Position::new(12)]));
    let outcome = bed.catch_up([collect(), vec![idle()]].concat()).await.unwrap();
    assert_eq!(bed.documents("collect").await, before);
    let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
    assert_eq!(stopped, ["idle"], "what it needs is gone, and it alone stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_inherit_from_a_parent_that_is_gone_and_only_then_is_nothing_left_of_it() {
    let bed = Bed::with_transport(1).await;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    for (stream, sequence) in [("a", 1), ("a", 3), ("b", 1)] {
        bed.put(stream, sequence, 1).await;
    }
    bed.catch_up(collect()).await.unwrap();
    let parent = shard(&bed).await;
    bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    bed.catch_up(collect()).await.unwrap();
    bed.trim_before(bed.clock.now()).await;
    assert_eq!(bed.log.describe().await.unwrap().shards.len(), 2, "the parent is gone");
    bed.catch_up(collect()).await.unwrap();
    trim(&bed).await;
    assert!(!cut_keys(&bed, &parent).await.is_empty(), "nobody has begun the children");
    bed.put("a", 2, 1).await;
    for stream in 0..20 {
        bed.put(&format!("s-{stream}"), 1, 1).await;
    }
    bed.catch_up(collect()).await.unwrap();
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3]}"#);
    trim(&bed).await;
    assert_eq!(cut_keys(&bed, &parent).await, Vec::<String>::new());
    bed.put("b", 2, 1).await;
    bed.catch_up(collect()).await.unwrap();
    assert_eq!(bed.documents("collect").await["b"], r#"{"sequences":[1,2]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_has_neither_its_own_beginning_nor_that_of_a_parent_stops_alone() {
    for ordering in [Ordering::PerStream, Ordering::Global] {
        let bed = Bed::new(1).await;
        let kind = if ordering == Ordering::Global { Kind::Feed } else { Kind::Collect };
        let specs = || {
            vec![
                bed.projection("behind", ordering, kind),
                bed.projection("ahead", Ordering::PerStream, Kind::Collect),
            ]
        };
        let parent = shard(&bed).await;
        for stream in 0..9 {
            bed.append(&format!("s-{stream}"), &[1]).await;
        }
        bed.relay().await;
        bed.catch_up(specs()).await.unwrap();
        bed.log.split(&parent, u128::MAX / 2).await.unwrap();
        for ahead in [false, true] {
            for stream in 0..9 {
                bed.append(&format!("s-{stream}"), &[1]).await;
            }
            bed.relay().await;
            bed.catch_up(specs().split_off(usize::from(ahead))).await.unwrap();
        }
        let rows = Rows::new(bed.store.checkpoints());
        let behind = ProjectionId::new("behind", 1);
        rows.clear(Table::Cuts, &rows::cuts_partition(&source(), &parent)).await.unwrap();
        for child in bed.log.describe().await.unwrap().shards.into_iter().skip(1) {
            let stands = rows.checkpoint(&behind, &source(), &child.id).await.unwrap().unwrap().body.place();
            for sort in cut_keys(&bed, &child.id).await {
                if cut_rows::id_of(&sort).unwrap().place <= stands {
                    let partition = rows::cuts_partition(&source(), &child.id);
                    rows.delete(&RowKey::new(Table::Cuts, partition, sort)).await.unwrap();
                }
            }
        }
        for _ in 0..2 {
            let outcome = bed.catch_up(specs()).await.unwrap();
            let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
            assert_eq!(stopped, ["behind", "behind"], "in both children");
        }
    }
}

/// Removes rows of cuts at the second call.
struct Removing {
    calls: AtomicUsize,
    store: Arc<dyn CheckpointStore>,
    keys: Vec<RowKey>,
}

impl Aspect for Removing {
    async fn around<T: Send>(&self, _: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.calls.fetch_add(1, Atomic::Relaxed) == 1 {
            for key in &self.keys {
                self.store.delete(key).await?;
            }
        }
        answer.await
    }
}

#[tokio::test]
async fn a_cut_of_which_anything_is_removed_while_it_is_read_is_gone() {
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryCheckpoints::default());
    let (rows, shard) = (Rows::new(store.clone()), ShardId::new("shard"));
    let id = |position| CutId { chain: "chain".into(), place: Place::end(Position::new(position), u32::MAX) };
    let mut keys = Vec::new();
    for (position, since) in [(2, Some(id(1))), (1, None)] {
        let cut = Cut { since, ..Cut::default() };
        for row in cut_rows::encode(&id(position), &cut).unwrap() {
            let (sort, body) = row.unwrap();
            keys.push(RowKey::new(Table::Cuts, rows::cuts_partition(&source(), &shard), sort));
            rows.put_once(&keys[keys.len() - 1], body).await.unwrap();
        }
    }
    assert_eq!(rows.cuts(&source(), &shard, &id(2)).await.unwrap().unwrap().len(), 2);
    let removing = |keys| Removing { calls: AtomicUsize::new(0), store: store.clone(), keys };
    let read = async |keys: &[RowKey]| {
        let aspect = removing(keys.to_vec());
        let rows = Rows::new(Arc::new(Around { inner: store.clone(), aspect }));
        rows.cuts(&source(), &shard, &id(2)).await
    };
    assert_eq!(read(&keys).await.unwrap(), None);
    assert_eq!(read(&keys[1..]).await.unwrap(), None);
}

/// Five runs, of whose cuts only the last ones are needed.
async fn trimmed_log() -> Bed {
    let bed = Bed::new(1).await;
    for _ in 0..5 {
        bed.append("a", &[1, 1]).await;
        bed.relay().await;
        bed.catch_up(projections(&bed)).await.unwrap();
    }
    bed.trim_before(bed.clock.now()).await;
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_removals_and_two_who_remove_at_once_leave_what_is_needed() {
    let mut removed_later = 0;
    for at in 0..6 {
        let bed = trimmed_log().await;
        let shard = shard(&bed).await;
        let all = cut_keys(&bed, &shard).await.len();
        let crash = Crash::new(at, at % 2 == 0);
        let store = Arc::new(Around { inner: bed.store.checkpoints(), aspect: crash.clone() });
        let mut crashing = Trimming::new(source(), bed.log.source(), Rows::new(store));
        tokio::select! {
            biased;
            removed = crashing.round() => drop(removed.unwrap()),
            () = crash.happened() => {}
        }
        let starts = rewind_to_the_oldest(&bed, &["collect"]).await;
        assert_eq!(starts, BTreeSet::from([Position::new(10)]), "crash at {at}");
        let (mut one, mut other) = (trimming(&bed), trimming(&bed));
        let (one, other) = tokio::join!(one.round(), other.round());
        removed_later += one.unwrap().rows + other.unwrap().rows;
        let left = cut_keys(&bed, &shard).await.len();
        assert!(left < all, "{left} of {all} are left");
        assert_eq!(trim(&bed).await, Removed::default());
        bed.append("a", &[1]).await;
        bed.relay().await;
        bed.catch_up(projections(&bed)).await.unwrap();
        assert!(bed.documents("collect").await["a"].ends_with(",10,11]}"), "crash at {at}");
    }
    assert!(removed_later > 0, "nothing was left to remove after a crash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_whose_cut_was_removed_before_it_stood_there_begins_on_one_before() {
    let bed = Bed::with_transport(1).await;
    let source = || SourceSpec { events: None, ..bed.source() };
    let three = || {
        let [collect, _, feed] = <[ProjectionSpec; 3]>::try_from(projections(&bed)).ok().unwrap();
        vec![collect, bed.projection("sum", Ordering::Commutative, Kind::Sum), feed]
    };
    for (stream, sequence) in [("a", 1), ("a", 3), ("b", 1)] {
        bed.put(stream, sequence, 1).await;
    }
    bed.catch_up_from(source(), three()).await.unwrap();
    let (shard, rows) = (shard(&bed).await, Rows::new(bed.store.checkpoints()));
    let older = cut_keys(&bed, &shard).await;
    for (stream, sequence) in [("a", 2), ("b", 3), ("b", 2), ("c", 2)] {
        bed.put(stream, sequence, 1).await;
    }
    for is_older_kept in [true, false] {
        bed.catch_up_from(source(), three()).await.unwrap();
        let before = documents(&bed).await;
        for sort in cut_keys(&bed, &shard).await {
            if !is_older_kept || !older.contains(&sort) {
                let partition = rows::cuts_partition(&source().name, &shard);
                rows.delete(&RowKey::new(Table::Cuts, partition, sort)).await.unwrap();
            }
        }
        let outcome = bed.catch_up_from(source(), three()).await.unwrap();
        assert!(outcome.stops.is_empty());
        assert_eq!(documents(&bed).await, before);
    }
    bed.put("c", 1, 1).await;
    bed.catch_up_from(source(), three()).await.unwrap();
    let collected = bed.documents("collect").await;
    assert_eq!(collected["a"], r#"{"sequences":[1,2,3]}"#);
    assert_eq!(collected["b"], r#"{"sequences":[1,2,3]}"#);
    assert_eq!(collected["c"], r#"{"sequences":[1,2]}"#);
    rows.clear(Table::Cuts, &rows::cuts_partition(&source().name, &shard)).await.unwrap();
    bed.trim_before(bed.clock.now()).await;
    let outcome = bed.catch_up_from(source(), three()).await.unwrap();
    assert_eq!(outcome.stops.len(), 3, "there is nowhere to begin");
}

/// While it waited for its store, others have brought the first projection as far, and what it stood on is removed. The second
/// one comes to the same place only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_stands_on_a_cut_with_which_another_projection_was_overtaken_or_fenced() {
    for rewound in [false, true] {
        let mut bed = Bed::new(1).await;
        // Nobody leaves the line before the test is over.
        let hour = Duration::from_secs(3_600);
        (bed.settings.patience, bed.settings.control_interval) = (hour, hour);
        let collect = |name| bed.projection(name, Ordering::PerStream, Kind::Collect);
        let ((first_gate, first), (second_gate, second)) =
            (gated(collect("first")), gated(collect("second")));
        let (rows, shard, stop) =
            (Rows::new(bed.store.checkpoints()), shard(&bed).await, CancellationToken::new());
        let cut_of = async |name: &str| {
            let stored = rows.checkpoint(&ProjectionId::new(name, 1), &source(), &shard).await.unwrap();
            stored.and_then(|stored| stored.body.cut)
        };
        let cuts_at = async |position| {
            let ids = cut_keys(&bed, &shard).await.into_iter().filter_map(|key| cut_rows::id_of(&key));
            ids.filter(|id| id.place.position == Position::new(position)).count()
        };
        let pause = || tokio::time::sleep(Duration::from_millis(5));
        let see = async {
            first_gate.send_replace(true);
            bed.append("s", &[1, 2, 3, 4, 5]).await;
            bed.relay().await;
            while cut_of("first").await.is_none_or(|cut| cut.place.position != Position::new(5)) {
                pause().await;
            }
            first_gate.send_replace(false);
            bed.append("s", &[6, 7, 8, 9, 10]).await;
            bed.relay().await;
            while bed.counted.most().1 < 10 {
                pause().await;
            }
            if rewound {
                bed.rewind("first", &RewindTo::Beginning, false).await.unwrap();
            }
            bed.catch_up(vec![collect("first")]).await.unwrap();
            bed.trim_before(bed.clock.now()).await;
            while cuts_at(5).await > 0 {
                pause().await;
            }
            first_gate.send_replace(true);
            while cuts_at(10).await < 2 {
                pause().await;
            }
            second_gate.send_replace(true);
            while cut_of("second").await.is_none_or(|cut| cut.place.position != Position::new(10)) {
                pause().await;
            }
            stop.cancel();
        };
        let worker = bed.worker(vec![bed.source()], vec![first, second]);
        let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("in time").0.unwrap();
        let stands = cut_of("second").await.unwrap();
        assert!(
            rows.cuts(&source(), &shard, &stands).await.unwrap().is_some(),
            "rewound={rewound} {stands:?}"
        );
    }
}
