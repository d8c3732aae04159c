//! The line in memory: upcast, order, fold, project, apply, one event after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldstream_config::settings::{Config, Name, OnFailure, Ordering, Projection, Projector as Declared};
use foldstream_model::ports::{Projector, Reads, Reducer, StateCarried, Upcaster};
use foldstream_model::{
    Document, Error, Event, FieldMask, Result, SchemaVersion, StreamId, Timestamp, Value,
};

use super::Natives;
use crate::compile::Compiled;
use crate::upcaster::DeclaredUpcaster;

/// What all projections made of the events so far.
pub(super) struct Rehearsal<'c> {
    config: &'c Config,
    compiled: &'c Compiled,
    natives: Natives<'c>,
    /// by `projection/key`; none of a document that was deleted
    pub documents: BTreeMap<String, Option<Document>>,
    /// documents, and streams of which no document is known, by `projection/key`
    pub parked: BTreeMap<String, Poison>,
    /// the streams among them
    streams: BTreeSet<String>,
}

/// An event that could not be projected.
pub(super) struct Poison {
    pub event: String,
    pub error: String,
}

impl<'c> Rehearsal<'c> {
    pub(super) fn new(config: &'c Config, compiled: &'c Compiled, natives: Natives<'c>) -> Rehearsal<'c> {
        Rehearsal {
            config,
            compiled,
            natives,
            documents: BTreeMap::new(),
            parked: BTreeMap::new(),
            streams: BTreeSet::new(),
        }
    }

    /// Takes all events of a source, as they were recorded.
    pub(super) fn play(&mut self, source: &Name, events: &[Event]) {
        let config = self.config;
        let of_source = |(_, projection): &(&Name, &Projection)| projection.source.value == *source;
        for (name, projection) in config.projections.iter().filter(of_source) {
            if let Some(projector) = self.projector(name, projection) {
                self.project(name, projection, &*projector, events);
            }
        }
    }

    fn projector(&self, name: &Name, projection: &Projection) -> Option<Arc<dyn Projector>> {
        match &projection.projector {
            Declared::Declared(_) => {
                Some(Arc::clone(self.compiled.projectors.get(name)?) as Arc<dyn Projector>)
            }
            Declared::Native { name, .. } => (self.natives)(&name.value),
            Declared::Wasm(_) => None,
        }
    }

    fn project(&mut self, name: &Name, projection: &Projection, projector: &dyn Projector, events: &[Event]) {
        let reducer =
            projection.reducer.as_ref().and_then(|reducer| self.compiled.reducers.get(&reducer.value));
        let upcasters =
            self.compiled.upcasters.get(&projection.source.value).map(Vec::as_slice).unwrap_or_default();
        let fold = Fold { projector, reducer: reducer.map(|reducer| &**reducer as &dyn Reducer), upcasters };
        let mut states: BTreeMap<StreamId, Value> = BTreeMap::new();
        for event in ordered(projection.ordering.value, events) {
            let stream = format!("{name}/{}", event.stream_id);
            if self.streams.contains(&stream) {
                continue;
            }
            let before = states.get(&event.stream_id).cloned().unwrap_or_default();
            let done = fold.carry_state(event, before).and_then(|carried| {
                states.insert(event.stream_id.clone(), carried.state.clone());
                self.touch(name, projection, projector, &carried)
            });
            if let Err(error) = done {
                self.streams.insert(stream.clone());
                self.park(stream, event, &error);
            }
        }
    }

    fn touch(
        &mut self,
        name: &Name,
        projection: &Projection,
        projector: &dyn Projector,
        event: &StateCarried,
    ) -> Result<()> {
        if !projector.event_types().contains(&event.event.event_type) {
            return Ok(());
        }
        let mut touches = Vec::new();
        projector.touch(event, &mut touches)?;
        for touch in touches {
            let document = format!("{name}/{}", touch.key);
            let goes_on = projection.on_failure.value == OnFailure::Discard;
            if self.parked.contains_key(&document) && !goes_on {
                continue;
            }
            let mut changed = self.documents.get(&document).cloned().flatten();
            let existed = self.documents.contains_key(&document);
            match touch.change.apply(&mut changed) {
                Ok(()) if existed || changed.is_some() => {
                    self.documents.insert(document, changed);
                }
                Ok(()) => {}
                Err(error) => self.park(document, &event.event, &error),
            }
        }
        Ok(())
    }

    fn park(&mut self, document: String, event: &Event, error: &Error) {
        let event = format!("{} {} {}", event.stream_id, event.sequence, event.event_type);
        self.parked.insert(document, Poison { event, error: error.message().to_owned() });
    }
}

/// Under `global` by when they were recorded, never before an earlier event of their stream; else as they are given.
fn ordered(ordering: Ordering, events: &[Event]) -> Vec<&Event> {
    let mut raised: BTreeMap<&StreamId, Timestamp> = BTreeMap::new();
    let mut keyed: Vec<(Timestamp, &Event)> = Vec::with_capacity(events.len());
    for event in events {
        let last = raised.entry(&event.stream_id).or_insert(event.recorded_at);
        *last = event.recorded_at.max(*last);
        keyed.push((*last, event));
    }
    if ordering == Ordering::Global {
        keyed.sort_by(|(left_at, left), (right_at, right)| {
            (left_at, &left.stream_id, left.sequence).cmp(&(right_at, &right.stream_id, right.sequence))
        });
    }
    keyed.into_iter().map(|(_, event)| event).collect()
}

/// What stands between an event and a projector.
struct Fold<'f> {
    projector: &'f dyn Projector,
    reducer: Option<&'f dyn Reducer>,
    upcasters: &'f [Arc<DeclaredUpcaster>],
}

impl Fold<'_> {
    fn carry_state(&self, event: &Event, before: Value) -> Result<StateCarried> {
        let mut event = event.clone();
        let mut reads = self.projector.reads(&event.event_type);
        if let Some(reducer) = self.reducer {
            reads = reads.union(&reducer.reads(&event.event_type));
        }
        self.lift(&mut event, &reads)?;
        event.metadata.parse(&reads.metadata)?;
        let state = match self.reducer {
            Some(reducer) => reducer.reduce(&event, &before)?,
            None => Value::Null,
        };
        Ok(StateCarried { event: Arc::new(event), before, state })
    }

    /// Upcasters see the whole payload; nobody else sees more than is read.
    fn lift(&self, event: &mut Event, reads: &Reads) -> Result<()> {
        let Some(mut upcaster) = self.upcaster(event) else { return event.payload.parse(&reads.payload) };
        event.payload.parse(&FieldMask::ALL)?;
        loop {
            event.payload.value = upcaster.upcast(std::mem::take(&mut event.payload.value))?;
            event.schema_version = SchemaVersion(event.schema_version.0.saturating_add(1));
            match self.upcaster(event) {
                Some(next) => upcaster = next,
                None => return Ok(()),
            }
        }
    }

    fn upcaster(&self, event: &Event) -> Option<&DeclaredUpcaster> {
        let lifts =
            |upcaster: &&Arc<DeclaredUpcaster>| upcaster.lifts() == (&event.event_type, event.schema_version);
        self.upcasters.iter().find(lifts).map(|upcaster| &**upcaster)
    }
}
