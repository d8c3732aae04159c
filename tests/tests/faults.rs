//! Bad input, and what it stops: that projection in that shard, and no other.

use std::sync::Arc;

use foldstream_model::Ordering;
use foldstream_tests::{bed::Bed, projectors::Kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_stops_one_projection_in_one_shard_and_no_other() {
    let bed = Bed::new(4).await;
    for stream in 0..20 {
        bed.append(&format!("s-{stream}"), &[1, 2, 3]).await;
    }
    bed.append("s-7", &[-1, 5]).await;
    bed.relay().await;
    let projections = vec![
        bed.projection("positive", Ordering::PerStream, Kind::CollectPositive),
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
    ];
    let outcome = bed.catch_up(projections.clone()).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    let stop = &outcome.stops[0];
    assert_eq!(stop.projection.name.as_str(), "positive");
    assert!(stop.stop.reason.contains("stream=s-7 sequence=4"), "{}", stop.stop.reason);
    assert_eq!(bed.documents("collect").await["s-7"], r#"{"sequences":[1,2,3,4,5]}"#);
    let positive = bed.documents("positive").await;
    assert_eq!(positive["s-7"], r#"{"sequences":[1,2,3]}"#);
    // It meets the poison again, and nothing that follows it is applied.
    let again = bed.catch_up(projections).await.unwrap();
    assert_eq!(again.stops.len(), 1);
    assert_eq!(bed.documents("positive").await, positive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_waits_while_other_streams_go_on_and_is_released_when_the_event_comes() {
    let bed = Bed::new(1).await;
    let mut source = bed.source();
    source.events = None;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    for (stream, sequence) in [("a", 1), ("a", 3), ("b", 1), ("a", 4), ("b", 2)] {
        bed.put(stream, sequence, 1).await;
    }
    let outcome = bed.catch_up_from(source.clone(), collect()).await.unwrap();
    assert_eq!(outcome.gaps.values().sum::<usize>(), 1);
    let documents = bed.documents("collect").await;
    assert_eq!((&*documents["a"], &*documents["b"]), (r#"{"sequences":[1]}"#, r#"{"sequences":[1,2]}"#));
    bed.put("a", 2, 1).await;
    let outcome = bed.catch_up_from(source, collect()).await.unwrap();
    assert!(outcome.gaps.is_empty());
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3,4]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_from_the_event_store_and_the_late_record_is_a_duplicate() {
    let bed = Bed::new(1).await;
    // The store has the stream whole; the transport lost its second event.
    bed.append("a", &[1, 1, 1]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 3, 1).await;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    let worker = bed.worker(vec![bed.source()], collect());
    let stop = tokio_util::sync::CancellationToken::new();
    let until = foldstream_runtime::worker::Until::Stopped;
    let run = worker.run(until, stop.clone());
    let see = async {
        while bed.documents("collect").await.get("a").map(String::as_str) != Some(r#"{"sequences":[1,2,3]}"#) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(run, see);
    outcome.unwrap();
    bed.put("a", 2, 1).await;
    bed.put("a", 4, 1).await;
    bed.catch_up(collect()).await.unwrap();
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3,4]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_sequence_with_another_payload_is_loud() {
    let bed = Bed::new(1).await;
    bed.append("a", &[1, 2]).await;
    bed.relay().await;
    bed.put("a", 2, 99).await;
    let outcome =
        bed.catch_up(vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    assert!(outcome.stops[0].stop.reason.contains("fork"), "{}", outcome.stops[0].stop.reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_of_the_transport_change_nothing() {
    let bed = Bed::new(2).await;
    for _ in 0..3 {
        for sequence in [1, 2, 2, 1, 3] {
            bed.put("a", sequence, 5).await;
        }
    }
    let mut source = bed.source();
    source.events = None;
    let projections = vec![bed.projection("sum", Ordering::Commutative, Kind::Sum)];
    let outcome = bed.catch_up_from(source, projections).await.unwrap();
    assert!(outcome.stops.is_empty());
    let documents = bed.documents("sum").await;
    assert_eq!(documents.values().next().map(String::as_str), Some(r#"{"events":3,"sum":15}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_records_stop_and_name_their_place() {
    for bad in [
        &b"not json"[..],
        br#"{"stream_id":"a"}"#,
        b"{\"stream_id\":\"\xff\",\"sequence\":1,\"id\":\"x\",\"type\":\"Added\",\"recorded_at\":\"2026-01-01T00:00:00Z\"}",
        br#"{"stream_id":"a","sequence":0,"id":"x","type":"Added","recorded_at":"2026-01-01T00:00:00Z","payload":{"n":1}}"#,
        br#"{"stream_id":"a","sequence":1,"id":"x","type":"Added","recorded_at":"2026-01-01T00:00:00Z","payload":{"n":1,"n":2}}"#,
    ] {
        let bed = Bed::new(1).await;
        bed.put("b", 1, 1).await;
        bed.put_raw("a", bad).await;
        bed.put("b", 2, 1).await;
        let outcome =
            bed.catch_up(vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]).await.unwrap();
        assert_eq!(outcome.stops.len(), 1, "{}", String::from_utf8_lossy(bad));
        assert_eq!(outcome.stops[0].stop.place.position.to_string(), "2");
        assert_eq!(bed.documents("collect").await["b"], r#"{"sequences":[1]}"#);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn splits_and_merges_while_reading_keep_every_stream_in_order() {
    let bed = Bed::new(1).await;
    let projections = vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::Sum),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ];
    let (complete, watched) = tokio::sync::watch::channel(false);
    let worker = bed.worker(vec![bed.source()], projections);
    let until = foldstream_runtime::worker::Until::CaughtUp(watched);
    let run = worker.run(until, tokio_util::sync::CancellationToken::new());
    let fill = async {
        let mut shards = bed.log.describe().await.unwrap().shards;
        for round in 0..6 {
            for stream in 0..15 {
                bed.append(&format!("s-{stream}"), &[round, 1]).await;
            }
            bed.relay().await;
            let last = shards.last().unwrap().clone();
            match round {
                0 => drop(bed.log.split(&last.id, u128::MAX / 2).await.unwrap()),
                2 => drop(bed.log.merge(&shards[1].id, &shards[2].id).await.unwrap()),
                3 => drop(bed.log.split(&last.id, u128::MAX / 5).await.unwrap()),
                _ => {}
            }
            shards = bed.log.describe().await.unwrap().shards;
        }
        complete.send_replace(true);
    };
    let (outcome, ()) = tokio::time::timeout(std::time::Duration::from_secs(120), async { tokio::join!(run, fill) })
        .await
        .expect("caught up");
    let outcome = outcome.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let expected = format!("{{\"sequences\":[{}]}}", (1..=12).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let documents = bed.documents("collect").await;
    assert_eq!(documents.len(), 15);
    assert!(documents.values().all(|document| *document == expected), "{documents:?}");
    assert_eq!(bed.documents("feed").await["feed"].matches('#').count(), 180);
    let _ = Arc::new(bed);
}
