//! Parked events in a map.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, Lot, MarkNumber, ParkedEvent, ParkedOrder, Result,
    ports::{Parked, ParkedPage, Parking, ParkingLot},
};

/// Parked events by lot, document and order.
#[derive(Default)]
pub struct MemoryParking {
    lots: Mutex<BTreeMap<Lot, Held>>,
}

#[derive(Default)]
struct Held {
    events: BTreeMap<(DocumentKey, ParkedOrder), ParkedEvent>,
    closed: BTreeMap<DocumentKey, MarkNumber>,
}

impl MemoryParking {
    fn lots(&self) -> MutexGuard<'_, BTreeMap<Lot, Held>> {
        self.lots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All parked events, at once.
    pub fn all(&self) -> Vec<(Lot, ParkedEvent)> {
        let lots = self.lots();
        let events = lots
            .iter()
            .flat_map(|(lot, held)| held.events.values().map(|event| (lot.clone(), event.clone())));
        events.collect()
    }
}

impl Held {
    fn is_closed(&self, document: &DocumentKey, mark: MarkNumber) -> bool {
        self.closed.get(document).is_some_and(|closed| mark <= *closed)
    }

    fn append(&mut self, parking: Parking) -> Parked {
        if self.is_closed(&parking.document, parking.mark) {
            return Parked::Closed;
        }
        for event in parking.events {
            let key = (parking.document.clone(), event.order.clone());
            self.events.entry(key).or_insert(event);
        }
        Parked::Done
    }
}

#[async_trait]
impl ParkingLot for MemoryParking {
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>> {
        let mut lots = self.lots();
        let held = lots.entry(lot.clone()).or_default();
        Ok(parkings.into_iter().map(|parking| held.append(parking)).collect())
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        let lots = self.lots();
        let Some(held) = lots.get(lot) else { return Ok(ParkedPage::default()) };
        let behind = held.events.values().filter(|event| {
            document.is_none_or(|document| event.document == *document)
                && after.is_none_or(|after| (&event.document, &event.order) > after)
        });
        Ok(ParkedPage { events: behind.take(limit).cloned().collect(), total: held.events.len() as u64 })
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        let mut lots = self.lots();
        let held = lots.entry(lot.clone()).or_default();
        for order in orders {
            held.events.remove(&(document.clone(), order.clone()));
        }
        Ok(())
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        let mut lots = self.lots();
        let held = lots.entry(lot.clone()).or_default();
        if held.is_closed(document, mark) {
            return Ok(true);
        }
        if held.events.keys().any(|(of, _)| of == document) {
            return Ok(false);
        }
        held.closed.insert(document.clone(), mark);
        Ok(true)
    }

    async fn clear(&self, lot: &Lot) -> Result<()> {
        self.lots().remove(lot);
        Ok(())
    }
}
