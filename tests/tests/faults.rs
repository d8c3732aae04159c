//! Bad input, and what it stops: that projection in that shard, and no other.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{collections::BTreeSet, num::NonZeroUsize};

use foldstream_local::LogOptions;
use foldstream_model::{DocumentKey, Ordering, ProjectionId, Timestamp, ports::Table};
use foldstream_runtime::{
    assembly::SourceSpec,
    control::{Actor, Controls},
    lanes::lane_of,
    report::{Phase, WorkerReport},
    rows::{REPORTS, Rows},
};
use foldstream_tests::{bed::Bed, crashing::gated, projectors::Kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_stops_one_projection_in_one_shard_and_no_other() {
    poison_stops(Kind::CollectPositive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_projector_is_poison_and_not_the_end_of_the_worker() {
    poison_stops(Kind::PanicOnNegative).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_poison_of_a_document_in_its_batch_is_written_and_awaited() {
    let mut bed = Bed::new(1).await;
    // Each document is a write, and the poison has a lane to itself.
    bed.settings.flush_documents = 1;
    bed.settings.lanes = 2;
    let lane = |stream: &String| lane_of(&DocumentKey::new(stream.clone()), NonZeroUsize::new(2).unwrap());
    let before: Vec<String> =
        (0..).map(|stream| format!("s-{stream}")).filter(|stream| lane(stream) == 0).take(100).collect();
    let odd = (0..).map(|stream| format!("odd-{stream}")).find(|stream| lane(stream) == 1).unwrap();
    for stream in &before {
        bed.put(stream, 1, 1).await;
    }
    for sequence in 1..4 {
        bed.put(&odd, sequence, -1).await;
    }
    let positive = || vec![bed.projection("positive", Ordering::PerStream, Kind::CollectPositive)];
    let outcome = bed.catch_up(positive()).await.unwrap();
    assert_eq!(outcome.stops[0].stop.place.position.to_string(), "101");
    let documents = bed.documents("positive").await;
    assert_eq!(documents.into_keys().collect::<BTreeSet<_>>(), before.into_iter().collect());
}

async fn poison_stops(kind: Kind) {
    let bed = Bed::new(4).await;
    for stream in 0..20 {
        bed.append(&format!("s-{stream}"), &[1, 2, 3]).await;
    }
    bed.append("s-7", &[-1, 5]).await;
    bed.relay().await;
    let projections = vec![
        bed.projection("positive", Ordering::PerStream, kind),
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
    ];
    let outcome = bed.catch_up(projections.clone()).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    let stop = &outcome.stops[0];
    assert_eq!(stop.projection.name.as_str(), "positive");
    assert!(stop.stop.to_string().starts_with("stream=s-7 sequence=4 type=Added"), "{}", stop.stop);
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
        while bed.documents("collect").await.get("a").map(String::as_str) != Some(r#"{"sequences":[1,2,3]}"#)
        {
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
    let (outcome, ()) =
        tokio::time::timeout(std::time::Duration::from_secs(120), async { tokio::join!(run, fill) })
            .await
            .expect("caught up");
    let outcome = outcome.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let expected =
        format!("{{\"sequences\":[{}]}}", (1..=12).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let documents = bed.documents("collect").await;
    assert_eq!(documents.len(), 15);
    assert!(documents.values().all(|document| *document == expected), "{documents:?}");
    assert_eq!(bed.documents("feed").await["feed"].matches('#').count(), 180);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_hangs_does_not_hold_up_the_other_projections() {
    let mut bed = Bed::new(1).await;
    bed.settings.patience = std::time::Duration::from_millis(50);
    bed.settings.read_ahead_bytes = 20_000;
    bed.settings.batch_records = 20;
    for stream in 0..10 {
        bed.append(&format!("s-{stream}"), &[1; 50]).await;
    }
    bed.relay().await;
    let (gate, slow) = gated(bed.projection("slow", Ordering::PerStream, Kind::Collect));
    let quick = bed.projection("quick", Ordering::PerStream, Kind::Collect);
    let (_complete, complete) = tokio::sync::watch::channel(true);
    let worker = bed.worker(vec![bed.source()], vec![slow, quick]);
    let until = foldstream_runtime::worker::Until::CaughtUp(complete);
    let run = worker.run(until, tokio_util::sync::CancellationToken::new());
    let watch = async {
        loop {
            let documents = bed.documents("quick").await;
            if documents.len() == 10 && documents.values().all(|document| document.ends_with(",50]}")) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(bed.documents("slow").await.is_empty());
        gate.send_replace(true);
    };
    let both = async { tokio::join!(run, watch) };
    let (outcome, ()) =
        tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("in time");
    outcome.unwrap();
    assert_eq!(bed.documents("slow").await, bed.documents("quick").await);
    assert!(bed.counted.most().0 <= 2, "{:?}", bed.counted.most());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_has_ended_waits_for_a_projection_that_was_paused_or_did_not_exist() {
    let bed = Bed::new(1).await;
    let collect = |name: &str| bed.projection(name, Ordering::PerStream, Kind::Collect);
    bed.append("a", &[1, 1]).await;
    bed.relay().await;
    bed.catch_up(vec![collect("live"), collect("paused")]).await.unwrap();
    let controls = Controls::new(Rows::new(bed.store.checkpoints()));
    let actor = Actor { who: "tester".into(), reason: None, at: Timestamp::EPOCH };
    controls.set_paused(&ProjectionId::new("paused", 1), true, &actor).await.unwrap();
    bed.append("a", &[1, 1]).await;
    bed.relay().await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    bed.append("a", &[1, 1]).await;
    bed.relay().await;
    bed.catch_up(vec![collect("live"), collect("paused")]).await.unwrap();
    assert_eq!(bed.documents("paused").await["a"], r#"{"sequences":[1,2]}"#);
    controls.set_paused(&ProjectionId::new("paused", 1), false, &actor).await.unwrap();
    bed.catch_up(vec![collect("live"), collect("paused"), collect("new")]).await.unwrap();
    for name in ["live", "paused", "new"] {
        assert_eq!(bed.documents(name).await["a"], r#"{"sequences":[1,2,3,4,5,6]}"#, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_odd_input_that_is_valid_comes_through_exactly() {
    let bed = Bed::new(2).await;
    let hostile =
        ["a/b", "\u{0}nul", "quote\"'", "\u{202e}rtl", "new\nline", "", " ", "日本", "%00", "a\u{1f}b"];
    for stream in hostile.iter().filter(|stream| !stream.is_empty()) {
        bed.append(stream, &[1]).await;
    }
    bed.relay().await;
    // All 38 digits that a number may have: in front of the point, behind it, and negative.
    let numbers = [
        ("whole", "99999999999999999999999999999999999999"),
        ("digits", "12345678901234567890123456789012345678"),
        ("fraction", "-1234567890123456789.0123456789012345678"),
    ];
    let record = |stream: &str, payload: &str| {
        format!(
            r#"{{"stream_id":"{stream}","sequence":1,"id":"{stream}","type":"Added","recorded_at":"2026-01-01T00:00:00Z","payload":{payload}}}"#
        )
    };
    let large = format!(r#"{{"n":1,"text":"{}"}}"#, "x".repeat(1 << 20));
    bed.put_raw("large", record("large", &large).as_bytes()).await;
    for (stream, number) in numbers {
        bed.put_raw(stream, record(stream, &format!(r#"{{"n":{number}}}"#)).as_bytes()).await;
    }
    let projections = vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("last", Ordering::PerStream, Kind::Last),
    ];
    let outcome = bed.catch_up(projections).await.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    let documents = bed.documents("collect").await;
    for stream in hostile.iter().filter(|stream| !stream.is_empty()).chain(&["large"]) {
        assert_eq!(documents.get(*stream).map(String::as_str), Some(r#"{"sequences":[1]}"#), "{stream:?}");
    }
    let last = bed.documents("last").await;
    for (stream, number) in numbers {
        assert_eq!(last[stream], format!(r#"{{"last":{number}}}"#));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_is_too_deep_is_poison() {
    let payload = format!(r#"{{"n":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let bed = Bed::new(1).await;
    let record = format!(
        r#"{{"stream_id":"s","sequence":1,"id":"s","type":"Added","recorded_at":"2026-01-01T00:00:00Z","payload":{payload}}}"#
    );
    bed.put_raw("s", record.as_bytes()).await;
    bed.put("t", 1, 1).await;
    let outcome =
        bed.catch_up(vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    assert!(bed.documents("collect").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_nobody_handles_are_left_out_and_do_not_break_a_stream() {
    let bed = Bed::new(1).await;
    bed.put("s", 1, 1).await;
    bed.put_raw("s", br#"{"stream_id":"s","sequence":2,"id":"x","type":"Unheard","recorded_at":"2026-01-01T00:00:00Z","payload":"not even an object"}"#).await;
    bed.put("s", 3, 1).await;
    let outcome =
        bed.catch_up(vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.gaps.is_empty());
    assert_eq!(bed.documents("collect").await["s"], r#"{"sequences":[1,3]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_stops_a_global_projection_in_all_shards_and_no_other() {
    let bed = Bed::new(4).await;
    for stream in 0..20 {
        bed.append(&format!("s-{stream}"), &[1, 2]).await;
    }
    bed.append("s-7", &[-1]).await;
    bed.relay().await;
    let specs = || {
        let feed = bed.projection("feed", Ordering::Global, Kind::CollectPositive);
        vec![feed, bed.projection("collect", Ordering::PerStream, Kind::Collect)]
    };
    let worker = bed.worker(vec![bed.source()], specs());
    let stop = tokio_util::sync::CancellationToken::new();
    let see = async {
        bed.is_said_to_be("feed", Phase::Stopped).await;
        for stream in 0..20 {
            bed.append(&format!("s-{stream}"), &[3]).await;
        }
        bed.relay().await;
        while !bed.documents("collect").await.values().all(|document| document.contains(",3")) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        bed.is_said_to_be("collect", Phase::Live).await;
        bed.is_said_to_be("feed", Phase::Stopped).await;
        stop.cancel();
    };
    let run = worker.run(foldstream_runtime::worker::Until::Stopped, stop.clone());
    let both = async { tokio::join!(run, see) };
    let (outcome, ()) =
        tokio::time::timeout(std::time::Duration::from_secs(30), both).await.expect("in time");
    let again = bed.catch_up(specs()).await.unwrap();
    assert!(again.caught_up);
    for outcome in [outcome.unwrap(), again] {
        assert_eq!(outcome.stops.len(), 1, "{:?}", outcome.stops);
        assert_eq!(outcome.stops[0].projection.name.as_str(), "feed");
        assert!(outcome.stops[0].stop.reason.contains("in all shards"), "{}", outcome.stops[0].stop.reason);
    }
    assert_eq!(bed.documents("feed").await["s-7"], r#"{"sequences":[1,2]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_fails_says_once_where_and_that_it_has_ended() {
    let bed = Bed::new(1).await;
    bed.append("s", &[1]).await;
    bed.relay().await;
    let projections = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    bed.catch_up(projections()).await.unwrap();
    let options = LogOptions { shards: 1, retention: None, recorded_in_order: true };
    let other = bed.store.log("other", options).await.unwrap();
    let source = SourceSpec { source: other.source(), ..bed.source() };
    let failed = bed.catch_up_from(source, projections()).await.unwrap_err();
    assert!(failed.message().starts_with("source events: the source was deleted"), "{failed}");
    let reports = Rows::new(bed.store.checkpoints()).all::<WorkerReport>(Table::Reports, REPORTS).await;
    let ended: Vec<_> = reports.unwrap().iter().map(|(_, report)| report.body.ended).collect();
    assert_eq!(ended, [true]);
}
