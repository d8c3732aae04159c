//! The line in memory: upcast, order, fold, project, apply, one event after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldstream_config::settings::{Config, Name, OnFailure, Ordering, Projection};
use foldstream_declarative::Compiled;
use foldstream_model::ports::{Projector, Reducer, StateCarried};
use foldstream_model::{Document, Error, Event, EventType, Result, StreamId, Timestamp, Value};
use foldstream_runtime::{
    decode::Reading,
    pure,
    upcast::{self, OnNewerSchema, Upcasts},
};

use crate::compose;

/// What all projections made of the events so far.
pub(super) struct Rehearsal<'c> {
    config: &'c Config,
    compiled: &'c Compiled,
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
    pub(super) fn new(config: &'c Config, compiled: &'c Compiled) -> Rehearsal<'c> {
        Rehearsal {
            config,
            compiled,
            documents: BTreeMap::new(),
            parked: BTreeMap::new(),
            streams: BTreeSet::new(),
        }
    }

    /// Takes all events of a source, as they were recorded.
    pub(super) fn play(&mut self, source: &Name, events: &[Event]) {
        let config = self.config;
        let Some(settings) = config.sources.get(source) else { return };
        let upcasts = compose::upcasts(settings, self.compiled, source);
        let of_source = |(_, projection): &(&Name, &Projection)| projection.source.value == *source;
        for (name, projection) in config.projections.iter().filter(of_source) {
            if let Ok((projector, _)) = compose::projector(self.compiled, name, projection) {
                self.project(name, projection, &*projector, upcasts.clone(), events);
            }
        }
    }

    fn project(
        &mut self,
        name: &Name,
        projection: &Projection,
        projector: &dyn Projector,
        upcasts: Upcasts,
        events: &[Event],
    ) {
        let reducer =
            projection.reducer.as_ref().and_then(|reducer| self.compiled.reducers.get(&reducer.value));
        let reducer = reducer.map(|reducer| &**reducer as &dyn Reducer);
        let mut reading = Reading::new(upcasts);
        reading.add(projector, reducer);
        let fold = Fold { projector, reducer, reading, known: compose::known_types(self.config, projection) };
        let mut states: BTreeMap<StreamId, Value> = BTreeMap::new();
        for event in ordered(projection.ordering.value, events) {
            let stream = format!("{name}/{}", event.stream_id);
            if self.streams.contains(&stream) {
                continue;
            }
            let before = states.get(&event.stream_id).cloned().unwrap_or_default();
            let done = fold.carry_state(event, before).and_then(|carried| {
                self.touch(name, projection, projector, &carried)?;
                states.insert(event.stream_id.clone(), carried.state);
                Ok(())
            });
            let Err(error) = done else { continue };
            let waits = !fold.knows(&event.event_type) || upcast::on_newer_schema(&error).is_some();
            // What nobody knows yet waits, whatever becomes of what cannot be taken.
            if waits || projection.on_failure.value != OnFailure::Discard {
                self.streams.insert(stream.clone());
            }
            self.park(stream, event, &error);
        }
    }

    fn touch(
        &mut self,
        name: &Name,
        projection: &Projection,
        projector: &dyn Projector,
        event: &StateCarried,
    ) -> Result<()> {
        if !projector.event_types().contains(&event.event.event_type) || !upcast::is_taken(&event.event)? {
            return Ok(());
        }
        let mut touches = Vec::new();
        pure::guarded("the projector", || projector.touch(event, &mut touches))?;
        for touch in touches {
            let document = format!("{name}/{}", touch.key);
            let goes_on = projection.on_failure.value == OnFailure::Discard;
            if self.parked.contains_key(&document) && !goes_on {
                continue;
            }
            let mut changed = self.documents.get(&document).cloned().flatten();
            let existed = self.documents.contains_key(&document);
            match pure::guarded("the projector", || touch.change.apply(&mut changed)) {
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
    reading: Reading,
    /// None: types that nobody knows are ignored.
    known: Option<BTreeSet<EventType>>,
}

impl Fold<'_> {
    fn carry_state(&self, event: &Event, before: Value) -> Result<StateCarried> {
        let of = &event.event_type;
        if !self.knows(of) {
            return Err(Error::poison(format!("type={of} is neither handled nor in the source's `types`")));
        }
        let mut event = event.clone();
        match self.reading.read(&mut event) {
            Err(error) if upcast::on_newer_schema(&error) == Some(OnNewerSchema::Ignore) => {
                event.payload.set_unreadable(error);
            }
            read => read?,
        }
        let reducer = self.reducer.filter(|_| self.is_reduced(of));
        let state = match reducer.filter(|_| event.payload.unreadable.is_none()) {
            Some(reducer) => pure::guarded("the reducer", || reducer.reduce(&event, &before))?,
            None => before.clone(),
        };
        Ok(StateCarried { event: Arc::new(event), before, state })
    }

    fn knows(&self, of: &EventType) -> bool {
        let in_list = self.known.as_ref().is_none_or(|known| known.contains(of));
        in_list || self.is_reduced(of) || self.is_projected(of)
    }

    fn is_reduced(&self, of: &EventType) -> bool {
        self.reducer.is_some_and(|reducer| reducer.event_types().contains(of))
    }

    fn is_projected(&self, of: &EventType) -> bool {
        self.projector.event_types().contains(of)
    }
}
