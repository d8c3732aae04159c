//! The rows of events: one for each, and more for what is too large for one.
//!
//! Pieces are put before the row that names them, under an id that no other call has drawn, and deleted after it. So those
//! of a call that was refused or not answered may be left behind; they go when the lot is cleared.

use foldstream_model::{Error, ParkedEvent, ParkedOrder, Result, ports::MAX_ROW_BYTES};

use super::{
    super::{
        partition::{Pages, Range},
        state::{self, Item, SORT, StateTable},
    },
    keys,
};
use crate::errors;

const EVENT: &str = "event";
const PIECES: &str = "pieces";
const PIECES_ID: &str = "pieces_id";
const PIECE: &str = "piece";
/// The sort key of the event that was put directly before this one, in the same transaction.
pub(super) const BEHIND: &str = "behind";

/// An event as it is to be stored.
pub(super) struct EventRow {
    pub order: ParkedOrder,
    pub sort: String,
    pub event: String,
}

impl EventRow {
    pub(super) fn new(event: &ParkedEvent) -> Result<Self> {
        let text = serde_json::to_string(event)
            .map_err(|error| Error::internal(format!("a parked event cannot be written: {error}")))?;
        Ok(Self { order: event.order.clone(), sort: keys::order(&event.order), event: text })
    }

    /// What it weighs in a transaction.
    pub(super) fn size_in_bytes(&self) -> usize {
        if self.is_large() { self.sort.len() } else { self.sort.len() + self.event.len() }
    }

    fn is_large(&self) -> bool {
        self.event.len() > MAX_ROW_BYTES
    }

    /// Its item; what is too large for it is put at once.
    pub(super) async fn item(&self, table: &StateTable, partition: &str, pieces: &str) -> Result<Item> {
        let mut item = state::key(partition, &self.sort)?;
        if !self.is_large() {
            item.insert(EVENT.to_owned(), state::text(&self.event));
            return Ok(item);
        }
        let id = table.ids.unique();
        let mut number = 0;
        let mut rest = self.event.as_str();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(MAX_ROW_BYTES));
            put_piece(table, pieces, &piece_key(&id, number), piece).await?;
            (number, rest) = (number + 1, behind);
        }
        item.insert(PIECES.to_owned(), state::number(number));
        item.insert(PIECES_ID.to_owned(), state::text(&id));
        Ok(item)
    }
}

/// What the event of an item weighs.
pub(super) fn size_in_bytes(item: &Item) -> Result<usize> {
    match item.contains_key(PIECES) {
        true => Ok(usize::try_from(state::number_of(item, PIECES)?)
            .unwrap_or(usize::MAX)
            .saturating_mul(MAX_ROW_BYTES)),
        false => Ok(state::text_of(item, EVENT)?.len()),
    }
}

fn piece_key(id: &str, number: u64) -> String {
    format!("{id}/{number:05}")
}

async fn put_piece(table: &StateTable, partition: &str, sort: &str, piece: &str) -> Result<()> {
    let mut item = state::key(partition, sort)?;
    item.insert(PIECE.to_owned(), state::text(piece));
    let request = table.client.put_item().table_name(&table.name).set_item(Some(item));
    let doing = table.doing("PutItem", &format_args!("{partition}/{sort}"));
    request.send().await.map_err(|error| errors::of(&doing, error))?;
    Ok(())
}

/// Reads an event's item. None: it was removed meanwhile.
pub(super) async fn event(
    table: &StateTable,
    partition: &str,
    pieces: &str,
    item: &Item,
) -> Result<Option<ParkedEvent>> {
    if !item.contains_key(PIECES) {
        return parse(state::text_of(item, EVENT)?).map(Some);
    }
    let found = Pages::new(table, pieces.to_owned(), pieces_of(item)?).all().await?;
    if found.len() as u64 == state::number_of(item, PIECES)? {
        let pieces = found.iter().map(|item| state::text_of(item, PIECE)).collect::<Result<Vec<_>>>()?;
        return parse(&pieces.concat()).map(Some);
    }
    let sort = state::text_of(item, SORT)?;
    match table.item(partition, sort).await? {
        None => Ok(None),
        Some(_) => {
            Err(Error::internal(format!("pieces of a parked event are missing: row={partition}/{sort}")))
        }
    }
}

/// Deletes the pieces that an item names, of an event that is removed.
pub(super) async fn delete_pieces(table: &StateTable, pieces: &str, item: &Item) -> Result<()> {
    if !item.contains_key(PIECES) {
        return Ok(());
    }
    let found = Pages::new(table, pieces.to_owned(), pieces_of(item)?).only("pk, sk").all().await?;
    table.delete_items(&found).await
}

fn pieces_of(item: &Item) -> Result<Range> {
    let (id, count) = (state::text_of(item, PIECES_ID)?, state::number_of(item, PIECES)?);
    Ok(Range::Between(piece_key(id, 0), piece_key(id, count)))
}

fn parse(text: &str) -> Result<ParkedEvent> {
    serde_json::from_str(text)
        .map_err(|error| Error::internal(format!("a parked event cannot be read: {error}")))
}
