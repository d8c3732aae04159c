//! Texts that may be larger than a row: rows that are written once, a piece in each.

use bytes::Bytes;
use foldstream_model::{
    Error, Result,
    ports::{Row, RowKey, Table},
};

use super::{CUT_PAGES, Rows};

/// Bytes of one piece: well below what a row may have.
const PIECE_BYTES: usize = 256 * 1024;

impl Rows {
    /// Puts a text under keys that begin with `key`. Whatever is there already is the same text, whole or in part.
    pub(super) async fn put_long(&self, key: &RowKey, text: &str) -> Result<()> {
        for (number, piece) in pieces(text).into_iter().enumerate() {
            let sort = format!("{}/{number:06}", key.sort);
            let key = RowKey::new(key.table, key.partition.as_str(), sort);
            self.put_once(&key, Bytes::copy_from_slice(piece.as_bytes())).await?;
        }
        Ok(())
    }

    /// A text that is known to be there whole; none when nothing of it is.
    pub(super) async fn long(&self, key: &RowKey) -> Result<Option<String>> {
        let prefix = format!("{}/", key.sort);
        let (mut text, mut after) = (None, prefix.clone());
        loop {
            let rows = self.store.list(key.table, &key.partition, Some(&after), 2).await?;
            for row in &rows {
                if !row.key.sort.starts_with(&prefix) {
                    return Ok(text);
                }
                text.get_or_insert_with(String::new).push_str(piece(row)?);
            }
            let Some(last) = rows.into_iter().last() else { return Ok(text) };
            after = last.key.sort;
        }
    }

    /// The long texts of a partition behind a sort key, by the sort keys that they were put under.
    pub(super) async fn longs(
        &self,
        table: Table,
        partition: &str,
        after: &str,
    ) -> Result<Vec<(String, String)>> {
        let mut texts: Vec<(String, String)> = Vec::new();
        let mut after = after.to_owned();
        loop {
            let rows = self.store.list(table, partition, Some(&after), CUT_PAGES).await?;
            for row in &rows {
                let (name, piece) = (name_of(&row.key), piece(row)?);
                match texts.last_mut().filter(|(last, _)| last == name) {
                    Some((_, text)) => text.push_str(piece),
                    None => texts.push((name.to_owned(), piece.to_owned())),
                }
            }
            let Some(last) = rows.into_iter().last() else { return Ok(texts) };
            after = last.key.sort;
        }
    }
}

/// The sort key of the text that a row holds a piece of.
pub fn name_of(key: &RowKey) -> &str {
    key.sort.rsplit_once('/').map_or("", |(name, _)| name)
}

fn piece(row: &Row) -> Result<&str> {
    str::from_utf8(&row.body)
        .map_err(|error| Error::internal(format!("a stored row is no text: row={} ({error})", row.key)))
}

fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while rest.len() > PIECE_BYTES {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}
