//! Streams that a projection parks, and how they come back. What `streams` decides is durable before anything behind it goes
//! on.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use foldstream_model::{
    DocumentKey, Error, ErrorKind, Event, LeftOut, MarkNumber, ParkedEvent, ParkedOrder, ParkedStream, Place,
    ReEntry, Result, ShardNumber, StreamId, Timestamp, Value, ports::Parking,
};

use super::{Line, ShardContext};
use crate::{
    dispatch::{Aside, Dispatched, Released},
    fold::Fold,
    metrics,
    order::Placed,
    parking, retry,
    rows::streams::LeftOutEvent,
    streams::{self, OfProjection, Streams, Territory},
    subscription::{Active, Recorded, Subscription},
};

/// Parked events that are read or written at once.
const PAGE: usize = 100;
/// Streams come back by a place, not by the closing of a mark.
const MARK: MarkNumber = MarkNumber(1);

/// What of a line is one projection's own.
#[derive(Default)]
pub struct Apart {
    pub streams: Streams,
    /// Folds streams that came back, and those of which events are left out.
    fold: Option<Fold>,
    /// What came back and is still in the lot.
    returned: Vec<Returned>,
}

/// Events that came back at a place. They leave the lot once the checkpoint is behind it: whoever begins before it needs them
/// there.
pub(super) struct Returned {
    at: Place,
    stream: DocumentKey,
    orders: Vec<ParkedOrder>,
}

impl Apart {
    /// What is parked of a projection at a place of a shard. `is_settled`: so is all that stands in its ancestors.
    pub(super) async fn load(
        context: &ShardContext,
        projection: &Active,
        place: &Place,
        is_settled: bool,
    ) -> Result<Self> {
        let (rows, lot) = (&context.rows, &projection.streams_lot);
        // First what is left out: of each such event, the parking that it waited in is there then.
        let left_out: BTreeSet<_> = rows.left_out(lot).await?.into_keys().collect();
        let mut parked = rows.parked_streams(lot).await?;
        if !parked.is_empty() {
            let territory = territory(context).await?;
            let source = &context.source.source;
            parked.retain(|parked| territory.takes(parked, source.hash_key(&parked.partition_key)));
        }
        let streams = Streams::at(context.known.number, place, parked.clone(), left_out);
        let here = streams.order_of(place);
        let is_over =
            |until: &ParkedOrder| *until <= here && (is_settled || until.shard == context.known.number);
        parked.retain(|parked| !parked.is_void() && parked.until.as_ref().is_some_and(is_over));
        remove_returned(context, projection, &parked).await?;
        Ok(Self { streams, ..Self::default() })
    }

    /// What may leave the lot once the checkpoint is at a place.
    pub(super) fn take_returned(&mut self, settled: &Place) -> Vec<Returned> {
        let (settled, rest) = mem::take(&mut self.returned).into_iter().partition(|back| back.at <= *settled);
        self.returned = rest;
        settled
    }
}

/// What came back of these before the checkpoint is settled. It is still in the lot if a worker has ended before it removed it,
/// or put it there again, as it was behind.
async fn remove_returned(context: &ShardContext, projection: &Active, parked: &[ParkedStream]) -> Result<()> {
    let (parking, lot) = (&context.services.parking, &projection.streams_lot);
    if parked.is_empty() || parking.list(lot, None, None, 0).await?.total == 0 {
        return Ok(());
    }
    for parked in parked {
        let orders: Vec<_> =
            waiting(context, projection, parked).await?.into_iter().map(|event| event.order).collect();
        if !orders.is_empty() {
            parking.remove(lot, &document(&parked.stream), &orders).await?;
        }
    }
    Ok(())
}

/// The checkpoint is behind the place where these came back.
pub(super) async fn remove(context: &ShardContext, projection: &Active, returned: &[Returned]) -> Result<()> {
    for Returned { stream, orders, .. } in returned {
        context.services.parking.remove(&projection.streams_lot, stream, orders).await?;
    }
    Ok(())
}

/// A batch as one projection sees it, in parts.
pub(super) type Parts = Vec<(Arc<Released>, Dispatched)>;

impl Line {
    /// What a batch is to one projection; what it sets aside is durable then. `Fenced`: what is set aside is no longer this
    /// process' to judge.
    pub(super) async fn dispatch_to(&mut self, index: usize, released: &Arc<Released>) -> Result<Parts> {
        let mut apart = mem::take(&mut self.subscribers[index].apart);
        let (subscription, from) =
            (self.subscribers[index].subscription.clone(), self.subscribers[index].from.clone());
        let now = self.context.services.clock.now();
        let batch = released.clone();
        let mut parts =
            self.dispatch_all(&mut apart, &subscription, batch, from.clone(), (true, now)).await?;
        let goes_on = parts.iter().all(|(_, dispatched)| dispatched.poison.is_none());
        if let Some((at, entry)) = released.re_entry.as_ref().filter(|(at, _)| goes_on && *at > from)
            && subscription.projection.spec.id == entry.projection
            && subscription.projection.streams_lot.epoch == entry.epoch
        {
            parts.extend(self.re_enter(&mut apart, &subscription, released, (at, entry), now).await?);
        }
        self.subscribers[index].apart = apart;
        Ok(parts)
    }

    /// Every event that is discarded changes the states of those behind it in its stream: what follows is dispatched by
    /// those. What is tried is dispatched in parts, too, and what follows a fork.
    async fn dispatch_all(
        &mut self,
        apart: &mut Apart,
        subscription: &Arc<Subscription>,
        released: Arc<Released>,
        mut from: Place,
        (is_new, now): (bool, Timestamp),
    ) -> Result<Parts> {
        let mut parts = Parts::new();
        loop {
            let seen = self.as_seen_by(apart, subscription, &released, &from).await?;
            let spec = &subscription.projection.spec;
            let tried = seen.tried(&self.context.trials, &spec.id, &from).await?;
            let mut dispatched = seen.dispatch(subscription, &from, &tried, &mut apart.streams, now);
            self.context.trials.came_back(tried).await?;
            self.set_aside(subscription, &seen, &mut dispatched, is_new, now).await?;
            if dispatched.poison.is_none()
                && let Some(fork) = dispatched.fork.take()
            {
                apart.streams.expect(self.decide_fork(&subscription.projection, fork).await?);
            }
            let rest = dispatched.rest.take().filter(|_| dispatched.poison.is_none());
            parts.push((seen, dispatched));
            let Some(rest) = rest else { return Ok(parts) };
            from = rest;
        }
    }

    /// The batch with the projection's own states of the streams of which it leaves events out.
    async fn as_seen_by(
        &mut self,
        apart: &mut Apart,
        subscription: &Subscription,
        released: &Arc<Released>,
        from: &Place,
    ) -> Result<Arc<Released>> {
        let Some(named) = &subscription.projection.spec.reducer else { return Ok(released.clone()) };
        let is_apart = |placed: &Placed| apart.streams.is_apart(placed.event.stream_id.hash());
        if !apart.streams.has_apart() || !released.placed.iter().any(is_apart) {
            return Ok(released.clone());
        }
        let mut seen = Released::clone(released);
        let Apart { streams, fold, .. } = apart;
        let fold = fold.get_or_insert_with(|| self.context.fold(named));
        let left_out = OfProjection { order: &self.order, streams };
        let folded = seen.folded.entry(named.name.clone()).or_default();
        for (placed, states) in released.placed.iter().zip(folded) {
            if placed.place > *from && streams.is_apart(placed.event.stream_id.hash()) {
                *states = fold.fold_one(&placed.event, &left_out).await?;
            }
        }
        Ok(Arc::new(seen))
    }

    /// Makes durable what is parked, waits or is discarded. Where more would be parked than may be, the projection stops.
    async fn set_aside(
        &self,
        subscription: &Subscription,
        released: &Released,
        dispatched: &mut Dispatched,
        is_new: bool,
        now: Timestamp,
    ) -> Result<()> {
        let Aside { parked, waiting, discarded } = mem::take(&mut dispatched.aside);
        let (context, lot) = (&self.context, &subscription.projection.streams_lot);
        let (rows, spec) = (&context.rows, &subscription.projection.spec);
        for (placed, error) in &discarded {
            let event = LeftOutEvent {
                error: Some(error.to_string()),
                ..left_out(&placed.event, "on_failure: discard".to_owned(), None, now)?
            };
            tracing::warn!(projection = %lot.projection, stream = %event.stream, sequence = event.sequence.0, %error, "it cannot be told which documents an event touches: it is discarded");
            retry::until_done("recording a discarded event", || rows.leave_out(spec, lot, &event)).await?;
            metrics::discarded(lot.projection.name.as_str(), 1);
        }
        let Some((first, _)) = waiting.first() else { return Ok(()) };
        let parkings = match self.parkings(&subscription.projection, &waiting, is_new, now).await {
            Err(error) if error.kind() == ErrorKind::Poison => {
                dispatched.stop_at(released, first.place.clone(), error);
                return Ok(());
            }
            parkings => parkings?,
        };
        // First where it begins: what waits is found by that.
        for parked in &parked {
            tracing::warn!(projection = %lot.projection, stream = %parked.stream, sequence = parked.sequence.0, error = %parked.error, "it cannot be told which documents an event touches: its stream is parked");
            retry::until_done("parking a stream", || rows.park_stream(spec, lot, parked)).await?;
        }
        metrics::parked(lot.projection.name.as_str(), waiting.len());
        for parking in parkings {
            context.services.parking.append(lot, vec![parking]).await?;
        }
        Ok(())
    }

    /// What becomes of the stream of a fork.
    async fn decide_fork(&self, projection: &Active, fork: ParkedStream) -> Result<ParkedStream> {
        let (rows, spec, lot) = (&self.context.rows, &projection.spec, &projection.streams_lot);
        let decide = || rows.decide_fork(spec, lot, &fork);
        let decided = retry::until_done("deciding about a fork", decide).await?;
        if decided == fork && !decided.is_void() {
            tracing::warn!(projection = %lot.projection, stream = %decided.stream, sequence = decided.sequence.0, error = %decided.error, "two events have one sequence: the stream is parked");
        }
        Ok(decided)
    }

    /// Events as they go into the lot. Poison: no more may be parked, or one of them has no form that can be kept.
    async fn parkings(
        &self,
        projection: &Active,
        waiting: &[(Placed, Option<Error>)],
        is_new: bool,
        now: Timestamp,
    ) -> Result<Vec<Parking>> {
        if is_new {
            refuse_beyond_limit(&self.context, projection, waiting.len()).await?;
        }
        let mut by_stream: BTreeMap<DocumentKey, Vec<ParkedEvent>> = BTreeMap::new();
        for (placed, error) in waiting {
            let parked = parked_event(self.context.known.number, placed, error.as_ref(), now)?;
            by_stream.entry(parked.document.clone()).or_default().push(parked);
        }
        let mut parkings = Vec::new();
        for (document, events) in &by_stream {
            let parking = |events: &[ParkedEvent]| Parking {
                document: document.clone(),
                mark: MARK,
                events: events.to_vec(),
            };
            parkings.extend(events.chunks(PAGE).map(parking));
        }
        Ok(parkings)
    }

    /// The stream comes back: what waits is taken now, one event after the other, up to the next that cannot be.
    async fn re_enter(
        &mut self,
        apart: &mut Apart,
        subscription: &Arc<Subscription>,
        released: &Released,
        (at, entry): (&Place, &ReEntry),
        now: Timestamp,
    ) -> Result<Parts> {
        let stream = entry.stream.hash();
        let Some(parked) = apart.streams.re_enter(stream, at) else { return Ok(Parts::new()) };
        let (context, projection) = (self.context.clone(), subscription.projection.clone());
        let lot = &projection.streams_lot;
        let end = || context.rows.end_parked(lot, &parked);
        retry::until_done("letting a parked stream come back", end).await?;
        let waiting = waiting(&context, &projection, &parked).await?;
        // Another may have been here before, and have taken away by now what it has decided about.
        let known_left_out = context.rows.left_out(lot).await?.into_keys();
        apart.streams.learn(stream, at, context.rows.parked_streams(lot).await?, known_left_out);
        let orders = waiting.iter().map(|event| event.order.clone()).collect();
        apart.returned.push(Returned { at: at.clone(), stream: document(&parked.stream), orders });
        let events = self.come_back(&parked, waiting, at)?;
        if let Some(without) = &entry.without {
            for event in events.iter().map(|placed| &placed.event) {
                if without.sequences.contains(&event.sequence) {
                    let LeftOut { who, reason, .. } = without;
                    let event = left_out(event, who.clone(), reason.clone(), without.at)?;
                    let put = || context.rows.leave_out(&projection.spec, lot, &event);
                    retry::until_done("recording a discarded event", put).await?;
                    apart.streams.leave_out(stream, event.sequence);
                }
            }
        }
        let batch = Arc::new(self.fold_returned(apart, &projection, events, released).await?);
        self.dispatch_all(apart, subscription, batch, Place::BEGINNING, (false, now)).await
    }

    /// The events that come back, each once, in their order, at the entry.
    fn come_back(&self, parked: &ParkedStream, waiting: Vec<ParkedEvent>, at: &Place) -> Result<Vec<Placed>> {
        let mut events = BTreeMap::new();
        for waiting in waiting {
            let mut event = Event::from_envelope(&Bytes::from(waiting.event.into_bytes()))?;
            self.context.intake.prepare(&mut event)?;
            let raised_at = waiting.raised_at.unwrap_or(event.recorded_at);
            events.insert(event.sequence, (event, raised_at));
        }
        let partition_key: Arc<str> = parked.partition_key.as_str().into();
        let placed = |(event, raised_at): (Event, Timestamp)| Placed {
            place: streams::place_in(at, event.sequence),
            raised_at,
            event: event.into(),
            partition_key: partition_key.clone(),
        };
        Ok(events.into_values().map(placed).collect())
    }

    async fn fold_returned(
        &mut self,
        apart: &mut Apart,
        projection: &Active,
        placed: Vec<Placed>,
        released: &Released,
    ) -> Result<Released> {
        let mut folded = BTreeMap::new();
        if let (Some(named), Some(first)) = (&projection.spec.reducer, placed.first()) {
            let stream = first.event.stream_id.hash();
            if let Some(shared) = self.folds.get_mut(&named.name) {
                shared.forget(stream);
            }
            let Apart { streams, fold, .. } = apart;
            let fold = fold.get_or_insert_with(|| self.context.fold(named));
            fold.forget(stream);
            let left_out = OfProjection { order: &self.order, streams };
            folded.insert(named.name.clone(), fold.fold(&placed, &left_out).await?);
        }
        Ok(Released {
            end: released.end.clone(),
            recorded: Recorded::of(placed.iter().map(|placed| &*placed.event)),
            placed,
            folded,
            re_entry: None,
            forks: Vec::new(),
            tip: None,
            low_watermark: None,
            hold: released.hold.clone(),
        })
    }
}

/// The events of a parked stream that wait in the lot, in order.
async fn waiting(
    context: &ShardContext,
    projection: &Active,
    parked: &ParkedStream,
) -> Result<Vec<ParkedEvent>> {
    let (lot, document) = (&projection.streams_lot, document(&parked.stream));
    let mut events: Vec<ParkedEvent> = Vec::new();
    let mut after = None;
    loop {
        let behind = after.as_ref().map(|order| (&document, order));
        let page = context.services.parking.list(lot, Some(&document), behind, PAGE).await?.events;
        let Some(last) = page.last() else { break };
        after = Some(last.order.clone());
        events.extend(page);
    }
    events.retain(|event| {
        event.order >= parked.since && parked.until.as_ref().is_none_or(|until| event.order < *until)
    });
    Ok(events)
}

async fn territory(context: &ShardContext) -> Result<Territory> {
    let lineage = context.rows.source(&context.source.name).await?.map(|stored| stored.body);
    let mut ancestors = BTreeSet::new();
    let mut parents = context.shard.parents.clone();
    while let Some(parent) = parents.pop() {
        let Some(known) = lineage.as_ref().and_then(|lineage| lineage.get(&parent)) else { continue };
        if ancestors.insert(known.number) {
            parents.extend(known.parents.iter().cloned());
        }
    }
    Ok(Territory { shard: context.known.number, ancestors, range: context.shard.range })
}

async fn refuse_beyond_limit(context: &ShardContext, projection: &Active, more: usize) -> Result<()> {
    let (parking, limit) = (&context.services.parking, context.settings.parked_events as u64);
    let parked = parking::total(parking.as_ref(), &projection.spec.id, projection.streams_lot.epoch).await?;
    let then = parked + more as u64;
    if then > limit {
        return Err(parking::full_of_streams(parked, limit));
    }
    parking::warn_before_limit(&projection.spec.id, parked, then, limit);
    Ok(())
}

fn document(stream: &StreamId) -> DocumentKey {
    DocumentKey::new(stream.as_str())
}

fn parked_event(
    shard: ShardNumber,
    placed: &Placed,
    error: Option<&Error>,
    at: Timestamp,
) -> Result<ParkedEvent> {
    Ok(ParkedEvent {
        document: document(&placed.event.stream_id),
        order: ParkedOrder { key: None, shard, place: placed.place.clone() },
        event: envelope(&placed.event)?,
        before: Value::Null,
        state: Value::Null,
        error: error.map(ToString::to_string),
        raised_at: (placed.raised_at != placed.event.recorded_at).then_some(placed.raised_at),
        parked_at: at,
    })
}

fn left_out(event: &Event, who: String, reason: Option<String>, at: Timestamp) -> Result<LeftOutEvent> {
    let (stream, sequence) = (event.stream_id.clone(), event.sequence);
    Ok(LeftOutEvent { stream, sequence, event: envelope(event)?, error: None, who, reason, at })
}

/// Poison when there is no such form of it.
fn envelope(event: &Event) -> Result<String> {
    let envelope = event.to_envelope().map_err(|error| Error::poison(error.to_string()))?;
    String::from_utf8(envelope).map_err(|error| Error::internal(format!("an event is no text: {error}")))
}
