//! Where the events of parked documents wait.

use async_trait::async_trait;

use crate::{
    document::DocumentKey,
    error::Result,
    guard::MarkNumber,
    parking::{Lot, ParkedEvent, ParkedOrder},
};

/// Parked events by lot, document and order; and of each document the highest mark that was closed.
///
/// Lanes append the events of a document whose guard carries a mark. A redrive lists them, applies them, removes them,
/// and closes the mark when none is left; several may do so at once. Acknowledged means synced to disk. Of what changes
/// something `Transient` leaves unknown how much of it was done, of a document's events that are appended always the first
/// ones: the same call again is always right, since each of them leaves nothing to do for a second one. Where two meet at
/// one document, one of them may be `Transient` for that alone.
#[async_trait]
pub trait ParkingLot: Send + Sync {
    /// Puts the events of each parking iff its mark is open; of those, each that is not there yet. One answer for each
    /// parking, in order; each is judged by itself. Of one with many events, a store may put some and then find the mark
    /// closed: by then those were removed again.
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>>;

    /// At most `limit` events behind `after`, those of one document or of all, by the documents' bytes, then order; a page
    /// without any is the last. Of documents whose keys are longer than a store's keys can be, the order may be another, but
    /// always the same. Those of one document are such as were there at one moment, the total and those of all documents
    /// need not be.
    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage>;

    /// Removes events of a document that are in it, or were discarded. One that is not there is no error.
    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()>;

    /// Closes a document's marks up to this one iff no event of the document is there, so that nothing is appended under
    /// them any more. True if the mark is closed now, or was before; false if events wait.
    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool>;

    /// Forgets everything about a lot: its projection was deleted, or is built anew in another epoch. Until it is done the
    /// lot is not used.
    async fn clear(&self, lot: &Lot) -> Result<()>;
}

/// Events of one document that are to be parked under its mark, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Parking {
    pub document: DocumentKey,
    pub mark: MarkNumber,
    pub events: Vec<ParkedEvent>,
}

/// How a parking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    Done,
    /// The mark is closed: nothing was put that waits, and the mark may be taken off the document.
    Closed,
}

/// Parked events, and how many there are in the whole lot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParkedPage {
    pub events: Vec<ParkedEvent>,
    pub total: u64,
}
