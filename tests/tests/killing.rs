//! Events that end the process: real processes die of one, each after the other, until it alone is set aside.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio, abort},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use foldstream_model::{
    Checkpoint, Decimal, Document, Epoch, Event, EventType, Ids, OnFailure, Ordering, PayloadReads,
    ProjectionId, Record, Result, Sequence, SourceName, Value,
    ports::{Decoder, Projector, Reads, Reducer, StateCarried, Table, Touch},
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec, Services, SourceSpec},
    parking,
    report::StopReport,
    rows::Rows,
    settings::Settings,
    worker::{Assembly, Until, Worker},
};
use foldstream_tests::{
    bed::{Bed, Envelopes},
    projectors::{Kind, Totals},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Set for the processes that die: their data folder, which code ends them, and whose.
const FOLDER: &str = "KILLING_FOLDER";
const CALL: &str = "KILLING_CALL";
const PROJECTION: &str = "KILLING_PROJECTION";
/// The event that nobody survives.
const DEADLY: i64 = -987_654;
/// Once for the crash, once among others, three times alone, and a life to go on.
const LIVES: usize = 6;

fn is_deadly(event: &Event) -> bool {
    event.payload.value.get("n") == Some(&Value::Number(Decimal::from(DEADLY)))
}

struct DeadlyDecoder;

impl Decoder for DeadlyDecoder {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        if String::from_utf8_lossy(&record.data).contains(&DEADLY.to_string()) {
            abort();
        }
        Envelopes.decode(record, reads)
    }
}

struct DeadlyReducer(Arc<Totals>);

impl Reducer for DeadlyReducer {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.0.event_types()
    }

    fn reads(&self, of: &EventType) -> Reads {
        self.0.reads(of)
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        if is_deadly(event) {
            abort();
        }
        self.0.reduce(event, before)
    }
}

/// Dies when it is asked for an event's documents, or in the change of one.
struct DeadlyProjector {
    inner: Arc<dyn Projector>,
    in_change: bool,
}

impl Projector for DeadlyProjector {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.inner.event_types()
    }

    fn reads(&self, of: &EventType) -> Reads {
        self.inner.reads(of)
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        match (is_deadly(&carried.event), self.in_change) {
            (false, _) => self.inner.touch(carried, touches),
            (true, false) => abort(),
            (true, true) => {
                self.inner.touch(carried, touches)?;
                touches.iter_mut().for_each(|touch| {
                    touch.change = Box::new(|_: &mut Option<Document>| -> Result<()> { abort() });
                });
                Ok(())
            }
        }
    }
}

fn source(bed: &Bed, call: &str) -> SourceSpec {
    match call {
        "decode" => SourceSpec { decoder: Arc::new(DeadlyDecoder), ..bed.source() },
        _ => bed.source(),
    }
}

fn projections(bed: &Bed, call: &str, deadly: &str) -> Vec<ProjectionSpec> {
    let all = [
        ("collect", Ordering::PerStream, Kind::Collect),
        ("sum", Ordering::Commutative, Kind::SumOfStates),
        ("feed", Ordering::Global, Kind::Feed),
    ];
    let specs = all.into_iter().map(|(name, ordering, kind)| {
        let mut spec = ProjectionSpec { on_failure: OnFailure::Park, ..bed.projection(name, ordering, kind) };
        match call {
            "fold" if name == deadly => {
                let reducer = Arc::new(DeadlyReducer(Totals::new()));
                spec.reducer = Some(NamedReducer { name: "totals".into(), reducer });
            }
            "touch" | "change" if name == deadly => {
                spec.projector =
                    Arc::new(DeadlyProjector { inner: spec.projector.clone(), in_change: call == "change" });
            }
            _ => {}
        }
        spec
    });
    specs.collect()
}

/// No two processes have one.
struct OwnIds(AtomicU64);

impl Ids for OwnIds {
    fn unique(&self) -> String {
        format!("{}-{}", std::process::id(), self.0.fetch_add(1, Relaxed))
    }
}

/// Lives until everything is caught up, if it is one of the processes that the tests below start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (call, deadly) = (std::env::var(CALL).unwrap(), std::env::var(PROJECTION).unwrap());
    let bed = Bed::beside(Path::new(&folder)).await;
    let services =
        Services { leases: bed.store.leases(), ids: Arc::new(OwnIds(AtomicU64::new(0))), ..bed.services() };
    let settings = Settings { lease_duration: Duration::from_millis(300), ..bed.settings.clone() };
    let projections = projections(&bed, &call, &deadly);
    let sources = vec![source(&bed, &call)];
    let worker =
        Worker::new(Assembly { services, sources, projections, settings, dead: BTreeSet::new(), process: 0 });
    let (_complete, complete) = watch::channel(true);
    let outcome = worker.run(Until::CaughtUp(complete), CancellationToken::new()).await.unwrap();
    let is_blamed = |stopped: &StopReport| stopped.stop.reason.contains("processes in a row");
    assert!(outcome.stops.iter().all(is_blamed), "{outcome:?}");
    assert!(outcome.caught_up || !outcome.stops.is_empty(), "{outcome:?}");
}

/// How many processes died before one was caught up.
fn deaths(bed: &Bed, call: &str, deadly: &str) -> usize {
    for deaths in 0..LIVES {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "a_process", "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::null());
        process.env(FOLDER, bed.folder.path()).env(CALL, call).env(PROJECTION, deadly);
        if process.status().unwrap().success() {
            return deaths;
        }
    }
    panic!("after {LIVES} processes it still ends them");
}

async fn filled() -> Bed {
    let bed = Bed::new(2).await;
    for sequence in 1..=60 {
        for stream in ["a", "b", "c", "d", "e"] {
            let n = if (stream, sequence) == ("b", 17) { DEADLY } else { 1 };
            bed.append(stream, &[n]).await;
        }
    }
    bed.relay().await;
    bed
}

fn sequences(until: u64) -> String {
    let all: Vec<_> = (1..=until).map(|sequence| sequence.to_string()).collect();
    format!(r#"{{"sequences":[{}]}}"#, all.join(","))
}

async fn parked(bed: &Bed, projection: &str) -> u64 {
    let (lots, id) = (bed.store.parking(), ProjectionId::new(projection, 1));
    parking::total(&*lots, &id, Epoch(0)).await.unwrap()
}

/// Which projections have parked something, once the deadly event of one is found.
async fn found(call: &str, deadly: &str) -> (Bed, usize, Vec<&'static str>) {
    let bed = filled().await;
    let died = deaths(&bed, call, deadly);
    let mut parking = Vec::new();
    for name in ["collect", "sum", "feed"] {
        if parked(&bed, name).await > 0 {
            parking.push(name);
        }
    }
    (bed, died, parking)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_ends_the_process_parks_its_document() {
    let (bed, died, parking) = found("change", "collect").await;
    assert_eq!((died, parking), (LIVES - 1, vec!["collect"]));
    let documents = bed.documents("collect").await;
    assert_eq!(documents["b"], sequences(16));
    for stream in ["a", "c", "d", "e"] {
        assert_eq!(documents[stream], sequences(60));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_of_a_merge() {
    let (bed, died, parking) = found("change", "feed").await;
    assert_eq!((died, parking), (LIVES - 1, vec!["feed"]));
    assert_eq!(bed.documents("collect").await["b"], sequences(60));
    let feed = &bed.documents("feed").await["feed"];
    assert!(feed.contains("b#16") && !feed.contains("b#17"), "{feed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_ends_whoever_asks_for_its_documents_parks_its_stream() {
    let (bed, died, parking) = found("touch", "collect").await;
    assert_eq!((died, parking), (LIVES - 1, vec!["collect"]));
    let documents = bed.documents("collect").await;
    assert_eq!((&*documents["b"], &*documents["a"]), (&*sequences(16), &*sequences(60)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_that_cannot_be_folded() {
    let (bed, died, parking) = found("fold", "collect").await;
    assert_eq!((died, parking), (LIVES - 1, vec!["collect"]));
    let documents = bed.documents("collect").await;
    assert_eq!((&*documents["b"], &*documents["a"]), (&*sequences(16), &*sequences(60)));
}

/// A document that many streams feed does not tell whether a process had applied the event before it ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_may_be_in_a_document_its_projection_stops_before_it() {
    let (bed, died, parking) = found("fold", "sum").await;
    assert_eq!((died, parking), (LIVES - 1, vec![]));
    assert_eq!(bed.documents("collect").await["b"], sequences(60), "the others go on");
    let stored =
        Rows::new(bed.store.checkpoints()).all::<Checkpoint>(Table::Checkpoints, "sum@1").await.unwrap();
    let stops: Vec<_> = stored.iter().filter_map(|(_, stored)| stored.body.stop.as_ref()).collect();
    let [stop] = &stops[..] else { panic!("{stops:?}") };
    let event = stop.event.as_ref().unwrap();
    assert_eq!((event.stream.as_str(), event.sequence), ("b", Sequence(17)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_ends_whoever_decodes_it_is_set_aside() {
    let (bed, died, parking) = found("decode", "").await;
    assert_eq!((died, parking), (LIVES - 1, vec![]));
    let rows = Rows::new(bed.store.checkpoints());
    assert_eq!(rows.records_that_wait(&SourceName::new("events")).await.unwrap(), 1);
    // The event store has the event that was in it.
    assert_eq!(bed.documents("collect").await["b"], sequences(60));
}
