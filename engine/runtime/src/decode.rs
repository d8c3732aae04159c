//! decode: envelope → event, and of its JSON only what somebody reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use foldstream_model::{
    Error, ErrorKind, Event, EventType, FieldMask, PayloadReads, Record, Result, SchemaVersion, Sequence,
    Timestamp,
    ports::{Decoder, Projector, Reads, Reducer},
};

use crate::{
    assembly::{ProjectionSpec, SourceSpec},
    metrics, pure,
    upcast::{OnNewerSchema, Upcasts, on_newer_schema},
};

/// What is said once, however often it is met.
#[derive(Default)]
struct Said {
    unknown: BTreeSet<EventType>,
    too_new: BTreeSet<(EventType, SchemaVersion)>,
}

/// Turns a source's records into events that the line can order, fold and project.
pub struct Intake {
    decoder: Arc<dyn Decoder>,
    reading: Reading,
    known: Option<BTreeSet<EventType>>,
    said: Mutex<Said>,
    first: Sequence,
    source: String,
}

impl Intake {
    /// Reads what any of the source's projections and their reducers read.
    pub fn new(source: &SourceSpec, projections: &[ProjectionSpec]) -> Self {
        let mut reading = Reading::new(Upcasts::new(&source.upcasters, source.on_newer_schema));
        for projection in projections.iter().filter(|projection| projection.source == source.name) {
            let reducer = projection.reducer.as_ref().map(|named| &*named.reducer);
            reading.add(&*projection.projector, reducer);
        }
        Self {
            decoder: source.decoder.clone(),
            reading,
            known: source.types.clone(),
            said: Mutex::default(),
            first: source.first,
            source: source.name.to_string(),
        }
    }

    /// The event in a record, ready to be ordered; none when the record is not meant to be one. Poison: it is none.
    pub fn decode(&self, record: &Record) -> Result<Option<Event>> {
        let decoded = pure::guarded("the decoder", || self.decoder.decode(record, self))?;
        let Some(mut event) = decoded else { return Ok(None) };
        if event.sequence < self.first {
            return Err(Error::poison(format!(
                "stream={} sequence={} is below the first sequence that the source's mapping allows",
                event.stream_id, event.sequence
            )));
        }
        self.prepare(&mut event)?;
        Ok(Some(event))
    }

    /// Up to when all that was stored is in the source, if a record that is no event says so.
    pub fn heartbeat(&self, record: &Record) -> Option<Timestamp> {
        pure::guarded("the decoder", || Ok(self.decoder.heartbeat(record))).ok().flatten()
    }

    /// Parses and lifts an event, whether it came by a record, out of a cut, a journal or the event store. One that cannot
    /// be read is marked so: it is poison for those who handle it, and nothing to the others.
    pub fn prepare(&self, event: &mut Event) -> Result<()> {
        match self.read(event) {
            Err(error) if error.kind() == ErrorKind::Poison => {
                if let Some(on_newer) = on_newer_schema(&error) {
                    self.say_too_new(event, on_newer);
                }
                event.payload.set_unreadable(error);
                Ok(())
            }
            read => read,
        }
    }

    fn read(&self, event: &mut Event) -> Result<()> {
        if self.known.as_ref().is_some_and(|known| !known.contains(&event.event_type)) {
            self.say_unknown(&event.event_type);
        }
        self.reading.read(event)
    }

    fn say_unknown(&self, event_type: &EventType) {
        metrics::unknown_type(&self.source, event_type.as_str());
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.unknown.insert(event_type.clone()) {
            tracing::warn!(source = %self.source, event_type = %event_type, "a type that the source's list does not know: its events are ignored, or wait where `on_unknown_type: park` says so");
        }
    }

    /// Who waits says so by itself.
    fn say_too_new(&self, event: &Event, on_newer: OnNewerSchema) {
        metrics::newer_schema(&self.source, event.event_type.as_str());
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if on_newer == OnNewerSchema::Ignore
            && said.too_new.insert((event.event_type.clone(), event.schema_version))
        {
            tracing::warn!(source = %self.source, event_type = %event.event_type, schema_version = event.schema_version.0, "a newer schema version than the upcasters lead to: its events are ignored, as `on_newer_schema: ignore` says");
        }
    }
}

/// What somebody reads of the events of each type, and how they are lifted before.
pub struct Reading {
    upcasts: Upcasts,
    reads: BTreeMap<EventType, Reads>,
}

impl Reading {
    pub fn new(upcasts: Upcasts) -> Self {
        Self { upcasts, reads: BTreeMap::new() }
    }

    /// What these read is read, too.
    pub fn add(&mut self, projector: &dyn Projector, reducer: Option<&dyn Reducer>) {
        for event_type in projector.event_types() {
            add(&mut self.reads, event_type, &projector.reads(event_type));
        }
        if let Some(reducer) = reducer {
            for event_type in reducer.event_types() {
                add(&mut self.reads, event_type, &reducer.reads(event_type));
            }
        }
    }

    /// Parses and lifts an event. Poison: it cannot be read.
    pub fn read(&self, event: &mut Event) -> Result<()> {
        let Some(reads) = self.reads.get(&event.event_type) else { return Ok(()) };
        self.upcasts.refuse_newer(event)?;
        event.metadata.parse(&reads.metadata)?;
        if self.upcasts.lifts(event) {
            event.payload.parse(&FieldMask::ALL)?;
            return self.upcasts.lift(event);
        }
        if event.payload.value.is_null() {
            event.payload.parse(&reads.payload)?;
        }
        Ok(())
    }
}

/// What will be lifted is parsed whole, once it is known to which version.
impl PayloadReads for Intake {
    fn of(&self, event_type: &EventType) -> Option<&FieldMask> {
        let Reading { upcasts, reads } = &self.reading;
        let reads = reads.get(event_type).filter(|_| !upcasts.lift_type(event_type))?;
        Some(&reads.payload)
    }
}

fn add(reads: &mut BTreeMap<EventType, Reads>, event_type: &EventType, more: &Reads) {
    let entry = reads.entry(event_type.clone()).or_insert(Reads::NOTHING);
    *entry = entry.union(more);
}
