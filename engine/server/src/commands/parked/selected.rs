//! Which parked events are meant.

use std::collections::BTreeMap;

use foldstream_model::{DocumentKey, Event, Lot, ParkedEvent, Timestamp, ports::ParkingLot};

use crate::{cli::ParkedFilter, exit::Outcome};

const PAGE: usize = 200;

/// What is parked of a document.
#[derive(Debug, Clone)]
pub struct ParkedDocument {
    /// All that waits.
    pub events: u64,
    /// Those of them that were asked for.
    pub selected: u64,
    pub since: Timestamp,
    /// The event that stands first.
    pub first: Event,
    /// The first reason that is known.
    pub error: Option<String>,
}

/// The documents that have an event that was asked for.
pub async fn documents(
    parking: &dyn ParkingLot,
    lot: &Lot,
    filter: &ParkedFilter,
) -> Outcome<BTreeMap<DocumentKey, ParkedDocument>> {
    let mut documents: BTreeMap<DocumentKey, ParkedDocument> = BTreeMap::new();
    let mut after: Option<ParkedEvent> = None;
    let only = filter.document.as_deref().map(DocumentKey::new);
    loop {
        let behind = after.as_ref().map(|last| (&last.document, &last.order));
        let page = parking.list(lot, only.as_ref(), behind, PAGE).await?.events;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for parked in &page {
            let event = event_of(parked)?;
            let selected = u64::from(is_selected(parked, &event, filter));
            let known = documents.entry(parked.document.clone()).or_insert_with(|| ParkedDocument {
                events: 0,
                selected: 0,
                since: parked.parked_at,
                first: event,
                error: None,
            });
            known.events += 1;
            known.selected += selected;
            known.since = known.since.min(parked.parked_at);
            known.error = known.error.take().or_else(|| parked.error.clone());
        }
    }
    documents.retain(|_, document| document.selected > 0);
    Ok(documents)
}

/// The events of a document that were asked for, in their order.
pub async fn events(
    parking: &dyn ParkingLot,
    lot: &Lot,
    document: &DocumentKey,
    filter: &ParkedFilter,
) -> Outcome<Vec<ParkedEvent>> {
    let mut selected = Vec::new();
    let mut after: Option<ParkedEvent> = None;
    loop {
        let behind = after.as_ref().map(|last| (&last.document, &last.order));
        let page = parking.list(lot, Some(document), behind, PAGE).await?.events;
        let Some(last) = page.last() else { return Ok(selected) };
        after = Some(last.clone());
        for parked in page {
            if is_selected(&parked, &event_of(&parked)?, filter) {
                selected.push(parked);
            }
        }
    }
}

pub fn event_of(parked: &ParkedEvent) -> Outcome<Event> {
    Ok(Event::from_envelope(&parked.event.clone().into_bytes().into())?)
}

fn is_selected(parked: &ParkedEvent, event: &Event, filter: &ParkedFilter) -> bool {
    let of_stream = filter.stream.as_ref().is_none_or(|stream| event.stream_id.as_str() == stream);
    let of_error = filter
        .error
        .as_ref()
        .is_none_or(|text| parked.error.as_ref().is_some_and(|error| error.contains(text.as_str())));
    let in_time = filter.since.is_none_or(|since| parked.parked_at >= since)
        && filter.until.is_none_or(|until| parked.parked_at < until);
    of_stream && of_error && in_time
}
