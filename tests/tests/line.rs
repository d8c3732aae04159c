//! The whole line over the embedded database.

use std::collections::BTreeMap;

use foldstream_model::Ordering;
use foldstream_tests::{bed::Bed, projectors::Kind};

async fn fill(bed: &Bed, streams: usize, rounds: usize) {
    for round in 0..rounds {
        for stream in 0..streams {
            let n = i64::try_from(round * 7 + stream).expect("a small number");
            bed.append(&format!("s-{stream}"), &[n, -n, 1]).await;
        }
    }
    bed.relay().await;
}

fn all(bed: &Bed) -> Vec<foldstream_runtime::assembly::ProjectionSpec> {
    vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::Sum),
        bed.projection("states", Ordering::Commutative, Kind::SumOfStates),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ]
}

async fn documents(bed: &Bed) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut documents = BTreeMap::new();
    for name in ["collect", "sum", "states", "feed"] {
        documents.insert(name.to_owned(), bed.documents(name).await);
    }
    documents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ordering_comes_out_as_a_sequential_fold() {
    let bed = Bed::new(4).await;
    fill(&bed, 20, 5).await;
    let outcome = bed.catch_up(all(&bed)).await.unwrap();
    assert!(outcome.caught_up);
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let documents = documents(&bed).await;
    let sequences: Vec<String> = (1..=15).map(|n| n.to_string()).collect();
    assert_eq!(documents["collect"].len(), 20);
    for document in documents["collect"].values() {
        assert_eq!(*document, format!("{{\"sequences\":[{}]}}", sequences.join(",")));
    }
    assert_eq!(documents["sum"], documents["states"]);
    let feed = &documents["feed"]["feed"];
    assert!(feed.starts_with(r#"{"feed":["s-0#1","s-0#2","s-0#3","s-1#1""#), "{}", &feed[..80]);
    assert_eq!(feed.matches('#').count(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_goes_on_where_the_first_stopped_and_reads_nothing_again() {
    let bed = Bed::new(4).await;
    fill(&bed, 10, 3).await;
    bed.catch_up(all(&bed)).await.unwrap();
    let before = documents(&bed).await;
    bed.counted.forget();
    bed.catch_up(all(&bed)).await.unwrap();
    assert_eq!(bed.counted.most().1, 0);
    assert_eq!(documents(&bed).await, before);
    fill(&bed, 10, 2).await;
    bed.catch_up(all(&bed)).await.unwrap();
    assert_eq!(bed.documents("collect").await["s-3"].matches(',').count(), 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_lanes_and_batches_do_not_change_a_document() {
    let mut outcomes = Vec::new();
    for (shards, lanes, batch) in [(1, 1, 1), (4, 8, 500), (16, 2, 7)] {
        let mut bed = Bed::new(shards).await;
        bed.settings.lanes = lanes;
        bed.settings.batch_records = batch;
        fill(&bed, 12, 4).await;
        bed.catch_up(all(&bed)).await.unwrap();
        outcomes.push(documents(&bed).await);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0], outcomes[2]);
}
