//! The whole line over the embedded database.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{collections::BTreeMap, time::Duration};

use foldstream_model::{
    Clock, Ordering, StreamId,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent},
};
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

/// One long stream and many short ones, so that a batch can be full and no shard stays empty. Says how many events each
/// shard has.
async fn fill_unevenly(bed: &Bed) -> Vec<u64> {
    for round in 0..2 {
        let recorded_at = bed.clock.now();
        let event = |n| NewEvent { recorded_at, ..bed.event(n) };
        let numbers = |stream: i64, count| (0..count).map(|n| event(round * 7 + stream - n)).collect();
        let streams = (0..60).map(|stream| (format!("s-{stream}"), numbers(stream, 1)));
        let streams = streams.chain([("long".to_owned(), numbers(0, 252))]);
        let appends = streams.map(|(stream, events): (String, Vec<NewEvent>)| Append {
            stream: StreamId::new(stream),
            expected: ExpectedSequence::Any,
            events,
        });
        let appended = bed.store.events().append(appends.collect()).await.unwrap();
        assert!(matches!(appended, Appended::Done(_)));
    }
    bed.relay().await;
    let shards = bed.log.describe().await.unwrap().shards;
    shards.iter().map(|shard| shard.last.as_u64().unwrap()).collect()
}

async fn made_by(shards: u32, lanes: usize, batch: usize) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut bed = Bed::new(shards).await;
    bed.settings.lanes = lanes;
    bed.settings.batch_records = batch;
    // A batch of one record is no reason to write each by itself.
    bed.settings.flush_interval = Duration::from_millis(20);
    bed.settings.checkpoint_interval = Duration::from_millis(100);
    let filled = fill_unevenly(&bed).await;
    assert_eq!(filled.len(), shards as usize);
    assert!(filled.iter().all(|events| *events > 0) && filled.iter().any(|events| *events > 500));
    let outcome = bed.catch_up(all(&bed)).await.unwrap();
    assert!(outcome.caught_up && outcome.stops.is_empty(), "{:?}", outcome.stops);
    documents(&bed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_lanes_and_batches_do_not_change_a_document() {
    let mut expected = None;
    for shards in [1, 4, 16] {
        let (one, two, three, four) = tokio::join!(
            made_by(shards, 1, 1),
            made_by(shards, 1, 500),
            made_by(shards, 8, 1),
            made_by(shards, 8, 500),
        );
        for (number, documents) in [one, two, three, four].into_iter().enumerate() {
            let expected = expected.get_or_insert_with(|| documents.clone());
            assert!(documents == *expected, "the documents of number {number} of {shards} shards");
        }
    }
    assert_eq!(expected.unwrap()["feed"]["feed"].matches('#').count(), 624);
}
