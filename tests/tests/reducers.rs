//! A reducer that fails on an event: who stops where, and who does not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use foldstream_model::{
    Error, Event, EventType, Ordering, Result, Value,
    ports::{Reads, Reducer},
};
use foldstream_runtime::assembly::{NamedReducer, ProjectionSpec};
use foldstream_tests::{
    bed::Bed,
    projectors::{Kind, TYPE},
};

/// Keeps nothing, and may fail on events of a type that no projector handles.
struct Refusing {
    types: BTreeSet<EventType>,
    refuses: bool,
}

impl Reducer for Refusing {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.types
    }

    fn reads(&self, _: &EventType) -> Reads {
        Reads::NOTHING
    }

    fn reduce(&self, event: &Event, _: &Value) -> Result<Value> {
        match self.refuses && event.event_type.as_str() == "Odd" {
            true => Err(Error::poison("odd")),
            false => Ok(Value::Null),
        }
    }
}

fn reduced(bed: &Bed, name: &str, refuses: bool) -> ProjectionSpec {
    let types = [TYPE, "Odd"].map(EventType::new).into();
    let reducer = NamedReducer { name: "refusing".into(), reducer: Arc::new(Refusing { types, refuses }) };
    ProjectionSpec { reducer: Some(reducer), ..bed.projection(name, Ordering::PerStream, Kind::Collect) }
}

fn plain(bed: &Bed) -> ProjectionSpec {
    bed.projection("plain", Ordering::PerStream, Kind::Collect)
}

/// Puts `t2`, on which the reducer fails.
async fn put_odd(bed: &Bed) {
    let odd = br#"{"stream_id":"t","sequence":2,"id":"x","type":"Odd","recorded_at":"2026-01-01T00:00:00Z"}"#;
    bed.put_raw("t", odd).await;
}

async fn shown(bed: &Bed, name: &str) -> String {
    let documents = bed.documents(name).await;
    documents.iter().map(|(key, document)| format!("{key}{document} ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reducer_that_fails_stops_its_projections_there_and_what_comes_before_is_written() {
    let mut bed = Bed::new(1).await;
    // The stop comes before the first write, and each document is a write.
    bed.settings.flush_interval = Duration::from_millis(200);
    bed.settings.flush_documents = 1;
    bed.settings.lanes = 1;
    for (stream, sequence) in [("s", 1), ("t", 1), ("s", 2)] {
        bed.put(stream, sequence, 1).await;
    }
    put_odd(&bed).await;
    for (stream, sequence) in [("s", 3), ("u", 1)] {
        bed.put(stream, sequence, 1).await;
    }
    let mut source = bed.source();
    source.events = None;
    let projections = vec![reduced(&bed, "reduced", true), plain(&bed)];
    let outcome = bed.catch_up_from(source, projections).await.unwrap();
    assert_eq!(outcome.stops.len(), 1);
    let stop = &outcome.stops[0].stop;
    assert_eq!(stop.place.position.to_string(), "4");
    assert!(stop.to_string().contains("stream=t sequence=2 type=Odd"), "{stop}");
    assert_eq!(shown(&bed, "reduced").await, r#"s{"sequences":[1,2]} t{"sequences":[1]} "#);
    let all = r#"s{"sequences":[1,2,3]} t{"sequences":[1]} u{"sequences":[1]} "#;
    assert_eq!(shown(&bed, "plain").await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reducer_that_fails_on_what_a_projection_has_settled_stops_only_those_behind() {
    let bed = Bed::new(1).await;
    bed.put("t", 1, 1).await;
    put_odd(&bed).await;
    let mut source = bed.source();
    source.events = None;
    let ahead = |refuses| reduced(&bed, "ahead", refuses);
    bed.catch_up_from(source.clone(), vec![ahead(false), plain(&bed)]).await.unwrap();
    for sequence in [1, 2] {
        bed.put("s", sequence, 1).await;
    }
    bed.catch_up_from(source.clone(), vec![plain(&bed)]).await.unwrap();
    // The two of them are read together, behind the plain one.
    let projections = vec![plain(&bed), ahead(true), reduced(&bed, "behind", true)];
    let outcome = bed.catch_up_from(source, projections).await.unwrap();
    let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
    assert_eq!(stopped, ["behind"]);
    assert_eq!(shown(&bed, "ahead").await, r#"s{"sequences":[1,2]} t{"sequences":[1]} "#);
    assert_eq!(shown(&bed, "behind").await, r#"t{"sequences":[1]} "#);
}
