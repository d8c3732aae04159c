//! fold: the states of a stream before and after each of its events.
//!
//! States are kept hot, bounded by bytes. None is stored: on a miss the stream is folded again from the event store up
//! to the event. A state that is not directly before the event is never folded on.

use std::sync::Arc;

use foldstream_model::{
    Error, ErrorKind, Event, Result, Sequence, SourceName, StreamHash, StreamId, Value,
    ports::{EventStore, Reducer},
};
use lru::LruCache;

use crate::{
    assembly::{NamedReducer, SourceSpec},
    decode::Intake,
    order::Placed,
    planted::{self, Bug},
    pure,
    trial::Attempt,
    trying::Trials,
    upcast,
};

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

/// What a fold passes over: events that were given up, or left out.
pub trait LeftOut: Sync {
    /// The first sequence from this one on that is not passed over.
    fn first_kept(&self, stream: StreamHash, from: Sequence) -> Sequence;
}

/// One reducer over the streams of one reading.
pub struct Fold {
    pub name: Arc<str>,
    reducer: Arc<dyn Reducer>,
    source: SourceName,
    events: Option<Arc<dyn EventStore>>,
    intake: Arc<Intake>,
    trials: Arc<Trials>,
    first: Sequence,
    hot: Hot,
}

impl Fold {
    pub fn new(
        named: &NamedReducer,
        source: &SourceSpec,
        intake: Arc<Intake>,
        trials: Arc<Trials>,
        cache_bytes: usize,
    ) -> Self {
        Self {
            name: named.name.clone(),
            reducer: named.reducer.clone(),
            source: source.name.clone(),
            events: source.events.clone(),
            intake,
            trials,
            first: source.first,
            hot: Hot::new(cache_bytes),
        }
    }

    /// Folds the released events of a batch, in their order. What cannot be folded is poison of that event, and of all
    /// that follow it in its stream. Other errors are the event store's.
    pub async fn fold(&mut self, placed: &[Placed], left_out: &dyn LeftOut) -> Result<Vec<Result<States>>> {
        let mut folded = Vec::with_capacity(placed.len());
        while folded.len() < placed.len() {
            let left = &placed[folded.len()..];
            let tried = self.trials.next(left.len(), |index| self.attempt(&left[index].event)).await?;
            for Placed { event, .. } in &left[..tried.count] {
                folded.push(self.fold_tried(event, left_out, tried.guilty.as_ref()).await?);
            }
            self.trials.came_back(tried).await?;
        }
        Ok(folded)
    }

    /// Folds one event, like [`Fold::fold`].
    pub async fn fold_one(&mut self, event: &Event, left_out: &dyn LeftOut) -> Result<Result<States>> {
        let tried = self.trials.next(1, |_| self.attempt(event)).await?;
        let folded = self.fold_tried(event, left_out, tried.guilty.as_ref()).await;
        self.trials.came_back(tried).await?;
        folded
    }

    fn attempt(&self, event: &Event) -> Attempt {
        Attempt::Fold {
            source: self.source.clone(),
            reducer: self.name.to_string(),
            stream: event.stream_id.clone(),
            sequence: event.sequence,
        }
    }

    async fn fold_tried(
        &mut self,
        event: &Event,
        left_out: &dyn LeftOut,
        guilty: Option<&Error>,
    ) -> Result<Result<States>> {
        let stream = event.stream_id.hash();
        if left_out.first_kept(stream, event.sequence) != event.sequence {
            return Ok(Ok(States::default()));
        }
        let before = match guilty {
            Some(guilty) => Err(guilty.clone()),
            None => self.before(event, stream, left_out).await,
        };
        let folded = match before {
            Ok(before) => self.reduce(event, &before).map(|after| States { before, after }),
            Err(error) => Err(error),
        };
        if folded.as_ref().is_err_and(|error| error.kind() != ErrorKind::Poison) {
            return folded.map(Ok);
        }
        let state = folded.as_ref().map(|states| states.after.clone()).map_err(Clone::clone);
        self.hot.put(stream, event.sequence, state);
        Ok(folded)
    }

    /// The stream is folded again from its beginning when its next event comes.
    pub fn forget(&mut self, stream: StreamHash) {
        self.hot.remove(stream);
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        if !self.reducer.event_types().contains(&event.event_type) {
            return Ok(before.clone());
        }
        if !upcast::is_taken(event)? {
            return Ok(before.clone());
        }
        pure::guarded("the reducer", || self.reducer.reduce(event, before))
    }

    async fn before(&mut self, event: &Event, stream: StreamHash, left_out: &dyn LeftOut) -> Result<Value> {
        if event.sequence <= left_out.first_kept(stream, self.first) {
            return Ok(Value::Null);
        }
        // What was left out since it was folded has no part in what follows.
        if let Some((sequence, state)) = self.hot.get(stream)
            && left_out.first_kept(stream, sequence) == sequence
            && let Some(next) = sequence.next()
            && left_out.first_kept(stream, next) == event.sequence
        {
            return state;
        }
        self.refold(&event.stream_id, event.sequence, left_out).await
    }

    /// The state directly before a sequence, from the stream's beginning.
    async fn refold(&self, stream: &StreamId, until: Sequence, left_out: &dyn LeftOut) -> Result<Value> {
        let Some(store) = &self.events else {
            return Err(Error::invalid(format!(
                "reducer={} needs the events before stream={stream} sequence={until}, and its source has no event store to read them from",
                self.name
            )));
        };
        let hash = stream.hash();
        let (mut state, mut next) = (Value::Null, left_out.first_kept(hash, self.first));
        while next < until {
            let before = next;
            let page = store.read_stream(stream, next, PAGE).await?;
            for mut event in page {
                if event.sequence >= until && !planted::is(Bug::RefoldedTooFar) {
                    break;
                }
                if event.sequence < next {
                    continue;
                }
                if event.sequence != next {
                    return Err(self.missing(stream, next, until));
                }
                self.intake.prepare(&mut event)?;
                state = self.reduce(&event, &state)?;
                next = left_out.first_kept(hash, Sequence(next.0 + 1));
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

/// The states last used, or why there is none, within a bound on bytes.
struct Hot {
    states: LruCache<StreamHash, HotState>,
    bytes: usize,
    limit: usize,
}

struct HotState {
    sequence: Sequence,
    state: Result<Value>,
    bytes: usize,
}

impl Hot {
    fn new(limit: usize) -> Self {
        Self { states: LruCache::unbounded(), bytes: 0, limit }
    }

    fn get(&mut self, stream: StreamHash) -> Option<(Sequence, Result<Value>)> {
        self.states.get(&stream).map(|hot| (hot.sequence, hot.state.clone()))
    }

    fn put(&mut self, stream: StreamHash, sequence: Sequence, state: Result<Value>) {
        let weight = state.as_ref().map_or_else(|error| error.message().len(), Value::size_in_bytes);
        let bytes = OVERHEAD + weight;
        self.bytes += bytes;
        if let Some(old) = self.states.put(stream, HotState { sequence, state, bytes }) {
            self.bytes -= old.bytes;
        }
        while self.bytes > self.limit && self.states.len() > 1 {
            let Some((_, oldest)) = self.states.pop_lru() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    fn remove(&mut self, stream: StreamHash) {
        if let Some(old) = self.states.pop(&stream) {
            self.bytes -= old.bytes;
        }
    }
}
