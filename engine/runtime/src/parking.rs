//! Parked events: from a lane into rows, and back from rows into documents.

mod redrive;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use foldstream_model::{
    DocumentKey, Epoch, Error, Event, Lot, OrderKey, Ordering, ParkedEvent, ParkedOrder, ProjectionId,
    Result, Timestamp, ports::ParkingLot,
};

use crate::{guard::Origin, lanes::SetAside};

pub use redrive::{Asked, Decision, Ended, Redrive, Step, Waiting};

/// Of all that may be parked, when this much is, it is said: in hundredths.
const SAID_FROM: u64 = 80;

/// Where an event stands in the lot, by where it comes from.
pub fn parked_order(ordering: Ordering, origin: &Origin) -> ParkedOrder {
    let key = (ordering == Ordering::Global).then(|| origin.order_key());
    ParkedOrder { key, shard: origin.shard, place: origin.place.clone() }
}

/// An event as it waits in the lot.
pub fn parked_event(
    ordering: Ordering,
    document: &DocumentKey,
    event: &SetAside,
    at: Timestamp,
) -> Result<ParkedEvent> {
    let envelope = String::from_utf8(event.carried.event.to_envelope()?);
    let envelope = envelope.map_err(|error| Error::internal(format!("an event is no text: {error}")))?;
    Ok(ParkedEvent {
        document: document.clone(),
        order: parked_order(ordering, &event.origin),
        event: envelope,
        before: event.carried.before.clone(),
        state: event.carried.state.clone(),
        error: event.error.as_ref().map(ToString::to_string),
        raised_at: None,
        parked_at: at,
    })
}

/// How many events of a projection are parked, with their documents or their streams.
pub async fn total(parking: &dyn ParkingLot, projection: &ProjectionId, epoch: Epoch) -> Result<u64> {
    let mut total = 0;
    for lot in [Lot::of_documents(projection, epoch), Lot::of_streams(projection, epoch)] {
        total += parking.list(&lot, None, None, 0).await?.total;
    }
    Ok(total)
}

/// Says, when hardly any room is left, that soon no more may be parked. `of` names whose events or records they are. Who parks at
/// the same time as others may not notice that it has passed the mark.
pub fn warn_before_limit(of: &dyn Display, before: u64, parked: u64, limit: u64) {
    let is_much = |parked: u64| parked * 100 >= limit * SAID_FROM;
    if is_much(parked) && !is_much(before) {
        tracing::warn!(of = %of, parked, limit, "so much is parked that who parks there will stop soon; redrive or discard it, or raise `limits.parked_events`");
    }
}

/// Why no more events of documents, or records, are parked.
pub fn full(parked: u64, limit: u64) -> Error {
    no_more(parked, limit, "mend the cause, then redrive or discard them, or raise `limits.parked_events`")
}

/// Why no more events of streams are parked.
pub fn full_of_streams(parked: u64, limit: u64) -> Error {
    no_more(
        parked,
        limit,
        "raise `limits.parked_events`: a stream that is redriven or discarded comes back only once the projection has read on to there",
    )
}

fn no_more(parked: u64, limit: u64, way_out: &str) -> Error {
    Error::poison(format!("no more events may be parked: parked={parked} limit={limit}; {way_out}"))
}

/// Where a parked event comes from.
pub fn origin_of(parked: &ParkedEvent, event: &Event) -> Origin {
    let raised = parked.order.key.as_ref().map(|OrderKey { recorded_at, .. }| *recorded_at);
    Origin {
        shard: parked.order.shard,
        place: parked.order.place.clone(),
        stream: event.stream_id.clone(),
        sequence: event.sequence,
        event_type: event.event_type.clone(),
        recorded_at: raised.unwrap_or(event.recorded_at),
    }
}
