//! Gaps in streams: what the event store has is filled, what it has not waits.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::time::Duration;

use foldstream_model::{Journal, Ordering, SourceName, StreamHash};
use foldstream_runtime::{
    assembly::ProjectionSpec,
    rows::{Rows, journal_key},
    worker::Until,
};
use foldstream_tests::{bed::Bed, projectors::Kind};
use tokio_util::sync::CancellationToken;

fn collect(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]
}

/// Many streams whose first event is nowhere, and whose turn comes before that of stream `z`, which lacks what the
/// event store has.
async fn many_unfillable_gaps_and_one_other(bed: &Bed) {
    let before = |name: &String| StreamHash::of(name) < StreamHash::of("z");
    for stream in (0..).map(|number| format!("lost-{number}")).filter(before).take(40) {
        bed.put(&stream, 2, 1).await;
    }
    bed.append("z", &[1, 1, 1]).await;
    bed.put("z", 1, 1).await;
    bed.put("z", 3, 1).await;
}

async fn run_until(bed: &Bed, stream: &str, document: &str) {
    let worker = bed.worker(vec![bed.source()], collect(bed));
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let see = async {
        while bed.documents("collect").await.get(stream).map(String::as_str) != Some(document) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(run, see) });
    both.await.expect("the document in time").0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_however_many_others_cannot_be() {
    let bed = Bed::new(1).await;
    many_unfillable_gaps_and_one_other(&bed).await;
    bed.catch_up(collect(&bed)).await.unwrap();
    assert_eq!(bed.documents("collect").await["z"], r#"{"sequences":[1,2,3]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_at_the_end_of_its_shard_however_many_others_cannot_be() {
    let mut bed = Bed::new(1).await;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    many_unfillable_gaps_and_one_other(&bed).await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    run_until(&bed, "z", r#"{"sequences":[1,2,3]}"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_of_more_events_than_one_entry_carries_is_filled_before_the_line_is_at_its_tip() {
    let bed = Bed::new(1).await;
    bed.append("a", &[1; 252]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 252, 1).await;
    let outcome = bed.catch_up(collect(&bed)).await.unwrap();
    assert!(outcome.gaps.is_empty());
    assert_eq!(bed.documents("collect").await["a"].matches(',').count(), 251);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_behind_the_horizon_fills_no_gap_that_a_record_fills_before_it() {
    let mut bed = Bed::new(1).await;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    bed.append("a", &[1, 1, 1]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 3, 1).await;
    for sequence in 1..=400 {
        bed.put("b", sequence, 1).await;
    }
    bed.put("a", 2, 1).await;
    bed.catch_up(vec![bed.projection("further", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    bed.settings.gap_patience = Duration::from_millis(1);
    bed.settings.checkpoint_interval = Duration::from_millis(2);
    bed.settings.batch_records = 1;
    bed.catch_up(collect(&bed)).await.unwrap();
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3]}"#);
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let rows = Rows::new(bed.store.checkpoints());
    let journal = rows.get::<Journal>(&journal_key(&SourceName::new("events"), &shard)).await.unwrap();
    assert_eq!(journal.unwrap().body.entries, []);
}
