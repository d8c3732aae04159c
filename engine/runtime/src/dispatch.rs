//! dispatch: which documents each event touches, and to which lane each touch goes.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use foldstream_model::{
    Error, ErrorKind, Event, OnFailure, ParkedStream, Place, ProjectionId, ReEntry, RefusedEvent, Result,
    Stop, Timestamp, Value,
    ports::{StateCarried, Touch},
};

use crate::{
    assembly::ProjectionSpec,
    budget::Hold,
    fold::States,
    guard::Origin,
    lanes::{Delivery, lane_of},
    order::Placed,
    progress::BatchId,
    pure,
    streams::{Streams, Turn},
    subscription::{Recorded, Subscription},
    trial::{self, Attempt},
    trying::{Trials, Tried},
    upcast::{self, OnNewerSchema},
};

/// Events that one record batch released, with the states of every reducer; shared by all projections of a reading.
#[derive(Clone)]
pub struct Released {
    pub end: Place,
    pub placed: Vec<Placed>,
    /// By reducer, for each event in turn.
    pub folded: BTreeMap<Arc<str>, Vec<Result<States>>>,
    /// The stream that comes back to one of the projections behind these events.
    pub re_entry: Option<(Place, ReEntry)>,
    /// By place.
    pub forks: Vec<Refused>,
    pub recorded: Option<Recorded>,
    /// When the source was asked, if this ended at the shard's tip.
    pub tip: Option<Timestamp>,
    /// What the source stated with it.
    pub low_watermark: Option<Timestamp>,
    pub hold: Arc<Hold>,
}

/// An event that is not taken, as another has its sequence.
#[derive(Clone)]
pub struct Refused {
    pub placed: Placed,
    pub error: Error,
    /// It is durable beside the documents: who parks or discards what cannot be taken goes on.
    pub is_kept: bool,
    /// An operator has left it out: everybody goes on.
    pub is_left_out: bool,
}

/// A batch as one projection sees it: its touches, what is set aside, and the poison behind them.
#[derive(Default)]
pub struct Dispatched {
    pub touches: Vec<Touched>,
    pub aside: Aside,
    pub poison: Option<(Place, Error)>,
    /// Up to here only: an event was discarded, by which the states of those that follow it in its stream are others; no more
    /// are tried together; or there is a fork.
    pub rest: Option<Place>,
    /// What this one would decide about the stream of that fork.
    pub fork: Option<ParkedStream>,
}

/// What must be durable before anything of its batch goes on.
#[derive(Default)]
pub struct Aside {
    /// Streams that are parked from here on.
    pub parked: Vec<ParkedStream>,
    /// Events that wait with their streams, in order, and why if that is known.
    pub waiting: Vec<(Placed, Option<Error>)>,
    /// Events that could not be taken, and have no effect.
    pub discarded: Vec<(Placed, Error)>,
}

/// One touch and the event that it comes from.
pub struct Touched {
    /// Index of the event in the batch.
    pub event: usize,
    /// What is set aside of it when its document cannot take it, if it is set aside.
    carried: Option<Arc<StateCarried>>,
    pub touch: Touch,
}

impl Dispatched {
    /// Nothing from this place on goes on.
    pub fn stop_at(&mut self, released: &Released, place: Place, error: Error) {
        self.touches.retain(|touched| released.placed[touched.event].place < place);
        self.poison = Some((place, error));
    }
}

impl Dispatched {
    /// What follows in the stream of a fork builds on one of two events: it waits until an operator has seen that. True: nothing
    /// goes on; or not until it is decided what becomes of the stream.
    fn stops_at(
        &mut self,
        fork: &Refused,
        last: &Place,
        on_failure: OnFailure,
        streams: &mut Streams,
        now: Timestamp,
    ) -> bool {
        let goes_on = fork.is_left_out || (fork.is_kept && on_failure != OnFailure::Stop);
        if !goes_on {
            self.poison = Some((fork.placed.place.clone(), fork.error.clone()));
            return true;
        }
        let parks = on_failure == OnFailure::Park && !fork.is_left_out;
        self.fork = streams.at_fork(&fork.placed, &fork.error, now, parks);
        self.rest = self.fork.as_ref().map(|_| last.clone());
        self.fork.is_some()
    }
}

impl Released {
    /// The events behind a place, and their number in the batch.
    fn behind<'a>(&'a self, from: &'a Place) -> impl Iterator<Item = (usize, &'a Placed)> {
        self.placed.iter().enumerate().filter(move |(_, placed)| placed.place > *from)
    }

    /// Which of the events behind `from` may be handed to the projector now.
    pub async fn tried(&self, trials: &Trials, projection: &ProjectionId, from: &Place) -> Result<Tried> {
        let behind: Vec<_> = match trials.is_on() {
            true => self.behind(from).map(|(_, placed)| &placed.event).collect(),
            false => Vec::new(),
        };
        let attempt = |index: usize| Attempt::Touch {
            projection: projection.clone(),
            stream: behind[index].stream_id.clone(),
            sequence: behind[index].sequence,
        };
        match behind.len() {
            0 => Ok(Tried::all(usize::MAX)),
            number => trials.next(number, attempt).await,
        }
    }

    /// What the events behind `from` touch, up to the first poison that is not set aside, or to the last that is tried.
    pub fn dispatch(
        &self,
        subscription: &Subscription,
        from: &Place,
        tried: &Tried,
        streams: &mut Streams,
        now: Timestamp,
    ) -> Dispatched {
        let mut dispatched = Dispatched::default();
        dispatched.touches.reserve(self.placed.len());
        let mut scratch = Vec::new();
        let on_failure = subscription.on_failure();
        let mut forks = self.forks.iter().filter(|fork| fork.placed.place > *from).peekable();
        let mut last = from;
        for (number, (index, placed)) in self.behind(from).enumerate() {
            if number == tried.count {
                dispatched.rest = Some(last.clone());
                return dispatched;
            }
            while let Some(fork) = forks.next_if(|fork| fork.placed.place <= placed.place) {
                if dispatched.stops_at(fork, last, on_failure, streams, now) {
                    return dispatched;
                }
            }
            last = &placed.place;
            match streams.turn(placed) {
                Turn::Take => {}
                Turn::LeaveOut => continue,
                Turn::Wait => {
                    dispatched.aside.waiting.push((placed.clone(), None));
                    continue;
                }
            }
            // A type that nobody knows waits for a definition that knows it, whatever becomes of what cannot be taken.
            let (touched, on_failure) = match unknown_type(&subscription.projection.spec, &placed.event) {
                Err(unknown) => (Err(unknown), OnFailure::Park),
                Ok(()) => self.touch_or_fail(subscription, index, tried, &mut scratch),
            };
            match (touched, on_failure) {
                (Ok(carried), _) => dispatched.touches.extend(scratch.drain(..).map(|touch| Touched {
                    event: index,
                    carried: carried.clone(),
                    touch,
                })),
                (Err(error), _) if error.kind() != ErrorKind::Poison => {
                    dispatched.poison = Some((placed.place.clone(), error));
                    return dispatched;
                }
                (Err(error), OnFailure::Park) => {
                    dispatched.aside.parked.push(streams.park(placed, &error, now));
                    dispatched.aside.waiting.push((placed.clone(), Some(error)));
                }
                (Err(error), OnFailure::Discard) => {
                    streams.leave_out(placed.event.stream_id.hash(), placed.event.sequence);
                    dispatched.aside.discarded.push((placed.clone(), error));
                    if subscription.projection.spec.reducer.is_some() {
                        dispatched.rest = Some(placed.place.clone());
                        return dispatched;
                    }
                }
                (Err(error), OnFailure::Stop) => {
                    dispatched.poison = Some((placed.place.clone(), error));
                    return dispatched;
                }
            }
        }
        forks.any(|fork| dispatched.stops_at(fork, last, on_failure, streams, now));
        dispatched
    }

    /// As [`Released::touch`], with what becomes of an event that cannot be taken.
    fn touch_or_fail(
        &self,
        subscription: &Subscription,
        index: usize,
        tried: &Tried,
        touches: &mut Vec<Touch>,
    ) -> (Result<Option<Arc<StateCarried>>>, OnFailure) {
        let (configured, ordering) = (subscription.on_failure(), subscription.projection.spec.ordering);
        let touched = self.touch(subscription, index, tried, touches);
        let failed = touched.as_ref().err().map(|error| match upcast::on_newer_schema(error) {
            Some(OnNewerSchema::Wait) => OnFailure::Stop,
            Some(OnNewerSchema::Park) => OnFailure::Park,
            _ => trial::on_failure(configured, ordering, error),
        });
        (touched, failed.unwrap_or(configured))
    }

    /// Appends what the event touches; gives it with its states where it may have to be set aside. An event that could not
    /// be folded is poison whether the projection handles it or not, as no state of its stream is known from there on.
    fn touch(
        &self,
        subscription: &Subscription,
        index: usize,
        tried: &Tried,
        touches: &mut Vec<Touch>,
    ) -> Result<Option<Arc<StateCarried>>> {
        let event = &self.placed[index].event;
        let spec = &subscription.projection.spec;
        let (before, state) = match &spec.reducer {
            None => (Value::Null, Value::Null),
            Some(named) => self.states(&named.name, index)?,
        };
        if !spec.projector.event_types().contains(&event.event_type) {
            return Ok(None);
        }
        if !upcast::is_taken(event)? {
            return Ok(None);
        }
        if let Some(guilty) = &tried.guilty {
            return Err(guilty.clone());
        }
        let carried = StateCarried { event: event.clone(), before, state };
        pure::guarded("the projector", || spec.projector.touch(&carried, touches))
            .inspect_err(|_| touches.clear())?;
        let is_kept = spec.on_failure != OnFailure::Stop && !touches.is_empty();
        Ok(is_kept.then(|| Arc::new(carried)))
    }

    fn states(&self, reducer: &Arc<str>, index: usize) -> Result<(Value, Value)> {
        match self.folded.get(reducer).and_then(|folded| folded.get(index)) {
            Some(Ok(states)) => Ok((states.before.clone(), states.after.clone())),
            Some(Err(error)) => Err(error.clone()),
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

/// Poison of a type that the projection neither handles nor is told to ignore.
fn unknown_type(spec: &ProjectionSpec, event: &Event) -> Result<()> {
    let Some(known) = &spec.known_types else { return Ok(()) };
    let of = &event.event_type;
    let is_reduced = spec.reducer.as_ref().is_some_and(|named| named.reducer.event_types().contains(of));
    match known.contains(of) || is_reduced || spec.projector.event_types().contains(of) {
        true => Ok(()),
        false => Err(Error::poison(format!(
            "type={of} is neither handled nor in the source's `types`: add it to one of them, take that over with `foldstream projections amend`, and let the stream come back with `foldstream parked redrive`"
        ))),
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
