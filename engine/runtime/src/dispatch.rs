//! dispatch: which documents each event touches, and to which lane each touch goes.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use foldstream_model::{
    Error, Event, OnFailure, Place, RefusedEvent, Result, Stop, Timestamp, Value,
    ports::{StateCarried, Touch},
};

use crate::{
    budget::Hold,
    fold::Folded,
    guard::Origin,
    lanes::{Delivery, lane_of},
    order::Placed,
    progress::BatchId,
    pure,
    subscription::Subscription,
};

/// Events that one record batch released, with the states of every reducer; shared by all projections of a reading.
pub struct Released {
    pub end: Place,
    pub placed: Vec<Placed>,
    pub folded: BTreeMap<Arc<str>, Folded>,
    /// The first record that only the event store shows to be a fork; poison for everybody.
    pub fork: Option<(Place, Error)>,
    pub recorded_until: Option<Timestamp>,
    /// When the source was asked, if this ended at the shard's tip.
    pub tip: Option<Timestamp>,
    /// What the source stated with it.
    pub low_watermark: Option<Timestamp>,
    pub hold: Arc<Hold>,
}

/// A batch as one projection sees it: its touches, and the poison behind them.
pub struct Dispatched {
    pub touches: Vec<Touched>,
    pub poison: Option<(Place, Error)>,
}

/// One touch and the event that it comes from.
pub struct Touched {
    /// Index of the event in the batch.
    pub event: usize,
    /// What is set aside of it when its document cannot take it, if it is set aside.
    carried: Option<Arc<StateCarried>>,
    pub touch: Touch,
}

impl Released {
    /// What no projector needs to be asked about: a fork, or the event that the projection's reducer could not fold,
    /// whether the projection handles it or not, as no state of its stream is known from there on.
    pub fn poison(&self, subscription: &Subscription) -> Option<&(Place, Error)> {
        let reducer = subscription.projection.spec.reducer.as_ref();
        let unfolded = reducer.and_then(|named| self.folded.get(&named.name)?.poison.as_ref());
        self.fork.iter().chain(unfolded).min_by(|(a, _), (b, _)| a.cmp(b))
    }

    /// The touches of the events behind `from`, up to the first poison.
    pub fn dispatch(&self, subscription: &Subscription, from: &Place) -> Dispatched {
        let mut dispatched = Dispatched { touches: Vec::with_capacity(self.placed.len()), poison: None };
        let mut scratch = Vec::new();
        let poison = self.poison(subscription);
        for (index, placed) in self.placed.iter().enumerate() {
            if placed.place <= *from {
                continue;
            }
            if poison.is_some_and(|(place, _)| *place <= placed.place) {
                break;
            }
            match self.touch(subscription, index, &mut scratch) {
                Ok(carried) => dispatched.touches.extend(scratch.drain(..).map(|touch| Touched {
                    event: index,
                    carried: carried.clone(),
                    touch,
                })),
                Err(error) => {
                    dispatched.poison = Some((placed.place.clone(), error));
                    return dispatched;
                }
            }
        }
        dispatched.poison = poison.cloned();
        dispatched
    }

    /// Appends what the event touches; gives it with its states where it may have to be set aside.
    fn touch(
        &self,
        subscription: &Subscription,
        index: usize,
        touches: &mut Vec<Touch>,
    ) -> Result<Option<Arc<StateCarried>>> {
        let event = &self.placed[index].event;
        let spec = &subscription.projection.spec;
        if !spec.projector.event_types().contains(&event.event_type) {
            return Ok(None);
        }
        let (before, state) = match &spec.reducer {
            None => (Value::Null, Value::Null),
            Some(named) => self.states(&named.name, index)?,
        };
        let carried = StateCarried { event: event.clone(), before, state };
        pure::guarded("the projector", || spec.projector.touch(&carried, touches))
            .inspect_err(|_| touches.clear())?;
        let is_kept = spec.on_failure != OnFailure::Stop && !touches.is_empty();
        Ok(is_kept.then(|| Arc::new(carried)))
    }

    fn states(&self, reducer: &Arc<str>, index: usize) -> Result<(Value, Value)> {
        match self.folded.get(reducer).and_then(|folded| folded.states.get(index)) {
            Some(states) => Ok((states.before.clone(), states.after.clone())),
            None => Err(Error::internal(format!("reducer={reducer} left an event out"))),
        }
    }

    /// One lane's deliveries each.
    pub fn deliveries(
        &self,
        subscription: &Subscription,
        batch: BatchId,
        touches: Vec<Touched>,
        lanes: NonZeroUsize,
    ) -> Vec<Vec<Delivery>> {
        let expected = touches.len().div_ceil(lanes.get());
        let mut by_lane: Vec<Vec<Delivery>> =
            (0..lanes.get()).map(|_| Vec::with_capacity(expected)).collect();
        for touched in touches {
            let lane = lane_of(&touched.touch.key, lanes);
            by_lane[lane].push(self.delivery(subscription, batch, touched));
        }
        by_lane
    }

    fn delivery(&self, subscription: &Subscription, batch: BatchId, touched: Touched) -> Delivery {
        let placed = &self.placed[touched.event];
        let origin = Origin {
            shard: subscription.shard,
            place: placed.place.clone(),
            stream: placed.event.stream_id.clone(),
            sequence: placed.event.sequence,
            event_type: placed.event.event_type.clone(),
            recorded_at: placed.raised_at,
        };
        let bytes = size_of::<Delivery>() + placed.event.payload.raw.len();
        let Touched { touch, carried, .. } = touched;
        Delivery { line: subscription.line, batch, origin, touch, carried, bytes }
    }
}

/// Poison as it is kept beside the checkpoint.
pub fn stop(place: Place, error: &Error, event: Option<&Event>, at: Timestamp) -> Stop {
    let event = event.map(|event| RefusedEvent {
        stream: event.stream_id.clone(),
        sequence: event.sequence,
        event_type: event.event_type.clone(),
        document: None,
    });
    Stop { place, event, reason: error.to_string(), at }
}
