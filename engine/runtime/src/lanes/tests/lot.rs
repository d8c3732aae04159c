//! A lot in memory.

use std::collections::BTreeMap;

use foldstream_model::{DocumentKey, MarkNumber, Ordering, ParkedOrder};

use crate::{
    guard::Origin,
    lanes::{ParkAnswer, ParkRequest},
    parking::parked_order,
};

/// What waits, by document and order, and which marks are closed.
#[derive(Default)]
pub struct Lot {
    pub events: BTreeMap<(DocumentKey, ParkedOrder), Origin>,
    closed: BTreeMap<DocumentKey, MarkNumber>,
}

impl Lot {
    /// Parks at most so many of the events.
    pub fn append(&mut self, ordering: Ordering, request: &ParkRequest, at_most: usize) -> ParkAnswer {
        if self.closed.get(&request.key).is_some_and(|closed| request.mark <= *closed) {
            return ParkAnswer::Closed;
        }
        for event in request.events.iter().take(at_most) {
            let key = (request.key.clone(), parked_order(ordering, &event.origin));
            self.events.entry(key).or_insert_with(|| event.origin.clone());
        }
        ParkAnswer::Parked(at_most.min(request.events.len()))
    }

    pub fn of(&self, document: &DocumentKey) -> impl Iterator<Item = (&ParkedOrder, &Origin)> {
        let of_it = self.events.iter().filter(move |((of, _), _)| of == document);
        of_it.map(|((_, order), parked)| (order, parked))
    }

    pub fn remove(&mut self, document: &DocumentKey, orders: &[ParkedOrder]) {
        for order in orders {
            self.events.remove(&(document.clone(), order.clone()));
        }
    }

    pub fn close(&mut self, document: &DocumentKey, mark: MarkNumber) -> bool {
        let closed = self.closed.get(document).copied().unwrap_or_default();
        let may = mark <= closed || self.of(document).next().is_none();
        if may {
            self.closed.insert(document.clone(), closed.max(mark));
        }
        may
    }
}
