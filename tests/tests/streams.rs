//! Streams are parked of which an event cannot be folded, or whose documents cannot be told; they come back as if nothing
//! had been wrong.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Document, DocumentKey, Epoch, Error, Event, EventType, Fingerprint, LeftOut, Lot, OnFailure, Ordering,
    ParkedEvent, ParkedStream, ProjectionId, Result, Sequence, ShardId, Timestamp, Value,
    ports::{ParkingLot, Projector, Reads, Reducer, Source, StateCarried, Table, Touch},
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec},
    control::{Actor, Controls, RewindTo},
    deciding::{Decider, open_gaps},
    report::Phase,
    rows::Rows,
    worker::Until,
};
use foldstream_tests::{
    around::{Aspect, Call},
    bed::Bed,
    projectors::{Kind, Totals, Toy, number, push, total},
};
use tokio_util::sync::CancellationToken;

const NAME: &str = "sums";

/// What refuses events with a negative `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Nobody,
    /// It says of no such event which documents it touches.
    Projector,
    Reducer,
}

const BOTH: [Refuses; 2] = [Refuses::Projector, Refuses::Reducer];

struct Careful<T: ?Sized> {
    inner: Arc<T>,
    refuses: bool,
}

impl<T: ?Sized> Careful<T> {
    fn judge(&self, event: &Event) -> Result<()> {
        match self.refuses && number(event)?.is_negative() {
            true => Err(Error::poison("n is negative")),
            false => Ok(()),
        }
    }
}

impl Projector for Careful<Toy> {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.inner.event_types()
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.inner.reads(event_type)
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        self.judge(&carried.event)?;
        self.inner.touch(carried, touches)
    }
}

impl Reducer for Careful<Totals> {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.inner.event_types()
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.inner.reads(event_type)
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        self.judge(event)?;
        self.inner.reduce(event, before)
    }
}

fn spec(bed: &Bed, ordering: Ordering, refuses: Refuses, on_failure: OnFailure) -> ProjectionSpec {
    let kind = if ordering == Ordering::PerStream { Kind::Collect } else { Kind::SumOfStates };
    named(bed, NAME, ordering, kind, refuses, on_failure)
}

fn named(
    bed: &Bed,
    name: &str,
    ordering: Ordering,
    kind: Kind,
    refuses: Refuses,
    on_failure: OnFailure,
) -> ProjectionSpec {
    let reducer = Careful { inner: Totals::new(), refuses: refuses == Refuses::Reducer };
    ProjectionSpec {
        on_failure,
        projector: Arc::new(Careful { inner: Toy::new(kind), refuses: refuses == Refuses::Projector }),
        reducer: Some(NamedReducer { name: format!("totals of {name}").into(), reducer: Arc::new(reducer) }),
        ..bed.projection(name, ordering, kind)
    }
}

fn lot(name: &str) -> Lot {
    Lot::of_streams(&ProjectionId::new(name, 1), Epoch::default())
}

async fn waiting(bed: &Bed) -> Vec<ParkedEvent> {
    bed.store.parking().list(&lot(NAME), None, None, 1_000).await.unwrap().events
}

async fn parked(bed: &Bed) -> Vec<ParkedStream> {
    let mut parked = Rows::new(bed.store.checkpoints()).parked_streams(&lot(NAME)).await.unwrap();
    parked.retain(|parked| parked.until.is_none());
    parked
}

fn decider(bed: &Bed) -> Decider {
    Decider::new(bed.source(), bed.services())
}

async fn redrive_all(bed: &Bed) {
    for parked in parked(bed).await {
        decider(bed).let_back(&lot(NAME), &parked, None).await.unwrap();
    }
}

/// What a worker makes of the same events that never met anything wrong.
async fn expected(bed: &Bed, ordering: Ordering) -> BTreeMap<String, String> {
    let kind = if ordering == Ordering::PerStream { Kind::Collect } else { Kind::SumOfStates };
    let whole = named(bed, "whole", ordering, kind, Refuses::Nobody, OnFailure::Stop);
    assert!(bed.catch_up(vec![whole]).await.unwrap().stops.is_empty());
    bed.documents("whole").await
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
async fn a_stream_waits_from_an_event_that_cannot_be_taken_and_all_else_goes_on() {
    for ordering in [Ordering::PerStream, Ordering::Commutative] {
        for refuses in BOTH {
            let bed = appended(2).await;
            let refusing = || spec(&bed, ordering, refuses, OnFailure::Park);
            let outcome = bed.catch_up(vec![refusing()]).await.unwrap();
            assert!(outcome.caught_up && outcome.stops.is_empty(), "{ordering:?} {outcome:?}");
            assert_eq!(outcome.parked.into_values().collect::<Vec<_>>(), [5]);
            let found: BTreeMap<_, _> =
                parked(&bed).await.into_iter().map(|parked| (parked.stream.to_string(), parked)).collect();
            assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "c"]);
            assert_eq!(found["a"].sequence, Sequence(2));
            assert!(found["a"].error.contains("n is negative"), "{found:?}");

            bed.append("a", &[6]).await;
            bed.append("b", &[3]).await;
            bed.relay().await;
            bed.catch_up(vec![refusing()]).await.unwrap();
            assert_eq!(waiting(&bed).await.len(), 6, "what comes later waits, too");
            redrive_all(&bed).await;
            bed.catch_up(vec![refusing()]).await.unwrap();
            assert_eq!(waiting(&bed).await.len(), 6, "nothing is different yet");
            assert_eq!(parked(&bed).await.len(), 2);

            redrive_all(&bed).await;
            let mended = spec(&bed, ordering, Refuses::Nobody, OnFailure::Park);
            let outcome = bed.catch_up(vec![mended.clone()]).await.unwrap();
            assert!(outcome.stops.is_empty() && outcome.parked.is_empty(), "{outcome:?}");
            bed.append("a", &[7]).await;
            bed.relay().await;
            bed.catch_up(vec![mended]).await.unwrap();
            assert_eq!(parked(&bed).await, []);
            assert_eq!(bed.documents(NAME).await, expected(&bed, ordering).await, "{ordering:?} {refuses:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_discarded_is_left_out_of_the_states_that_follow() {
    for (refuses, batch_records) in BOTH.into_iter().flat_map(|refuses| [(refuses, 1), (refuses, 500)]) {
        let mut bed = appended(1).await;
        bed.settings.batch_records = batch_records;
        let refusing = || spec(&bed, Ordering::Commutative, refuses, OnFailure::Discard);
        let outcome = bed.catch_up(vec![refusing()]).await.unwrap();
        assert!(outcome.stops.is_empty() && outcome.parked.is_empty(), "{outcome:?}");
        bed.append("a", &[6]).await;
        bed.relay().await;
        bed.catch_up(vec![refusing()]).await.unwrap();
        let whole = Bed::new(1).await;
        whole.append("a", &[1, 3, 5, 6]).await;
        whole.append("b", &[1, 2]).await;
        whole.relay().await;
        assert_eq!(bed.documents(NAME).await, expected(&whole, Ordering::Commutative).await, "{refuses:?}");
        let left_out = Rows::new(bed.store.checkpoints()).left_out(&lot(NAME)).await.unwrap();
        assert_eq!(left_out.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_leaves_out_one_and_lets_the_rest_come_back() {
    for refuses in BOTH {
        let bed = appended(1).await;
        let refusing = || spec(&bed, Ordering::Commutative, refuses, OnFailure::Park);
        bed.catch_up(vec![refusing()]).await.unwrap();
        let found = parked(&bed).await;
        let a = found.iter().find(|parked| parked.stream.as_str() == "a").unwrap();
        let without = |sequences: &[u64]| LeftOut {
            sequences: sequences.iter().copied().map(Sequence).collect(),
            who: "me".to_owned(),
            reason: Some("wrong".to_owned()),
            at: Timestamp::EPOCH,
        };
        decider(&bed).let_back(&lot(NAME), a, Some(without(&[2]))).await.unwrap();
        bed.catch_up(vec![refusing()]).await.unwrap();
        let found = parked(&bed).await;
        let a = found.iter().find(|parked| parked.stream.as_str() == "a").unwrap();
        assert_eq!((a.sequence, waiting(&bed).await.len()), (Sequence(4), 3), "up to the next");
        decider(&bed).let_back(&lot(NAME), a, Some(without(&[4]))).await.unwrap();
        bed.append("a", &[6]).await;
        bed.relay().await;
        bed.catch_up(vec![refusing()]).await.unwrap();
        let whole = Bed::new(1).await;
        whole.append("a", &[1, 3, 5, 6]).await;
        whole.append("b", &[1, 2]).await;
        whole.relay().await;
        assert_eq!(bed.documents(NAME).await, expected(&whole, Ordering::Commutative).await, "{refuses:?}");
    }
}

/// A worker without the projection writes what is known at the parent's end; the projection begins the child from that and
/// must not forget what is parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_begins_with_what_is_parked_whoever_has_ended_its_parent() {
    let bed = appended(1).await;
    let other = || bed.projection("other", Ordering::PerStream, Kind::Collect);
    let refusing = || spec(&bed, Ordering::Commutative, Refuses::Reducer, OnFailure::Park);
    bed.catch_up(vec![refusing(), other()]).await.unwrap();
    let shard: ShardId = bed.log.source().shards().await.unwrap()[0].id.clone();
    bed.log.split(&shard, 1 << 127).await.unwrap();
    bed.append("a", &[6]).await;
    bed.append("c", &[7]).await;
    bed.append("b", &[3]).await;
    bed.relay().await;
    bed.catch_up(vec![other()]).await.unwrap();
    bed.catch_up(vec![refusing()]).await.unwrap();
    assert_eq!(waiting(&bed).await.len(), 7);
    comes_back_whole(&bed).await;
}

async fn comes_back_whole(bed: &Bed) {
    redrive_all(bed).await;
    let mended = spec(bed, Ordering::Commutative, Refuses::Nobody, OnFailure::Park);
    let outcome = bed.catch_up(vec![mended]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.parked.is_empty(), "{outcome:?}");
    assert_eq!(bed.documents(NAME).await, expected(bed, Ordering::Commutative).await);
}

/// Each parked stream comes back in the one child that takes its keys, and after a merge where both have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_comes_back_in_one_child_and_once() {
    let bed = appended(1).await;
    let refusing = || spec(&bed, Ordering::Commutative, Refuses::Reducer, OnFailure::Park);
    bed.catch_up(vec![refusing()]).await.unwrap();
    let shard: ShardId = bed.log.source().shards().await.unwrap()[0].id.clone();
    let children = bed.log.split(&shard, 1 << 127).await.unwrap();
    bed.append("a", &[6]).await;
    bed.append("c", &[7]).await;
    bed.relay().await;
    bed.catch_up(vec![refusing()]).await.unwrap();
    // Both are asked for twice, and once more behind the merge.
    redrive_all(&bed).await;
    redrive_all(&bed).await;
    let _ = children;
    comes_back_whole(&bed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_park_stops_there() {
    for ordering in [Ordering::PerStream, Ordering::Commutative, Ordering::Global] {
        let bed = appended(1).await;
        let stopping = spec(&bed, ordering, Refuses::Reducer, OnFailure::Stop);
        let outcome = bed.catch_up(vec![stopping]).await.unwrap();
        assert_eq!(outcome.stops.len(), 1, "{ordering:?}");
        assert!(outcome.stops[0].stop.to_string().contains("stream=a sequence=2"), "{outcome:?}");
        assert_eq!(waiting(&bed).await, []);
    }
}

/// A merge does not wait for what is parked: what comes back to a document that has gone on is late, on record, until a rebuild;
/// to any other it comes in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_to_a_merge_is_in_its_order_or_on_record_as_late() {
    let cases = [(Refuses::Reducer, [("a", 3), ("b", 2)], 2), (Refuses::Projector, [("b", 2), ("a", 3)], 0)];
    for (refuses, streams, late) in cases {
        let bed = Bed::new(1).await;
        for (stream, events) in streams {
            bed.append(stream, &[1, if stream == "a" { -2 } else { 2 }, 3][..events]).await;
        }
        bed.relay().await;
        let feed = |refuses| named(&bed, NAME, Ordering::Global, Kind::Feed, refuses, OnFailure::Park);
        let outcome = bed.catch_up(vec![feed(refuses)]).await.unwrap();
        assert!(outcome.stops.is_empty(), "{outcome:?}");
        assert_eq!((parked(&bed).await.len(), waiting(&bed).await.len()), (1, 2));
        assert_eq!(bed.documents(NAME).await["feed"].matches('#').count(), 3);
        redrive_all(&bed).await;
        bed.catch_up(vec![feed(refuses)]).await.unwrap();
        assert_eq!((parked(&bed).await.len(), waiting(&bed).await.len()), (1, 2), "nothing is different");

        redrive_all(&bed).await;
        let outcome = bed.catch_up(vec![feed(Refuses::Nobody)]).await.unwrap();
        assert!(outcome.stops.is_empty() && outcome.parked.is_empty(), "{outcome:?}");
        let rows = Rows::new(bed.store.checkpoints());
        let (id, epoch) = (ProjectionId::new(NAME, 1), Epoch::default());
        assert_eq!(rows.late(&id, epoch).await.unwrap(), late, "{streams:?}");
        let whole = named(&bed, "whole", Ordering::Global, Kind::Feed, Refuses::Nobody, OnFailure::Stop);
        bed.catch_up(vec![whole]).await.unwrap();
        let is_whole = bed.documents(NAME).await == bed.documents("whole").await;
        assert_eq!(is_whole, late == 0, "{streams:?}");
        bed.rewind(NAME, &RewindTo::Beginning, true).await.unwrap();
        bed.catch_up(vec![feed(Refuses::Nobody)]).await.unwrap();
        assert_eq!(bed.documents(NAME).await, bed.documents("whole").await, "a rebuild puts it right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_streams_count_against_the_limit() {
    let mut bed = appended(1).await;
    bed.settings.parked_events = 3;
    let refusing = || spec(&bed, Ordering::PerStream, Refuses::Projector, OnFailure::Park);
    let outcome = bed.catch_up(vec![refusing()]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "{outcome:?}");
    let reason = &outcome.stops[0].stop.reason;
    assert!(reason.contains("limit=3; raise `limits.parked_events`"), "{reason}");
    redrive_all(&bed).await;
    let outcome = bed.catch_up(vec![refusing()]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "it does not come to where they return: {outcome:?}");
    bed.settings.parked_events = 5;
    let refusing = || spec(&bed, Ordering::PerStream, Refuses::Projector, OnFailure::Park);
    assert!(bed.catch_up(vec![refusing()]).await.unwrap().stops.is_empty());
    assert_eq!(waiting(&bed).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_comes_back_though_that_takes_longer_than_the_patience() {
    let mut bed = appended(1).await;
    let refusing = spec(&bed, Ordering::PerStream, Refuses::Projector, OnFailure::Park);
    bed.catch_up(vec![refusing]).await.unwrap();
    redrive_all(&bed).await;
    bed.settings.patience = Duration::from_nanos(1);
    bed.catch_up(vec![spec(&bed, Ordering::PerStream, Refuses::Nobody, OnFailure::Park)]).await.unwrap();
    assert_eq!(parked(&bed).await, []);
    assert_eq!(bed.documents(NAME).await, expected(&bed, Ordering::PerStream).await);
}

/// A type that the projection neither handles nor knows parks its stream, whatever else is to become of failures; by the
/// definition that knows it the stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_at_a_type_that_nobody_knows() {
    let bed = Bed::new(1).await;
    let strange =
        br#"{"stream_id":"t","sequence":2,"id":"x","type":"Strange","recorded_at":"2026-01-01T00:00:00Z"}"#;
    bed.put("t", 1, 1).await;
    bed.put_raw("t", strange).await;
    for (stream, sequence) in [("t", 3), ("s", 1)] {
        bed.put(stream, sequence, 1).await;
    }
    let known = |types: &[&str]| ProjectionSpec {
        known_types: Some(types.iter().copied().map(EventType::new).collect()),
        ..bed.projection(NAME, Ordering::PerStream, Kind::Collect)
    };
    assert!(bed.catch_up(vec![known(&["Other"])]).await.unwrap().stops.is_empty());
    let found = parked(&bed).await;
    assert_eq!((found.len(), found[0].event_type.as_str(), waiting(&bed).await.len()), (1, "Strange", 2));
    redrive_all(&bed).await;
    bed.catch_up(vec![known(&["Other", "Strange"])]).await.unwrap();
    assert_eq!(parked(&bed).await, []);
    let documents = bed.documents(NAME).await;
    assert_eq!(documents["t"], r#"{"sequences":[1,3]}"#);
    assert_eq!(documents["s"], r#"{"sequences":[1]}"#);
}

/// Shows what the stream has come to at each event.
struct Shown(Arc<Toy>);

impl Projector for Shown {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.0.event_types()
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.0.reads(event_type)
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        let (total, stream) = (total(&carried.state)?, carried.event.stream_id.to_string());
        let change = move |document: &mut Option<Document>| {
            let fields = Arc::make_mut(&mut document.get_or_insert_with(Document::default).fields);
            push(fields, "totals", Value::Number(total.clone()));
            Ok(())
        };
        touches.push(Touch { key: DocumentKey::new(stream), change: Box::new(change) });
        Ok(())
    }
}

/// (t,2) is early; t is given up to 1; (t,1) arrives late, and the event store has it by now: no fold takes it.
/// Of a child nothing is saved before its first record, and its parent takes no decisions any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_in_a_parent_is_given_up_in_a_child_that_nothing_has_come_in() {
    let bed = Bed::new(1).await;
    let spec = || bed.projection(NAME, Ordering::PerStream, Kind::Collect);
    bed.put("t", 2, 20).await;
    bed.catch_up(vec![spec()]).await.unwrap();
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    assert_eq!(bed.catch_up(vec![spec()]).await.unwrap().gaps.values().sum::<usize>(), 1);
    let (rows, source) = (Rows::new(bed.store.checkpoints()), bed.source());
    let open = open_gaps(&rows, &source.name, Sequence(1), &|key| source.source.hash_key(key)).await.unwrap();
    assert_eq!(open.len(), 1, "in the child that takes its keys");
    assert_ne!(decider(&bed).give_up(&open[0]).await.unwrap(), shard);
    assert!(bed.catch_up(vec![spec()]).await.unwrap().gaps.is_empty());
    assert_eq!(bed.documents(NAME).await["t"], r#"{"sequences":[2]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_stays_out_of_every_fold() {
    let bed = Bed::new(1).await;
    let spec = || ProjectionSpec {
        projector: Arc::new(Shown(Toy::new(Kind::SumOfStates))),
        ..bed.projection(NAME, Ordering::PerStream, Kind::SumOfStates)
    };
    bed.put("s", 1, 1).await;
    bed.put("t", 2, 20).await;
    assert_eq!(bed.catch_up(vec![spec()]).await.unwrap().gaps.len(), 1);
    let rows = Rows::new(bed.store.checkpoints());
    let open = open_gaps(&rows, &bed.source().name, Sequence(1), &|key| bed.source().source.hash_key(key))
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].gap.stream.as_str(), open[0].gap.last_missing), ("t", Sequence(1)));
    decider(&bed).give_up(&open[0]).await.unwrap();
    assert!(bed.catch_up(vec![spec()]).await.unwrap().gaps.is_empty());
    assert_eq!(bed.documents(NAME).await["t"], r#"{"totals":[20]}"#);

    bed.append("t", &[100, 20, 3]).await;
    bed.put("t", 1, 100).await;
    bed.put("t", 3, 3).await;
    bed.catch_up(vec![spec()]).await.unwrap();
    assert_eq!(bed.documents(NAME).await["t"], r#"{"totals":[20,23]}"#);
    assert!(
        open_gaps(&rows, &bed.source().name, Sequence(1), &|key| bed.source().source.hash_key(key))
            .await
            .unwrap()
            .is_empty()
    );
}

/// A worker that runs finds what was decided by itself, though no record comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_at_rest_hears_of_what_operators_decide() {
    let bed = appended(1).await;
    let refusing = spec(&bed, Ordering::PerStream, Refuses::Projector, OnFailure::Park);
    bed.catch_up(vec![refusing]).await.unwrap();
    let mended = spec(&bed, Ordering::PerStream, Refuses::Nobody, OnFailure::Park);
    let worker = bed.worker(vec![bed.source()], vec![mended]);
    let stop = CancellationToken::new();
    let decide = async {
        bed.is_said_to_be(NAME, Phase::Live).await;
        redrive_all(&bed).await;
        while !waiting(&bed).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), decide) };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().0.unwrap();
    assert_eq!(bed.documents(NAME).await, expected(&bed, Ordering::PerStream).await);
}

/// Somebody sleeps before his first call that changes a row of this table.
struct Sleep {
    before: Table,
    asleep: CancellationToken,
    awake: CancellationToken,
}

impl Aspect for Sleep {
    async fn around<T: Send>(&self, call: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if call == Call::Change(self.before) {
            self.asleep.cancel();
            self.awake.cancelled().await;
        }
        answer.await
    }
}

/// A worker meets what its definition cannot take, and sleeps before it says so. Meanwhile the definition is changed, and
/// another worker takes the event by the new one. When the first wakes, nothing is parked or discarded any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_an_older_definition_sets_nothing_aside_that_others_may_have_taken() {
    for (on_failure, before) in
        [(OnFailure::Park, Table::ParkedStreams), (OnFailure::Discard, Table::Discarded)]
    {
        let bed = appended(1).await;
        let older = spec(&bed, Ordering::PerStream, Refuses::Reducer, on_failure);
        let fingerprint = Fingerprint("newer".to_owned());
        let newer =
            ProjectionSpec { fingerprint, ..spec(&bed, Ordering::PerStream, Refuses::Nobody, on_failure) };
        let sleep = Sleep { before, asleep: CancellationToken::new(), awake: CancellationToken::new() };
        let (asleep, awake) = (sleep.asleep.clone(), sleep.awake.clone());
        let (stop, worker) = (CancellationToken::new(), bed.worker_around(sleep, bed.source(), vec![older]));
        let meanwhile = async {
            asleep.cancelled().await;
            let actor = Actor { who: "somebody".to_owned(), reason: None, at: Timestamp::EPOCH };
            Controls::new(Rows::new(bed.store.checkpoints())).amend(&newer, &actor).await.unwrap();
            assert!(bed.catch_up(vec![newer.clone()]).await.unwrap().stops.is_empty());
            awake.cancel();
            bed.append("a", &[6]).await;
            bed.relay().await;
            bed.catch_up(vec![newer]).await.unwrap();
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(worker.run(Until::Stopped, stop.clone()), meanwhile);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.outdated, [ProjectionId::new(NAME, 1)]);
        assert!(outcome.stops.is_empty(), "{outcome:?}");
        let rows = Rows::new(bed.store.checkpoints());
        assert_eq!(rows.parked_streams(&lot(NAME)).await.unwrap(), []);
        assert_eq!(rows.left_out(&lot(NAME)).await.unwrap(), BTreeMap::new());
        assert_eq!(bed.documents(NAME).await, expected(&bed, Ordering::PerStream).await, "{on_failure:?}");
    }
}
