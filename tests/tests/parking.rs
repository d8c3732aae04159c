//! Documents that cannot take an event are parked, and the others go on; redriven, they are as if nothing had been wrong.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    DocumentKey, Epoch, Lot, OnFailure, Ordering, ParkedEvent, ShardId, Timestamp,
    ports::{ParkingLot, Source, Table},
};
use foldstream_runtime::{
    assembly::ProjectionSpec,
    control::{Actor, RewindTo},
    redriving::{Pace, Redriver},
    rows::{Discard, DiscardRow, Rows},
    worker::Until,
};
use foldstream_tests::{
    bed::Bed,
    projectors::{Kind, Toy},
};
use tokio_util::sync::CancellationToken;

const NAME: &str = "collect";

fn spec(bed: &Bed, ordering: Ordering, kind: Kind, on_failure: OnFailure) -> ProjectionSpec {
    ProjectionSpec { on_failure, ..bed.projection(NAME, ordering, kind) }
}

/// The same projection, that can take what it could not.
fn mended(bed: &Bed, ordering: Ordering, kind: Kind) -> Redriver {
    redriver(bed, ProjectionSpec { projector: Toy::new(kind), ..bed.projection(NAME, ordering, kind) })
}

fn redriver(bed: &Bed, spec: ProjectionSpec) -> Redriver {
    Redriver::new(&bed.source(), spec, Epoch::default(), &bed.services(), Pace::default())
}

fn lot() -> Lot {
    Lot::of_documents(&foldstream_model::ProjectionId::new(NAME, 1), Epoch::default())
}

async fn parked(bed: &Bed) -> Vec<ParkedEvent> {
    bed.store.parking().list(&lot(), None, None, 1_000).await.unwrap().events
}

fn sequences(of: &[(&str, &[u64])]) -> BTreeMap<String, String> {
    let text = |of: &[u64]| of.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    of.iter().map(|(key, of)| ((*key).to_owned(), format!("{{\"sequences\":[{}]}}", text(of)))).collect()
}

fn key(text: &str) -> DocumentKey {
    DocumentKey::new(text)
}

async fn appended(shards: u32) -> Bed {
    let bed = Bed::new(shards).await;
    bed.append("a", &[1, -2, 3]).await;
    bed.append("b", &[1, 2]).await;
    bed.append("c", &[-1]).await;
    bed.append("a", &[-4, 5]).await;
    bed.relay().await;
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_an_event_that_cannot_be_taken_waits_and_all_else_goes_on() {
    for ordering in [Ordering::PerStream, Ordering::Commutative, Ordering::Global] {
        for kind in [Kind::CollectPositive, Kind::PanicOnNegative] {
            let bed = appended(2).await;
            let spec = || spec(&bed, ordering, kind, OnFailure::Park);
            let outcome = bed.catch_up(vec![spec()]).await.unwrap();
            assert!(outcome.caught_up && outcome.stops.is_empty(), "{ordering:?} {outcome:?}");
            assert_eq!(outcome.parked.into_values().collect::<Vec<_>>(), [5]);
            assert_eq!(bed.documents(NAME).await, sequences(&[("a", &[1]), ("b", &[1, 2])]), "{ordering:?}");
            let found = parked(&bed).await;
            let error = found[0].error.as_deref().unwrap();
            assert!(error.contains("n is negative"), "{error}");
            assert!(found[1].error.is_none(), "it only stands behind");

            let again = bed.catch_up(vec![spec()]).await.unwrap();
            assert!(again.stops.is_empty());
            let refused = redriver(&bed, spec()).redrive(&key("a")).await.unwrap();
            assert_eq!(refused.done, 0);
            assert!(refused.refused.unwrap().1.message().contains("n is negative"));

            let mended = mended(&bed, ordering, Kind::Collect);
            for (document, events) in [("a", 4), ("c", 1)] {
                let ended = mended.redrive(&key(document)).await.unwrap();
                assert!(ended.done == events && ended.refused.is_none(), "{ordering:?} {ended:?}");
            }
            assert_eq!(parked(&bed).await, []);
            bed.append("a", &[6]).await;
            bed.relay().await;
            assert!(bed.catch_up(vec![spec()]).await.unwrap().parked.is_empty());
            let expected = sequences(&[("a", &[1, 2, 3, 4, 5, 6]), ("b", &[1, 2]), ("c", &[1])]);
            assert_eq!(bed.documents(NAME).await, expected, "{ordering:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discarded_event_is_left_out_and_on_record() {
    let bed = appended(1).await;
    let outcome =
        bed.catch_up(vec![spec(&bed, Ordering::PerStream, Kind::CollectPositive, OnFailure::Discard)]).await;
    let outcome = outcome.unwrap();
    assert!(outcome.stops.is_empty() && outcome.parked.is_empty(), "{outcome:?}");
    assert_eq!(bed.documents(NAME).await, sequences(&[("a", &[1, 3, 5]), ("b", &[1, 2])]));
    let rows = Rows::new(bed.store.checkpoints());
    let rows = rows.all::<DiscardRow>(Table::Discarded, &lot().row_name()).await.unwrap();
    let found: Vec<_> =
        rows.iter().map(|(_, row)| (row.body.event.document.as_str(), &*row.body.who)).collect();
    assert_eq!(
        found,
        [("a", "on_failure: discard"), ("a", "on_failure: discard"), ("c", "on_failure: discard")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_leave_out_one_and_redrive_the_rest() {
    let bed = appended(1).await;
    let spec = || spec(&bed, Ordering::PerStream, Kind::CollectPositive, OnFailure::Park);
    bed.catch_up(vec![spec()]).await.unwrap();
    let negative: Vec<_> = parked(&bed).await;
    let negative: Vec<_> = negative
        .into_iter()
        .filter(|parked| parked.document.as_str() == "a" && parked.event.contains("\"n\":-"))
        .collect();
    assert_eq!(negative.len(), 2);
    let actor = Actor { who: "me".to_owned(), reason: Some("wrong".to_owned()), at: Timestamp::EPOCH };
    let redriver = redriver(&bed, spec());
    let ended = redriver.discard(&key("a"), &negative, &actor).await.unwrap();
    assert_eq!(ended.discarded, 2);
    assert_eq!(ended.gone, 1, "the other stands behind one that is not discarded");
    assert_eq!(bed.documents(NAME).await["a"], "{\"sequences\":[1]}", "nothing is applied by it");
    assert_eq!(redriver.redrive(&key("a")).await.unwrap().done, 3);
    assert_eq!(bed.documents(NAME).await["a"], "{\"sequences\":[1,3,5]}");
    bed.append("a", &[6]).await;
    bed.relay().await;
    bed.catch_up(vec![spec()]).await.unwrap();
    assert_eq!(bed.documents(NAME).await["a"], "{\"sequences\":[1,3,5,6]}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discard_that_comes_after_the_redrive_says_so_and_changes_nothing() {
    let bed = appended(1).await;
    bed.catch_up(vec![spec(&bed, Ordering::PerStream, Kind::CollectPositive, OnFailure::Park)])
        .await
        .unwrap();
    let listed: Vec<_> =
        parked(&bed).await.into_iter().filter(|parked| parked.document == key("a")).collect();
    let mended = mended(&bed, Ordering::PerStream, Kind::Collect);
    mended.redrive(&key("a")).await.unwrap();
    let actor = Actor { who: "me".to_owned(), reason: Some("wrong".to_owned()), at: Timestamp::EPOCH };
    let ended = mended.discard(&key("a"), &listed, &actor).await.unwrap();
    assert_eq!((ended.discarded, ended.gone), (0, 0));
    assert_eq!(bed.documents(NAME).await["a"], "{\"sequences\":[1,2,3,4,5]}");
    let rows = Rows::new(bed.store.checkpoints());
    let rows = rows.all::<DiscardRow>(Table::Discarded, &lot().row_name()).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|(_, row)| row.body.discard == Discard::TooLate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_limit_the_projection_stops_and_says_so() {
    let mut bed = appended(1).await;
    bed.settings.parked_events = 3;
    let spec = || spec(&bed, Ordering::PerStream, Kind::CollectPositive, OnFailure::Park);
    let outcome = bed.catch_up(vec![spec()]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    let reason = &outcome.stops[0].stop.reason;
    assert!(reason.contains("limit=3") && reason.contains("limits.parked_events"), "{reason}");
    assert!(parked(&bed).await.len() <= 3);
    let mended = mended(&bed, Ordering::PerStream, Kind::Collect);
    for document in ["a", "c"] {
        mended.redrive(&key(document)).await.unwrap();
    }
    let whole = ProjectionSpec { projector: Toy::new(Kind::Collect), ..spec() };
    let outcome = bed.catch_up(vec![whole]).await.unwrap();
    assert!(outcome.stops.is_empty(), "{outcome:?}");
    mended.redrive(&key("a")).await.unwrap();
    let expected = sequences(&[("a", &[1, 2, 3, 4, 5]), ("b", &[1, 2]), ("c", &[1])]);
    assert_eq!(bed.documents(NAME).await, expected);
}

/// A document is marked before its events are parked: were there room for none of them, no redrive would find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_with_more_events_than_may_be_parked_is_redriven_part_by_part() {
    for ordering in [Ordering::PerStream, Ordering::Global] {
        let mut bed = appended(1).await;
        bed.settings.parked_events = 1;
        let spec = || spec(&bed, ordering, Kind::CollectPositive, OnFailure::Park);
        let mended = mended(&bed, ordering, Kind::Collect);
        let mut rounds = 0;
        while !bed.catch_up(vec![spec()]).await.unwrap().stops.is_empty() {
            let waiting = parked(&bed).await;
            assert_eq!(waiting.len(), 1, "round={rounds}");
            mended.redrive(&waiting[0].document).await.unwrap();
            rounds += 1;
            assert!(rounds < 10);
        }
        for parked in parked(&bed).await {
            mended.redrive(&parked.document).await.unwrap();
        }
        let expected = sequences(&[("a", &[1, 2, 3, 4, 5]), ("b", &[1, 2]), ("c", &[1])]);
        assert_eq!(bed.documents(NAME).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_lot_already_needs_no_room_there() {
    for ordering in [Ordering::PerStream, Ordering::Commutative, Ordering::Global] {
        let mut bed = appended(1).await;
        bed.settings.parked_events = 5;
        let spec = || spec(&bed, ordering, Kind::CollectPositive, OnFailure::Park);
        for _ in 0..2 {
            let outcome = bed.catch_up(vec![spec()]).await.unwrap();
            assert!(outcome.stops.is_empty(), "{ordering:?} {outcome:?}");
            assert_eq!(parked(&bed).await.len(), 5);
            bed.rewind(NAME, &RewindTo::Beginning, false).await.unwrap();
        }
    }
}

/// Events of a document wait in a shard that ends meanwhile: the document must not take all of that shard as covered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_has_ended_does_not_hide_what_waits_from_it() {
    let bed = appended(1).await;
    let spec = || spec(&bed, Ordering::Commutative, Kind::CollectPositive, OnFailure::Park);
    bed.catch_up(vec![spec()]).await.unwrap();
    let shard: ShardId = bed.log.source().shards().await.unwrap()[0].id.clone();
    bed.log.split(&shard, 1 << 127).await.unwrap();
    bed.append("a", &[6]).await;
    bed.append("b", &[3]).await;
    bed.relay().await;
    bed.catch_up(vec![spec()]).await.unwrap();
    let mended = mended(&bed, Ordering::Commutative, Kind::Collect);
    for document in ["a", "c"] {
        mended.redrive(&key(document)).await.unwrap();
    }
    bed.append("a", &[7]).await;
    bed.relay().await;
    bed.catch_up(vec![spec()]).await.unwrap();
    let expected = sequences(&[("a", &[1, 2, 3, 4, 5, 6, 7]), ("b", &[1, 2, 3]), ("c", &[1])]);
    assert_eq!(bed.documents(NAME).await, expected);
}

/// Redrives and a worker at once, with events that come all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_goes_on_while_events_arrive_and_two_do_it() {
    let bed = Arc::new(appended(1).await);
    let spec = ProjectionSpec {
        on_failure: OnFailure::Park,
        ..bed.projection(NAME, Ordering::PerStream, Kind::CollectPositive)
    };
    bed.catch_up(vec![spec.clone()]).await.unwrap();
    let worker = bed.worker(vec![bed.source()], vec![spec]);
    let stop = CancellationToken::new();
    let feed = async {
        for n in 6..30 {
            bed.append("a", &[n]).await;
            bed.relay().await;
        }
    };
    let redrive = || async {
        let mended = mended(&bed, Ordering::PerStream, Kind::Collect);
        loop {
            mended.redrive(&key("a")).await.unwrap();
            let document = bed.documents(NAME).await.remove("a").unwrap();
            if document.matches(',').count() == 28 {
                stop.cancel();
                return document;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (outcome, (), once, again) =
        tokio::join!(worker.run(Until::Stopped, stop.clone()), feed, redrive(), redrive());
    assert!(outcome.unwrap().stops.is_empty());
    let expected = &sequences(&[("a", &(1..30).collect::<Vec<_>>())])["a"];
    assert_eq!((&once, &again), (expected, expected));
    let whole: Vec<_> = parked(&bed).await.into_iter().filter(|parked| parked.document == key("a")).collect();
    assert_eq!(whole, []);
}
