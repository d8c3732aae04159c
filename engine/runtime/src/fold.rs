//! fold: the states of a stream before and after each of its events.
//!
//! States are kept hot, bounded by bytes. None is stored: on a miss the stream is folded again from the event store up
//! to the event. A state that is not directly before the event is never folded on.

use std::sync::Arc;

use foldstream_model::{
    Error, Event, Place, Result, Sequence, StreamHash, StreamId, Value,
    ports::{EventStore, Reducer},
};
use lru::LruCache;

use crate::{assembly::NamedReducer, decode::Intake, order::Placed, pure};

/// Events that one read of the event store asks for.
const PAGE: usize = 500;
/// What a cached state costs beside its value.
const OVERHEAD: usize = 96;

/// The states before and after one event.
#[derive(Debug, Clone, Default)]
pub struct States {
    pub before: Value,
    pub after: Value,
}

/// One reducer's states for the events of a batch, up to the first that it could not fold, and the place of that one.
#[derive(Debug)]
pub struct Folded {
    pub states: Vec<States>,
    pub poison: Option<(Place, Error)>,
}

/// One reducer over the streams of one reading.
pub struct Fold {
    pub name: Arc<str>,
    reducer: Arc<dyn Reducer>,
    events: Option<Arc<dyn EventStore>>,
    intake: Arc<Intake>,
    first: Sequence,
    hot: Hot,
}

impl Fold {
    pub fn new(
        named: &NamedReducer,
        events: Option<Arc<dyn EventStore>>,
        intake: Arc<Intake>,
        first: Sequence,
        cache_bytes: usize,
    ) -> Self {
        let hot = Hot::new(cache_bytes);
        Self { name: named.name.clone(), reducer: named.reducer.clone(), events, intake, first, hot }
    }

    /// Folds the released events of a batch, in their order. Errors other than poison are the event store's.
    pub async fn fold(&mut self, placed: &[Placed]) -> Result<Folded> {
        let mut states = Vec::with_capacity(placed.len());
        for Placed { event, place, .. } in placed {
            match self.fold_one(event).await {
                Ok(folded) => states.push(folded),
                Err(error) if error.kind() == foldstream_model::ErrorKind::Poison => {
                    return Ok(Folded { states, poison: Some((place.clone(), error)) });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Folded { states, poison: None })
    }

    async fn fold_one(&mut self, event: &Event) -> Result<States> {
        let stream = event.stream_id.hash();
        let before = self.before(event, stream).await?;
        let after = self.reduce(event, &before)?;
        self.hot.put(stream, event.sequence, after.clone());
        Ok(States { before, after })
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        if !self.reducer.event_types().contains(&event.event_type) {
            return Ok(before.clone());
        }
        pure::guarded("the reducer", || self.reducer.reduce(event, before))
    }

    async fn before(&mut self, event: &Event, stream: StreamHash) -> Result<Value> {
        if event.sequence <= self.first {
            return Ok(Value::Null);
        }
        if let Some((sequence, state)) = self.hot.get(stream)
            && sequence.next() == Some(event.sequence)
        {
            return Ok(state);
        }
        self.refold(&event.stream_id, event.sequence).await
    }

    /// The state directly before a sequence, from the stream's beginning.
    async fn refold(&self, stream: &StreamId, until: Sequence) -> Result<Value> {
        let Some(store) = &self.events else {
            return Err(Error::invalid(format!(
                "reducer={} needs the events before stream={stream} sequence={until}, and its source has no event store to read them from",
                self.name
            )));
        };
        let (mut state, mut next) = (Value::Null, self.first);
        while next < until {
            let before = next;
            let page = store.read_stream(stream, next, PAGE).await?;
            for mut event in page {
                if event.sequence >= until {
                    break;
                }
                if event.sequence != next {
                    return Err(self.missing(stream, next, until));
                }
                self.intake.prepare(&mut event)?;
                state = self.reduce(&event, &state)?;
                next = Sequence(next.0 + 1);
            }
            if next == before {
                return Err(self.missing(stream, next, until));
            }
        }
        Ok(state)
    }

    fn missing(&self, stream: &StreamId, missing: Sequence, until: Sequence) -> Error {
        Error::poison(format!(
            "cannot fold: reducer={} stream={stream} sequence={until} missing={missing} in the event store",
            self.name
        ))
    }
}

/// The states last used, within a bound on bytes.
struct Hot {
    states: LruCache<StreamHash, HotState>,
    bytes: usize,
    limit: usize,
}

struct HotState {
    sequence: Sequence,
    state: Value,
    bytes: usize,
}

impl Hot {
    fn new(limit: usize) -> Self {
        Self { states: LruCache::unbounded(), bytes: 0, limit }
    }

    fn get(&mut self, stream: StreamHash) -> Option<(Sequence, Value)> {
        self.states.get(&stream).map(|hot| (hot.sequence, hot.state.clone()))
    }

    fn put(&mut self, stream: StreamHash, sequence: Sequence, state: Value) {
        let bytes = OVERHEAD + state.size_in_bytes();
        self.bytes += bytes;
        if let Some(old) = self.states.put(stream, HotState { sequence, state, bytes }) {
            self.bytes -= old.bytes;
        }
        while self.bytes > self.limit && self.states.len() > 1 {
            let Some((_, oldest)) = self.states.pop_lru() else { return };
            self.bytes -= oldest.bytes;
        }
    }
}
