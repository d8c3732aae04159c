//! Parked events, and which marks of their documents are closed.
//!
//! A document has a row with its highest closed mark and how many of its events wait, and a row for each of these. All
//! are changed by transactions: an event is put on condition that its mark is open, and a mark is closed on condition
//! that nothing waits. Two that meet at one row are refused or done one after the other; there is nothing that a call
//! which was not answered leaves half done within a transaction, and the same call again goes on where it ended.

mod keys;
mod rows;
mod document;
mod list;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, Lot, MarkNumber, ParkedEvent, ParkedOrder, Result,
    ports::{Parked, ParkedPage, Parking, ParkingLot},
};
use futures::{FutureExt, StreamExt, stream};

use self::document::Document;
use super::{
    partition::{Pages, Range},
    state::{self, Item, SORT, StateTable},
};

/// Documents that are worked on at once by a call.
const AT_ONCE: usize = 8;
/// How often a call judges a document anew that others are changing meanwhile.
const ROUNDS: usize = 8;

/// Attributes of a document's row, and of the rows that share a lot's total.
const CLOSED: &str = "closed";
const WAITING: &str = "waiting";
/// Grows with each change of what waits.
const CHANGES: &str = "changes";

/// Parked events by lot, document and order, as items of the state table.
pub struct DynamoParking {
    table: Arc<StateTable>,
}

impl DynamoParking {
    pub fn new(table: Arc<StateTable>) -> Self {
        Self { table }
    }

    async fn total(&self, lot: &Lot) -> Result<u64> {
        let totals = Pages::new(&self.table, keys::totals(lot), Range::All).all().await?;
        totals.iter().map(|item| state::number_of(item, WAITING)).sum()
    }

    /// Parkings one after the other, each answered with its number in the call.
    async fn park(&self, lot: &Lot, parkings: Vec<(usize, Parking)>) -> Result<Vec<(usize, Parked)>> {
        let mut parked = Vec::with_capacity(parkings.len());
        for (at, Parking { document, mark, events }) in parkings {
            let document = Document::new(&self.table, lot, keys::document(&document));
            parked.push((at, document.append(mark, events).await?));
        }
        Ok(parked)
    }

    /// Of all documents, behind an event of one of them.
    async fn events(
        &self,
        lot: &Lot,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>> {
        let mut events = Vec::new();
        let mut range = Range::All;
        if let Some((document, order)) = after {
            let document = Document::new(&self.table, lot, keys::document(document));
            let (listed, more) = document.some(Some(order), limit).await?;
            if more || listed.len() >= limit {
                return Ok(listed);
            }
            (events, range) = (listed, Range::Behind(document.name));
        }
        let mut documents = Pages::new(&self.table, keys::documents(lot), range);
        while let Some(rows) = documents.next(usize::MAX).await? {
            let waiting = self.waiting(lot, &rows)?;
            let listed: Vec<_> = waiting.iter().map(|document| document.some(None, limit).boxed()).collect();
            let mut listed = stream::iter(listed).buffered(AT_ONCE);
            while let Some(of_document) = listed.next().await {
                let (of_document, more) = of_document?;
                events.extend(of_document);
                if more || events.len() >= limit {
                    events.truncate(limit);
                    return Ok(events);
                }
            }
        }
        Ok(events)
    }

    /// The documents, of these rows, of which events wait.
    fn waiting(&self, lot: &Lot, rows: &[Item]) -> Result<Vec<Document<'_>>> {
        let mut documents = Vec::with_capacity(rows.len());
        for row in rows {
            if state::number_of(row, WAITING)? > 0 {
                documents.push(Document::new(&self.table, lot, state::text_of(row, SORT)?.to_owned()));
            }
        }
        Ok(documents)
    }
}

#[async_trait]
impl ParkingLot for DynamoParking {
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>> {
        // Those that count in one row go one after the other, as they would get into each other's way.
        let mut groups: BTreeMap<String, Vec<(usize, Parking)>> = BTreeMap::new();
        for (at, parking) in parkings.into_iter().enumerate() {
            let total = keys::total(&keys::document(&parking.document));
            groups.entry(total).or_default().push((at, parking));
        }
        let groups = groups.into_values().map(|group| self.park(lot, group));
        // Each to its end, so that the next try of the call finds less to do.
        let ended: Vec<Result<_>> = stream::iter(groups).buffer_unordered(AT_ONCE).collect().await;
        let mut parked = ended.into_iter().collect::<Result<Vec<_>>>()?.concat();
        parked.sort_unstable_by_key(|(at, _)| *at);
        Ok(parked.into_iter().map(|(_, parked)| parked).collect())
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        let total = self.total(lot).await?;
        let events = match document {
            _ if limit == 0 => Vec::new(),
            Some(key) => {
                let document = Document::new(&self.table, lot, keys::document(key));
                document.list(after.map(|(_, order)| order), limit).await?
            }
            None => self.events(lot, after, limit).await?,
        };
        Ok(ParkedPage { events, total })
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        Document::new(&self.table, lot, keys::document(document)).remove(orders).await
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        Document::new(&self.table, lot, keys::document(document)).close(mark).await
    }

    /// A document's row goes last, as its events are found by it.
    async fn clear(&self, lot: &Lot) -> Result<()> {
        let mut documents = Pages::new(&self.table, keys::documents(lot), Range::All).only("pk, sk");
        while let Some(items) = documents.next(usize::MAX).await? {
            for item in &items {
                self.table.delete_partition(&keys::events(lot, state::text_of(item, SORT)?)).await?;
            }
            self.table.delete_items(&items).await?;
        }
        self.table.delete_partition(&keys::pieces(lot)).await?;
        self.table.delete_partition(&keys::totals(lot)).await
    }
}
