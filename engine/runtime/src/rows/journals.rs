//! A shard's journal as rows: one that changes, and rows of each entry that never do.
//!
//! An entry is durable before the journal names it as its last, and names the one before it. So one compare-and-set of a
//! small row still is the whole change. An entry that no journal came to name, since another writer was faster, is met by
//! nobody, and removed with those of its time.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldstream_model::{
    Error, Journal, JournalEntry, Position, Result, ShardId, SourceName,
    ports::{Revision, RowKey, Table},
};
use serde::{Deserialize, Serialize};

use super::{CUT_PAGES, Rows, cuts_partition, journal_key, long::name_of};
use crate::order::cut_rows::position_key;

#[derive(Serialize, Deserialize)]
struct Linked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(flatten)]
    entry: JournalEntry,
}

/// The body of the row that changes.
pub fn body(journal: &Journal) -> Result<Bytes> {
    match serde_json::to_vec(journal) {
        Ok(body) => Ok(body.into()),
        Err(error) => Err(Error::internal(format!("a journal cannot be written: {error}"))),
    }
}

impl Rows {
    /// The journal of a shard with its entries: those of `known`, which was read or written before, and those behind it
    /// that were appended at horizons at or behind `from`. Internal when what is known is no part of it.
    pub async fn journal(
        &self,
        source: &SourceName,
        shard: &ShardId,
        known: Option<&Journal>,
        from: &Position,
    ) -> Result<Option<(Revision, Journal)>> {
        let mut seen: Option<Revision> = None;
        loop {
            let Some(mut stored) = self.get::<Journal>(&journal_key(source, shard)).await? else {
                return Ok(None);
            };
            match self.entries(source, shard, &stored.body, known, from).await {
                Ok(entries) => stored.body.entries = entries,
                // Entries may be removed while they are read; the journal says so before.
                Err(_) if seen != Some(stored.revision) => {
                    seen = Some(stored.revision);
                    continue;
                }
                Err(error) => return Err(error),
            }
            return Ok(Some((stored.revision, stored.body)));
        }
    }

    async fn entries(
        &self,
        source: &SourceName,
        shard: &ShardId,
        stored: &Journal,
        known: Option<&Journal>,
        from: &Position,
    ) -> Result<Vec<JournalEntry>> {
        let is_kept =
            |entry: &&JournalEntry| stored.trimmed.as_ref().is_none_or(|trimmed| entry.after >= *trimmed);
        let known_entries = known.iter().flat_map(|known| &known.entries);
        let mut entries: Vec<_> = known_entries.filter(is_kept).cloned().collect();
        let known_last = known.and_then(|known| known.last.as_deref());
        if stored.last.as_deref() == known_last {
            return Ok(entries);
        }
        let oldest = position_key(stored.trimmed.as_ref().map_or(from, |trimmed| trimmed.max(from)));
        let texts = self.longs(Table::Journals, &cuts_partition(source, shard), &oldest).await?;
        let texts: BTreeMap<String, String> = texts.into_iter().collect();
        let (mut behind, mut next) = (Vec::new(), stored.last.clone());
        while let Some(name) = next.take_if(|name| *name >= oldest && Some(name.as_str()) != known_last) {
            let linked = linked(shard, &name, texts.get(&name))?;
            behind.push(linked.entry);
            next = linked.previous;
        }
        if known_last.is_some_and(|last| last >= oldest.as_str()) && next.as_deref() != known_last {
            return Err(Error::internal(
                "a journal went back: its checkpoint store was replaced or restored",
            ));
        }
        entries.extend(behind.into_iter().rev());
        Ok(entries)
    }

    /// Makes an entry durable for a journal that is to name it; its name.
    pub async fn add_entry(
        &self,
        source: &SourceName,
        shard: &ShardId,
        entry: &JournalEntry,
        previous: Option<String>,
        unique: &str,
    ) -> Result<String> {
        let name = format!("{}/{unique}", position_key(&entry.after));
        let linked = Linked { previous, entry: entry.clone() };
        let text = serde_json::to_string(&linked)
            .map_err(|error| Error::internal(format!("an entry of a journal cannot be written: {error}")))?;
        let key = RowKey::new(Table::Journals, cuts_partition(source, shard), name.as_str());
        self.put_long(&key, &text).await?;
        Ok(name)
    }

    /// The rows of entries that were appended at horizons before a position.
    pub async fn entry_rows_before(
        &self,
        source: &SourceName,
        shard: &ShardId,
        before: &Position,
    ) -> Result<Vec<RowKey>> {
        let (partition, before) = (cuts_partition(source, shard), position_key(before));
        let mut keys: Vec<RowKey> = Vec::new();
        loop {
            let after = keys.last().map(|key| key.sort.as_str());
            let rows = self.store.list(Table::Journals, &partition, after, CUT_PAGES).await?;
            let is_last = rows.len() < CUT_PAGES;
            for row in rows {
                if name_of(&row.key) >= before.as_str() {
                    return Ok(keys);
                }
                keys.push(row.key);
            }
            if is_last {
                return Ok(keys);
            }
        }
    }
}

fn linked(shard: &ShardId, name: &str, text: Option<&String>) -> Result<Linked> {
    let Some(text) = text else {
        return Err(Error::internal(format!(
            "an entry that a journal names is not there: shard={shard} entry={name}"
        )));
    };
    serde_json::from_str(text).map_err(|error| {
        Error::internal(format!("an entry of a journal cannot be read: shard={shard} entry={name} ({error})"))
    })
}
