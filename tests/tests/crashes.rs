//! Crashes at every step that changes something, and what is right after the next start.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Ordering, ProjectionId,
    ports::{CheckpointStore, Table},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, SourceSpec},
    control::{Actor, Controls, RewindTo},
    rows::Rows,
    worker::Until,
};
use foldstream_tests::{around::Around, bed::Bed, crashing::Crash, projectors::Kind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn projections(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::SumOfStates),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ]
}

async fn documents(bed: &Bed) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut documents = BTreeMap::new();
    for name in ["collect", "sum", "feed"] {
        documents.insert(name.to_owned(), bed.documents(name).await);
    }
    documents
}

/// Runs until caught up, or until the crash comes. True: it crashed.
async fn run(bed: &Bed, source: SourceSpec, specs: Vec<ProjectionSpec>, crash: &Arc<Crash>) -> bool {
    let specs = specs
        .into_iter()
        .map(|mut spec| {
            spec.documents = Arc::new(Around { inner: spec.documents, aspect: crash.clone() });
            spec
        })
        .collect();
    let worker = bed.worker_around(crash.clone(), source, specs);
    let (_complete, complete) = watch::channel(true);
    let run = worker.run(Until::CaughtUp(complete), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(120), async {
        tokio::select! {
            outcome = run => {
                let outcome = outcome.expect("an outcome");
                assert!(outcome.caught_up, "{outcome:?}");
                assert!(outcome.stops.is_empty() && outcome.gaps.is_empty(), "{outcome:?}");
                false
            }
            () = crash.happened() => true,
        }
    })
    .await
    .expect("neither caught up nor crashed")
}

async fn late(bed: &Bed, projection: &str) -> usize {
    let checkpoints = bed.store.checkpoints();
    let partition = ProjectionId::new(projection, 1).row_name();
    checkpoints.list(Table::Late, &partition, None, 1_000).await.unwrap().len()
}

/// Records with duplicates, disorder and a gap that the event store fills, over a split.
async fn fill(bed: &Bed) {
    for stream in ["a", "b", "c", "d"] {
        bed.append(stream, &[3, 5, -2, 8, 1, 1]).await;
    }
    for (stream, sequence) in [("a", 1), ("a", 3), ("b", 2), ("b", 1), ("c", 1), ("a", 3), ("c", 2), ("d", 2)]
    {
        bed.put(stream, sequence, [3, 5, -2, 8, 1, 1][usize::try_from(sequence - 1).unwrap()]).await;
    }
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    for (stream, sequence) in [("a", 2), ("b", 3), ("c", 4), ("c", 3), ("d", 1), ("a", 4), ("b", 4), ("d", 3)]
    {
        bed.put(stream, sequence, [3, 5, -2, 8, 1, 1][usize::try_from(sequence - 1).unwrap()]).await;
    }
    for (stream, sequence) in [("d", 6), ("a", 5), ("c", 6), ("b", 6), ("b", 5), ("a", 6), ("c", 5)] {
        bed.put(stream, sequence, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_leaves_what_an_undisturbed_run_gives() {
    let mut quiet = Bed::with_transport(1).await;
    quiet.settings.batch_records = 3;
    fill(&quiet).await;
    quiet.catch_up(projections(&quiet)).await.unwrap();
    let expected = documents(&quiet).await;
    assert_eq!(expected["collect"]["a"], r#"{"sequences":[1,2,3,4,5,6]}"#);
    let mut crashes = 0;
    for at in (0..12).chain((12..90).step_by(5)) {
        let mut bed = Bed::with_transport(1).await;
        bed.settings.batch_records = 3;
        fill(&bed).await;
        let crash = Crash::new(at, at % 2 == 0);
        crashes += usize::from(run(&bed, bed.source(), projections(&bed), &crash).await);
        // And again, somewhere in what is left.
        let second = Crash::new(at % 7, at % 3 == 0);
        run(&bed, bed.source(), projections(&bed), &second).await;
        bed.catch_up(projections(&bed)).await.unwrap();
        let found = documents(&bed).await;
        assert_eq!(found["collect"], expected["collect"], "crash at {at}");
        assert_eq!(found["sum"], expected["sum"], "crash at {at}");
        // What came too late for the order of the feed is recorded as late; every event is one or the other, once.
        let fed = found["feed"]["feed"].matches('#').count();
        assert_eq!(fed + late(&bed, "feed").await, 24, "crash at {at}");
    }
    assert!(crashes >= 15, "only {crashes} crashed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_requests_and_lost_answers_change_nothing() {
    let mut bed = Bed::with_transport(1).await;
    bed.settings.batch_records = 3;
    fill(&bed).await;
    let crashed = run(&bed, bed.source(), projections(&bed), &Crash::flaky()).await;
    assert!(!crashed);
    let found = documents(&bed).await;
    for stream in ["a", "b", "c", "d"] {
        assert_eq!(found["collect"][stream], r#"{"sequences":[1,2,3,4,5,6]}"#, "{stream}");
    }
    let fed = found["feed"]["feed"].matches('#').count();
    assert_eq!(fed + late(&bed, "feed").await, 24);
}

/// What became of a rejoin that was to crash.
enum Rejoined {
    /// It crashed; whether the one that caught up had saved anything of it by then.
    Crashed { had_saved: bool },
    /// The crash was to come later than its end.
    Undisturbed,
}

/// Has a new projection catch up and rejoin the shared line, crashes at one of its steps, and goes on.
async fn rejoin(at: usize, after: bool) -> Rejoined {
    let sequences = |n: u64| {
        format!("{{\"sequences\":[{}]}}", (1..=n).map(|n| n.to_string()).collect::<Vec<_>>().join(","))
    };
    let mut bed = Bed::new(1).await;
    bed.settings.batch_records = 10;
    for stream in ["a", "b"] {
        bed.append(stream, &[1; 60]).await;
    }
    bed.relay().await;
    let early = || bed.projection("early", Ordering::PerStream, Kind::Collect);
    let late = || bed.projection("late", Ordering::PerStream, Kind::Collect);
    bed.catch_up(vec![early()]).await.unwrap();
    bed.append("a", &[1; 20]).await;
    bed.relay().await;
    // A run is caught up only when `late` is not read by itself any more.
    let crashed = run(&bed, bed.source(), vec![early(), late()], &Crash::new(at, after)).await;
    let (checkpoints, partition) = (bed.store.checkpoints(), ProjectionId::new("late", 1).row_name());
    let saved = checkpoints.list(Table::Checkpoints, &partition, None, 1).await.unwrap();
    bed.append("b", &[1; 5]).await;
    bed.relay().await;
    bed.catch_up(vec![early(), late()]).await.unwrap();
    for name in ["early", "late"] {
        let documents = bed.documents(name).await;
        assert_eq!(documents["a"], sequences(80), "{name} crash at {at}");
        assert_eq!(documents["b"], sequences(65), "{name} crash at {at}");
    }
    match crashed {
        true => Rejoined::Crashed { had_saved: !saved.is_empty() },
        false => Rejoined::Undisturbed,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_a_rejoin_loses_and_repeats_nothing() {
    for after in [false, true] {
        let (mut crashes, mut in_hand_over) = (0, 0);
        while let Rejoined::Crashed { had_saved } = rejoin(crashes, after).await {
            crashes += 1;
            in_hand_over += usize::from(had_saved);
            assert!(crashes < 100, "it never came to the end");
        }
        // Its last step that must come is to save where the two lines meet: a crash behind that is in the hand-over.
        let is_met = in_hand_over >= usize::from(after);
        assert!(crashes >= 8 && is_met, "{crashes} crashes, {in_hand_over} in the hand-over");
    }
}

fn actor() -> Actor {
    Actor {
        who: "tester".into(),
        reason: Some("a test".into()),
        at: foldstream_model::Timestamp::from_seconds(1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_delivers_again_and_changes_nothing_and_a_rebuild_builds_anew() {
    let bed = Bed::new(2).await;
    for stream in ["a", "b", "c"] {
        bed.append(stream, &[4, 5, 6]).await;
    }
    bed.relay().await;
    bed.catch_up(projections(&bed)).await.unwrap();
    let before = documents(&bed).await;
    let controls = Controls::new(Rows::new(bed.store.checkpoints()));
    for rebuild in [false, true] {
        for name in ["collect", "sum", "feed"] {
            bed.rewind(name, &RewindTo::Beginning, rebuild).await.unwrap();
        }
        bed.counted.forget();
        bed.catch_up(projections(&bed)).await.unwrap();
        assert!(bed.counted.most().1 >= 9);
        assert_eq!(documents(&bed).await, before, "rebuild={rebuild}");
    }
    assert_eq!(controls.audits().await.unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_during_a_run_beats_the_checkpoint_that_is_on_its_way() {
    let bed = Bed::new(1).await;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    bed.append("a", &[1; 50]).await;
    bed.relay().await;
    let worker = bed.worker(vec![bed.source()], collect());
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let operate = async {
        while bed.documents("collect").await.is_empty() {
            tokio::task::yield_now().await;
        }
        for round in 1..=5usize {
            bed.rewind("collect", &RewindTo::Beginning, true).await.unwrap();
            bed.append("a", &[1; 10]).await;
            bed.relay().await;
            let wanted = 50 + round * 10;
            while bed.documents("collect").await["a"].matches(',').count() + 1 < wanted {
                tokio::task::yield_now().await;
            }
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(run, operate) })
        .await
        .expect("in time");
    outcome.unwrap();
    bed.catch_up(collect()).await.unwrap();
    assert_eq!(bed.documents("collect").await["a"].matches(',').count(), 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_projections_cost_one_read_and_those_behind_at_most_a_second_one() {
    let mut bed = Bed::new(1).await;
    bed.settings.batch_records = 500;
    let spec = |index: usize| match index % 2 {
        0 => bed.projection(&format!("p{index}"), Ordering::PerStream, Kind::Collect),
        _ => bed.projection(&format!("p{index}"), Ordering::Commutative, Kind::Sum),
    };
    let append = async |rounds: usize| {
        for round in 0..rounds {
            for stream in 0..10 {
                bed.append(&format!("s-{stream}-{round}"), &[1; 100]).await;
            }
        }
        bed.relay().await;
    };
    append(2).await;
    bed.catch_up((0..8).map(spec).collect()).await.unwrap();
    assert_eq!(bed.counted.most(), (1, 2_000));
    // p7 stays 10,000 events behind; p8 is new; p6 is paused.
    append(10).await;
    bed.catch_up((0..7).map(spec).collect()).await.unwrap();
    let controls = Controls::new(Rows::new(bed.store.checkpoints()));
    controls.set_paused(&ProjectionId::new("p6", 1), true, &actor()).await.unwrap();
    bed.counted.forget();
    append(1).await;
    bed.catch_up((0..9).map(spec).collect()).await.unwrap();
    assert!(bed.counted.most().0 <= 2, "{:?}", bed.counted.most());
    controls.set_paused(&ProjectionId::new("p6", 1), false, &actor()).await.unwrap();
    bed.counted.forget();
    bed.catch_up((0..9).map(spec).collect()).await.unwrap();
    assert!(bed.counted.most().0 <= 2, "{:?}", bed.counted.most());
    for index in 0..9 {
        let documents = bed.documents(&format!("p{index}")).await;
        match index % 2 {
            0 => assert_eq!(documents.len(), 100, "p{index}"),
            _ => {
                let events: usize = documents
                    .values()
                    .map(|document| document.split(['{', ':', ',']).nth(2).unwrap().parse::<usize>().unwrap())
                    .sum();
                assert_eq!(events, 13_000, "p{index}");
            }
        }
    }
}
