//! Events that lanes set aside: into the lot, or recorded as discarded.

use std::{collections::BTreeSet, mem, sync::Arc};

use foldstream_model::{
    DocumentKey, Lot, Ordering, ParkedOrder, Result, Timestamp,
    ports::{Parked, Parking, ParkingLot},
};

use super::{Answer, Running};
use crate::{
    lanes::{Discard, ParkAnswer, ParkRequest, SetAside},
    metrics, parking, retry,
    rows::{self, DiscardRow, Rows},
};

/// Where a lane sets events aside.
#[derive(Clone)]
pub struct Aside {
    pub parking: Arc<dyn ParkingLot>,
    pub lot: Lot,
    pub ordering: Ordering,
    /// How many events may be parked of the projection.
    pub limit: usize,
}

/// Parked events that are listed at once.
const PAGE: usize = 1_000;

impl Running {
    pub(super) fn has_aside(&self) -> bool {
        !self.parking.is_empty() || !self.discards.is_empty()
    }

    /// What is set aside is durable before it counts as settled, or before its document moves on.
    pub(super) fn start_aside(&mut self) -> bool {
        if !self.parking.is_empty() {
            let requests = mem::take(&mut self.parking);
            let (aside, at) = (self.task.aside.clone(), self.task.clock.now());
            self.operation = Some(Box::pin(async move {
                let keys = requests.iter().map(|request| request.key.clone()).collect();
                Answer::Parked(keys, park(&aside, requests, at).await)
            }));
            return true;
        }
        if !self.discards.is_empty() {
            let discards = mem::take(&mut self.discards);
            let (rows, aside) = (self.task.rows.clone(), self.task.aside.clone());
            let at = self.task.clock.now();
            self.operation = Some(Box::pin(async move {
                let recorded = record_discards(&rows, &aside, &discards, at).await;
                Answer::Discarded(discards.into_iter().map(|discard| discard.key).collect(), recorded)
            }));
            return true;
        }
        false
    }

    pub(super) fn parked(&mut self, keys: &[DocumentKey], answers: Vec<ParkAnswer>) {
        for (key, answer) in keys.iter().zip(answers) {
            self.task.lane.parked(key, answer);
        }
    }
}

/// Parks what there is room for: of each document the first ones. What is there already takes no more.
async fn park(aside: &Aside, requests: Vec<ParkRequest>, at: Timestamp) -> Result<Vec<ParkAnswer>> {
    let Aside { parking, lot, limit, .. } = aside;
    let before = parking::total(parking.as_ref(), &lot.projection, lot.epoch).await?;
    let (limit, mut total) = (*limit as u64, before);
    let mut answers = Vec::with_capacity(requests.len());
    let mut parkings = Vec::with_capacity(requests.len());
    for request in &requests {
        let mut room = limit.saturating_sub(total);
        let there = match request.events.len() as u64 > room {
            true => waiting(aside, &request.key).await?,
            false => BTreeSet::new(),
        };
        let fits = |event: &&SetAside| {
            let is_there = there.contains(&parking::parked_order(aside.ordering, &event.origin));
            let fits = is_there || room > 0;
            room -= u64::from(fits && !is_there);
            fits
        };
        let first = request.events.iter().take_while(fits).count();
        answers.push(match first {
            0 => ParkAnswer::Full(parking::full(total, limit)),
            first => ParkAnswer::Parked(first),
        });
        parkings.push(parking_of(aside, request, first, at)?);
        total = total.max(limit - room);
    }
    let parked_events = parkings.iter().map(|parking| parking.events.len()).sum();
    let parked = parking.append(lot, parkings).await?;
    for (answer, parked) in answers.iter_mut().zip(parked) {
        if parked == Parked::Closed {
            *answer = ParkAnswer::Closed;
        }
    }
    let name = lot.projection.name.as_str();
    metrics::parked(name, parked_events);
    parking::warn_before_limit(&lot.projection, before, total, limit);
    Ok(answers)
}

/// Where the events of a document stand that are in the lot.
async fn waiting(aside: &Aside, document: &DocumentKey) -> Result<BTreeSet<ParkedOrder>> {
    let mut there = BTreeSet::new();
    loop {
        let after = there.last().map(|order| (document, order));
        let page = aside.parking.list(&aside.lot, Some(document), after, PAGE).await?;
        if page.events.is_empty() {
            return Ok(there);
        }
        there.extend(page.events.into_iter().map(|parked| parked.order));
    }
}

fn parking_of(aside: &Aside, request: &ParkRequest, first: usize, at: Timestamp) -> Result<Parking> {
    let lot = &aside.lot;
    for event in request.events.iter().take(first) {
        if let Some(error) = &event.error {
            let origin = &event.origin;
            tracing::warn!(projection = %lot.projection, document = %request.key, stream = %origin.stream, sequence = origin.sequence.0, %error, "a document cannot take an event: it is parked, with all that follows");
        }
    }
    let event = |event| parking::parked_event(aside.ordering, &request.key, event, at);
    let events = request.events.iter().take(first).map(event);
    let events = events.collect::<Result<_>>()?;
    Ok(Parking { document: request.key.clone(), mark: request.mark, events })
}

async fn record_discards(rows: &Rows, aside: &Aside, discards: &[Discard], at: Timestamp) -> Result<()> {
    let lot = &aside.lot;
    let mut new = 0;
    for discard in discards {
        let event = parking::parked_event(aside.ordering, &discard.key, &discard.event, at)?;
        let (origin, error) = (&discard.event.origin, event.error.clone());
        let key = rows::discard_key(lot, &event.document, &event.order);
        let row = DiscardRow {
            event,
            discard: rows::Discard::Done,
            who: "on_failure: discard".to_owned(),
            reason: None,
            at,
        };
        // A row that is there already was recorded by whoever met the event before.
        let put = || rows.put(&key, None, &row);
        if retry::until_done("recording a discarded event", put).await?.is_some() {
            tracing::warn!(projection = %lot.projection, document = %discard.key, stream = %origin.stream, sequence = origin.sequence.0, error, "a document cannot take an event: it is discarded");
            new += 1;
        }
    }
    metrics::discarded(lot.projection.name.as_str(), new);
    Ok(())
}
