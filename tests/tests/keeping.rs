//! How long a source still keeps what has not settled is known in time, and quiet shards raise no false alarm.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::time::Duration;

use foldstream_local::LogOptions;
use foldstream_model::{Ordering, ports::Table};
use foldstream_runtime::{
    report::{KeptReport, WorkerReport},
    rows::{REPORTS, Rows},
    worker::Until,
};
use foldstream_tests::{bed::Bed, projectors::Kind};
use tokio_util::sync::CancellationToken;

const DAY: u64 = 24 * 60 * 60;

async fn day_long() -> Bed {
    let mut bed = Bed::new(1).await;
    bed.settings.keeping_interval = Duration::from_millis(20);
    let options =
        LogOptions { shards: 1, retention: Some(Duration::from_secs(DAY)), recorded_in_order: true };
    bed.store.log("events", options).await.unwrap();
    bed
}

/// What a worker that runs these projections says, once `so` holds of it.
async fn said(bed: &Bed, names: &[&str], so: impl Fn(&KeptReport) -> bool) -> KeptReport {
    let projections = names.iter().map(|name| bed.projection(name, Ordering::PerStream, Kind::Collect));
    let worker = bed.worker(vec![bed.source()], projections.collect());
    let (stop, rows) = (CancellationToken::new(), Rows::new(bed.store.checkpoints()));
    let look = async {
        loop {
            let reports = rows.all::<WorkerReport>(Table::Reports, REPORTS).await.unwrap();
            let running = reports.into_iter().map(|(_, report)| report.body).filter(|report| !report.ended);
            if let Some(kept) = running.flat_map(|report| report.kept).find(&so) {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let run = worker.run(Until::Stopped, stop.clone());
    let looked = async {
        let found = tokio::time::timeout(Duration::from_secs(60), look).await;
        stop.cancel();
        found.expect("it is said how long records are kept")
    };
    let (ran, found) = tokio::join!(run, looked);
    ran.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_runs_nowhere_holds_records_up_until_they_are_trimmed() {
    let bed = day_long().await;
    bed.append("a", &[1]).await;
    bed.relay().await;
    let both = ["runs", "rests"].map(|name| bed.projection(name, Ordering::PerStream, Kind::Collect));
    bed.catch_up(both.to_vec()).await.unwrap();
    bed.clock.passes(Duration::from_secs(3 * DAY));
    let quiet = said(&bed, &["runs"], |_| true).await;
    assert_eq!((quiet.seconds_left, quiet.retention_seconds), (DAY, DAY), "nothing is unread: {quiet:?}");

    bed.append("a", &[2]).await;
    bed.relay().await;
    bed.clock.passes(Duration::from_secs(DAY - 3_600));
    let held_up = said(&bed, &["runs"], |kept| kept.projection.name.as_str() == "rests").await;
    assert!((3_000..=3_600).contains(&held_up.seconds_left), "{held_up:?}");
    let goes_on = said(&bed, &["runs", "rests"], |kept| kept.seconds_left == DAY).await;
    assert_eq!(goes_on.source.as_str(), "events");
}
