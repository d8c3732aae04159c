//! Parked events, and which marks of their documents are closed.

use std::sync::Arc;

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, Error, Lot, MarkNumber, ParkedEvent, ParkedOrder, Result,
    ports::{Parked, ParkedPage, Parking, ParkingLot},
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    database::{Database, first_behind, number, sql_integer},
    errors::Failure,
};

/// Parked events by lot, document and order, in the embedded database.
pub struct LocalParking {
    database: Arc<Database>,
}

impl LocalParking {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl ParkingLot for LocalParking {
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>> {
        let lot = lot.row_name();
        let encoded = parkings.iter().map(Encoded::new).collect::<Result<Vec<_>>>()?;
        self.database
            .write(move |transaction| encoded.iter().map(|one| append(transaction, &lot, one)).collect())
            .await
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        let (lot, document) = (lot.row_name(), document.map(DocumentKey::to_string));
        let after = after.map(|(document, order)| (document.to_string(), order.to_bytes()));
        self.database
            .read(move |snapshot| {
                let total = total(snapshot, &lot)?;
                let events = match &document {
                    Some(document) => {
                        let place = after.as_ref().map(|(_, place)| place.as_slice());
                        of_document(snapshot, &lot, document, place, limit)?
                    }
                    None => of_all(snapshot, &lot, after.as_ref(), limit)?,
                };
                Ok(ParkedPage { events, total })
            })
            .await
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        let (lot, document) = (lot.row_name(), document.clone());
        let places: Vec<_> = orders.iter().map(ParkedOrder::to_bytes).collect();
        self.database
            .write(move |transaction| {
                let mut delete = transaction
                    .prepare_cached("DELETE FROM parked WHERE lot = ?1 AND document = ?2 AND place = ?3")?;
                for place in &places {
                    delete.execute(params![lot, document.as_str(), place])?;
                }
                Ok(())
            })
            .await
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        let (lot, document) = (lot.row_name(), document.clone());
        self.database.write(move |transaction| close(transaction, &lot, document.as_str(), mark)).await
    }

    async fn clear(&self, lot: &Lot) -> Result<()> {
        let lot = lot.row_name();
        self.database
            .write(move |transaction| {
                transaction.execute("DELETE FROM parked WHERE lot = ?1", [&lot])?;
                transaction.execute("DELETE FROM closed_marks WHERE lot = ?1", [&lot])?;
                Ok(())
            })
            .await
    }
}

/// A parking in the form of rows, made on the caller's task: the one writer has enough to do.
struct Encoded {
    document: String,
    mark: MarkNumber,
    /// Place and event.
    rows: Vec<(Vec<u8>, String)>,
}

impl Encoded {
    fn new(parking: &Parking) -> Result<Self> {
        let row = |event: &ParkedEvent| match serde_json::to_string(event) {
            Ok(text) => Ok((event.order.to_bytes(), text)),
            Err(error) => Err(Error::internal(format!("a parked event cannot be written: {error}"))),
        };
        let rows = parking.events.iter().map(row).collect::<Result<_>>()?;
        Ok(Self { document: parking.document.to_string(), mark: parking.mark, rows })
    }
}

fn append(transaction: &Connection, lot: &str, parking: &Encoded) -> Result<Parked, Failure> {
    if parking.mark <= closed(transaction, lot, &parking.document)? {
        return Ok(Parked::Closed);
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO parked (lot, document, place, event) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for (place, event) in &parking.rows {
        insert.execute(params![lot, parking.document, place, event])?;
    }
    Ok(Parked::Done)
}

fn close(transaction: &Connection, lot: &str, document: &str, mark: MarkNumber) -> Result<bool, Failure> {
    if mark <= closed(transaction, lot, document)? {
        return Ok(true);
    }
    let waits: bool = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM parked WHERE lot = ?1 AND document = ?2)")?
        .query_row([lot, document], |row| row.get(0))?;
    if waits {
        return Ok(false);
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO closed_marks (lot, document, mark) VALUES (?1, ?2, ?3)")?
        .execute(params![lot, document, mark.0])?;
    Ok(true)
}

/// The highest mark that is closed; zero is none.
fn closed(snapshot: &Connection, lot: &str, document: &str) -> Result<MarkNumber, Failure> {
    let mark = snapshot
        .prepare_cached("SELECT mark FROM closed_marks WHERE lot = ?1 AND document = ?2")?
        .query_row([lot, document], |row| row.get(0))
        .optional()?;
    Ok(MarkNumber(mark.unwrap_or_default()))
}

fn total(snapshot: &Connection, lot: &str) -> Result<u64, Failure> {
    let mut count = snapshot.prepare_cached("SELECT count(*) FROM parked WHERE lot = ?1")?;
    Ok(number(count.query_row([lot], |row| row.get(0))?))
}

fn of_document(
    snapshot: &Connection,
    lot: &str,
    document: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<ParkedEvent>, Failure> {
    let mut select = snapshot.prepare_cached(
        "SELECT event FROM parked WHERE lot = ?1 AND document = ?2 AND place > ?3 ORDER BY place LIMIT ?4",
    )?;
    let values = params![lot, document, after.unwrap_or_default(), sql_integer(limit as u64)];
    let rows = select.query_map(values, |row| row.get::<_, String>(0))?;
    rows.map(|row| parked_event(&row?)).collect()
}

fn of_all(
    snapshot: &Connection,
    lot: &str,
    after: Option<&(String, Vec<u8>)>,
    limit: usize,
) -> Result<Vec<ParkedEvent>, Failure> {
    let mut events = match after {
        Some((document, place)) => of_document(snapshot, lot, document, Some(place), limit)?,
        None => Vec::new(),
    };
    let next = first_behind(after.map(|(document, _)| document.as_str()));
    let mut select = snapshot.prepare_cached(
        "SELECT event FROM parked WHERE lot = ?1 AND document >= ?2 ORDER BY document, place LIMIT ?3",
    )?;
    let values = params![lot, next, sql_integer((limit - events.len()) as u64)];
    for row in select.query_map(values, |row| row.get::<_, String>(0))? {
        events.push(parked_event(&row?)?);
    }
    Ok(events)
}

fn parked_event(text: &str) -> Result<ParkedEvent, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Error::internal(format!("a parked event cannot be read: {error}")).into())
}

#[cfg(test)]
mod tests {
    use foldstream_model::{ErrorKind, conformance};

    use crate::{OpenOptions, testing::Fixture};

    #[tokio::test]
    async fn it_passes_the_suite() {
        let fixture = Fixture::new();
        conformance::parking_lot::run(&*fixture.store.parking()).await;
        conformance::parking_lot::run(&*fixture.another().parking()).await;
    }

    #[tokio::test]
    async fn a_database_from_before_it_is_brought_up_to_it_by_whoever_may_write() {
        let fixture = Fixture::new();
        let tool = fixture.tool();
        tool.execute_batch("DROP TABLE parked; DROP TABLE closed_marks; PRAGMA user_version = 1;").unwrap();
        let read_only = OpenOptions { create: false, read_only: true };
        let open = |options| {
            crate::LocalStore::open(
                fixture.folder.path(),
                fixture.clock.clone(),
                std::sync::Arc::new(crate::testing::TestIds::default()),
                options,
            )
        };
        let error = open(read_only).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("the next `foldstream run` brings it up to this one"), "{error}");
        conformance::parking_lot::run(&*open(OpenOptions::default()).unwrap().parking()).await;
        assert!(open(read_only).is_ok());
    }
}
