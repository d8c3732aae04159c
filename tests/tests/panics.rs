//! Code of users that panics: poison of the record that it was given, and not the end of the worker.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::sync::Arc;

use foldstream_model::{
    Error, ErrorKind, Event, EventType, Ordering, PayloadReads, Record, Result, SchemaVersion, Value,
    ports::{Decoder, Upcaster},
};
use foldstream_runtime::assembly::SourceSpec;
use foldstream_tests::{
    bed::{Bed, Envelopes},
    projectors::{Kind, TYPE},
};

struct PanickingDecoder;

impl Decoder for PanickingDecoder {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        assert_ne!(&*record.partition_key, "odd", "the record is odd");
        Envelopes.decode(record, reads)
    }
}

/// Panics or refuses what it is given.
struct FailingUpcaster(EventType, ErrorKind);

impl Upcaster for FailingUpcaster {
    fn lifts(&self) -> (&EventType, SchemaVersion) {
        (&self.0, SchemaVersion(1))
    }

    fn upcast(&self, payload: Value) -> Result<Value> {
        if payload.get("n").is_some_and(|n| *n == Value::Number(7.into())) {
            assert_eq!(self.1, ErrorKind::Poison, "the event is odd");
            return Err(Error::poison("the event is odd"));
        }
        Ok(payload)
    }
}

fn upcasting(bed: &Bed, fails_with: ErrorKind) -> SourceSpec {
    let upcaster = FailingUpcaster(EventType::new(TYPE), fails_with);
    SourceSpec { upcasters: vec![Arc::new(upcaster)], ..bed.source() }
}

/// Runs a source whose second record, in the shard's order, is poison.
async fn second_record_is_poison(bed: &Bed, source: SourceSpec, reason: &str) {
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    for _ in 0..2 {
        let outcome = bed.catch_up_from(source.clone(), collect()).await.unwrap();
        assert_eq!(outcome.stops.len(), 1);
        let stop = &outcome.stops[0].stop;
        assert_eq!(stop.place.position.to_string(), "2");
        assert!(stop.reason.contains(reason), "{}", stop.reason);
        assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1]}"#);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_decoder_is_poison_of_the_record() {
    let bed = Bed::new(1).await;
    bed.put("a", 1, 1).await;
    bed.put("odd", 1, 1).await;
    bed.put("a", 2, 1).await;
    let source = SourceSpec { decoder: Arc::new(PanickingDecoder), ..bed.source() };
    second_record_is_poison(&bed, source, "the decoder panicked: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_an_upcaster_is_poison_of_the_record() {
    let bed = Bed::new(1).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 2, 7).await;
    bed.put("b", 1, 1).await;
    let source = upcasting(&bed, ErrorKind::Internal);
    second_record_is_poison(&bed, source, "an upcaster panicked: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upcaster_that_fails_on_an_event_of_a_fill_is_poison_of_the_entry() {
    for (fails_with, reason) in
        [(ErrorKind::Internal, "an upcaster panicked: "), (ErrorKind::Poison, "the event is odd")]
    {
        let bed = Bed::new(1).await;
        bed.append("a", &[1, 7, 1]).await;
        bed.put("a", 1, 1).await;
        bed.put("a", 3, 1).await;
        second_record_is_poison(&bed, upcasting(&bed, fails_with), reason).await;
    }
}
