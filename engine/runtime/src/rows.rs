//! The rows of the checkpoint store, typed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use foldstream_model::{
    Checkpoint, Control, Cut, CutId, DocumentKey, Epoch, Error, Lot, ParkedEvent, ParkedOrder, Place,
    Position, ProjectionId, Result, Sequence, ShardId, SourceName, SpilledEvent, StreamId, Timestamp,
    WorkerId,
    ports::{CheckpointStore, Put, Revision, Row, RowKey, Table},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    guard::Origin,
    lineage::Lineage,
    order::cut_rows::{self, position_key},
    planted::{self, Bug},
    retry::{self, Backoff, Verdict},
};

pub mod journals;
pub mod long;
pub mod records;
pub mod streams;

const PAGE: usize = 500;
/// Pages of cuts are large.
const CUT_PAGES: usize = 32;

/// A body and the revision it was read at.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    pub revision: Revision,
    pub body: T,
}

/// Who did what, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    pub at: Timestamp,
    pub who: String,
    pub action: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// An event that somebody wants to have no effect on its document, and whether it has none. The row is never removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiscardRow {
    pub event: ParkedEvent,
    pub discard: Discard,
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// How far the discard of an event is. What is decided stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// Whoever redrives the document decides first whether it came in time.
    Asked,
    /// Every redrive passes over the event.
    Done,
    /// The event was in its document already.
    TooLate,
}

/// Reads and writes rows by what they mean.
#[derive(Clone)]
pub struct Rows {
    store: Arc<dyn CheckpointStore>,
}

impl Rows {
    pub fn new(store: Arc<dyn CheckpointStore>) -> Self {
        Self { store }
    }

    pub fn store(&self) -> &Arc<dyn CheckpointStore> {
        &self.store
    }

    pub async fn get<T: DeserializeOwned>(&self, key: &RowKey) -> Result<Option<Versioned<T>>> {
        let Some(row) = self.store.get(key).await? else { return Ok(None) };
        Ok(Some(Versioned { revision: row.revision, body: decode(key, &row.body)? }))
    }

    /// Puts a row on condition of its revision. `Ok(None)`: another was faster; read it again.
    ///
    /// An ambiguous answer is settled here: the row is read back, and the same body under another revision is taken
    /// for our own write, since bodies differ between writers or say the same.
    pub async fn put<T: Serialize>(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: &T,
    ) -> Result<Option<Revision>> {
        self.put_beside(key, expected, body, None).await
    }

    /// The same, on condition also that another row has not moved.
    async fn put_beside<T: Serialize>(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: &T,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Option<Revision>> {
        let bytes = encode(key, body)?;
        let mut backoff = Backoff::new();
        loop {
            let stored = match self.store.put(key, expected, bytes.clone(), beside).await {
                Ok(Put::Done(revision)) => return Ok(Some(revision)),
                Ok(Put::Conflict(stored)) => return Ok(own(stored.as_ref(), &bytes)),
                Err(_) if planted::is(Bug::NoReadBack) => return Ok(Some(expected.unwrap_or(Revision(0)))),
                Err(error) if retry::verdict(error.kind()) == Verdict::Again => {
                    backoff.pause(&error, "writing to the checkpoint store").await;
                    self.store.get(key).await?
                }
                Err(error) => return Err(error),
            };
            if stored.as_ref().map(|row| row.revision) != expected {
                return Ok(own(stored.as_ref(), &bytes));
            }
        }
    }

    /// Puts a row that is written once, whole; one that is there already is left as it is.
    pub async fn put_once(&self, key: &RowKey, body: Bytes) -> Result<()> {
        self.store.put(key, None, body, None).await.map(|_| ())
    }

    /// The cuts that a cut stands on and itself, the whole one first. None: some of it was removed, before or meanwhile.
    pub async fn cuts(&self, source: &SourceName, shard: &ShardId, id: &CutId) -> Result<Option<Vec<Cut>>> {
        let mut chain = Vec::new();
        let mut next = Some(id.clone());
        while let Some(id) = next {
            let Some(cut) = self.cut(source, shard, &id).await? else { return Ok(None) };
            next = cut.since.clone();
            chain.push(cut);
        }
        chain.reverse();
        Ok(Some(chain))
    }

    /// The cuts of a shard by place, those of several readers at one place too; some may lack pages.
    pub async fn cut_ids(&self, source: &SourceName, shard: &ShardId) -> Result<Vec<CutId>> {
        let keys = self.keys(Table::Cuts, &cuts_partition(source, shard)).await?;
        let mut ids: Vec<CutId> = keys.iter().filter_map(|key| cut_rows::id_of(key)).collect();
        ids.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.chain.cmp(&b.chain)));
        ids.dedup();
        Ok(ids)
    }

    /// Whether the first page of a cut is there: the one that is removed first.
    pub async fn has_cut(&self, source: &SourceName, shard: &ShardId, id: &CutId) -> Result<bool> {
        let key = RowKey::new(Table::Cuts, cuts_partition(source, shard), cut_rows::sort_key(id, 0));
        Ok(self.store.get(&key).await?.is_some())
    }

    /// The newest cut at or before a place that is there with all that it adds to: a crash may have left one without its
    /// last page.
    pub async fn newest_cut(
        &self,
        source: &SourceName,
        shard: &ShardId,
        until: &Place,
    ) -> Result<Option<(CutId, Vec<Cut>)>> {
        let ids = self.cut_ids(source, shard).await?;
        for id in ids.into_iter().rev().filter(|id| id.place <= *until) {
            if let Some(cuts) = self.cuts(source, shard, &id).await? {
                return Ok(Some((id, cuts)));
            }
        }
        Ok(None)
    }

    /// Makes an early event a row; one that is there already is this one.
    pub async fn spill(
        &self,
        source: &SourceName,
        spilled: &SpilledEvent,
        at: &Place,
        envelope: &str,
    ) -> Result<()> {
        let mut key = spilled_key(source, spilled);
        key.sort = format!("{}/{}", key.sort, position_key(&at.position));
        self.put_long(&key, envelope).await
    }

    /// The envelope of an early event that was spilled. Poison: it was removed, as nobody could begin so far back any more.
    pub async fn spilled(&self, source: &SourceName, spilled: &SpilledEvent) -> Result<String> {
        let key = spilled_key(source, spilled);
        let Some(envelope) = self.long(&key).await? else {
            return Err(Error::poison(format!(
                "an event that waited for a missing one was removed with what the source has trimmed, before the projection had read so far: row={key}. Give the projection a new version"
            )));
        };
        Ok(envelope)
    }

    /// The rows of early events of a shard that came before a position, or of all, with the names of their events.
    pub async fn spilled_before(
        &self,
        source: &SourceName,
        shard: &ShardId,
        before: Option<&Position>,
    ) -> Result<Vec<(RowKey, String)>> {
        let (partition, before) = (early_partition(source, shard), before.map(position_key));
        let (mut found, mut after): (_, Option<String>) = (Vec::new(), None);
        loop {
            let rows = self.cut_pages(&partition, after.as_deref()).await?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = Some(last.key.sort.clone());
            for row in rows {
                let Some((name, at)) = long::name_of(&row.key).rsplit_once('/') else { continue };
                if before.as_ref().is_none_or(|before| at < before.as_str()) {
                    let name = name.to_owned();
                    found.push((row.key, name));
                }
            }
        }
    }

    /// The names of the events that wait in the cuts of a shard.
    pub async fn early_in_cuts(&self, source: &SourceName, shard: &ShardId) -> Result<BTreeSet<String>> {
        let partition = cuts_partition(source, shard);
        let (mut names, mut after): (_, Option<String>) = (BTreeSet::new(), None);
        loop {
            let rows = self.cut_pages(&partition, after.as_deref()).await?;
            let Some(last) = rows.last() else { return Ok(names) };
            after = Some(last.key.sort.clone());
            for row in rows {
                for early in cut_rows::decode(&row.body)?.part.early {
                    let (stream, sequence) = early.event.names()?;
                    names.insert(early_name(&stream, sequence));
                }
            }
        }
    }

    async fn cut(&self, source: &SourceName, shard: &ShardId, id: &CutId) -> Result<Option<Cut>> {
        let mut pages = Vec::new();
        loop {
            let number = u32::try_from(pages.len()).unwrap_or(u32::MAX);
            let key = RowKey::new(Table::Cuts, cuts_partition(source, shard), cut_rows::sort_key(id, number));
            let Some(row) = self.store.get(&key).await? else { return Ok(None) };
            let page = cut_rows::decode(&row.body)?;
            let of = page.of;
            pages.push(page);
            if number + 1 >= of {
                return cut_rows::join(pages).map(Some);
            }
        }
    }

    /// The next pages of a shard's cuts, behind a sort key.
    pub async fn cut_pages(&self, partition: &str, after: Option<&str>) -> Result<Vec<Row>> {
        self.store.list(Table::Cuts, partition, after, CUT_PAGES).await
    }

    pub async fn delete(&self, key: &RowKey) -> Result<()> {
        self.store.delete(key).await
    }

    /// Every row of a table's partition, by sort key.
    pub async fn all<T: DeserializeOwned>(
        &self,
        table: Table,
        partition: &str,
    ) -> Result<Vec<(String, Versioned<T>)>> {
        let mut rows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(table, partition, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            for row in page {
                let body = decode(&row.key, &row.body)?;
                after = Some(row.key.sort.clone());
                rows.push((row.key.sort, Versioned { revision: row.revision, body }));
            }
            if !full {
                return Ok(rows);
            }
        }
    }

    /// The sort keys of a table's partition.
    pub async fn keys(&self, table: Table, partition: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = self.store.list(table, partition, keys.last().map(String::as_str), PAGE).await?;
            let full = page.len() == PAGE;
            keys.extend(page.into_iter().map(|row| row.key.sort));
            if !full {
                return Ok(keys);
            }
        }
    }

    /// How many events came too late for the documents of an epoch.
    pub async fn late(&self, projection: &ProjectionId, epoch: Epoch) -> Result<usize> {
        let (keys, epoch) = (self.keys(Table::Late, &projection.row_name()).await?, late_epoch(epoch));
        Ok(keys.iter().filter(|key| key.starts_with(&epoch)).count())
    }

    /// The events of a document whose discard was asked for or is done; not those where it came too late.
    pub async fn discards(&self, lot: &Lot, document: &DocumentKey) -> Result<Vec<Versioned<DiscardRow>>> {
        let (lot, begins) = (lot.row_name(), format!("{document}\u{1f}"));
        let (mut found, mut after) = (Vec::new(), begins.clone());
        loop {
            let mut page = self.store.list(Table::Discarded, &lot, Some(&after), PAGE).await?;
            page.retain(|row| row.key.sort.starts_with(&begins));
            let full = page.len() == PAGE;
            for row in page {
                let body: DiscardRow = decode(&row.key, &row.body)?;
                if body.discard != Discard::TooLate {
                    found.push(Versioned { revision: row.revision, body });
                }
                after = row.key.sort;
            }
            if !full {
                return Ok(found);
            }
        }
    }

    /// Removes every row of a table's partition.
    pub async fn clear(&self, table: Table, partition: &str) -> Result<()> {
        loop {
            let page = self.store.list(table, partition, None, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                self.store.delete(&row.key).await?;
            }
        }
    }

    pub async fn source(&self, source: &SourceName) -> Result<Option<Versioned<Lineage>>> {
        self.get(&source_key(source)).await
    }

    pub async fn checkpoint(
        &self,
        projection: &ProjectionId,
        source: &SourceName,
        shard: &ShardId,
    ) -> Result<Option<Versioned<Checkpoint>>> {
        self.get(&checkpoint_key(projection, source, shard)).await
    }

    pub async fn control(&self, projection: &ProjectionId) -> Result<Option<Versioned<Control>>> {
        self.get(&control_key(projection)).await
    }
}

pub fn source_key(source: &SourceName) -> RowKey {
    RowKey::new(Table::Sources, source.as_str(), "")
}

pub fn journal_key(source: &SourceName, shard: &ShardId) -> RowKey {
    RowKey::new(Table::Journals, source.as_str(), shard.as_str())
}

pub fn checkpoint_key(projection: &ProjectionId, source: &SourceName, shard: &ShardId) -> RowKey {
    RowKey::new(Table::Checkpoints, projection.row_name(), format!("{source}/{shard}"))
}

pub const CONTROLS: &str = "projections";

pub fn control_key(projection: &ProjectionId) -> RowKey {
    RowKey::new(Table::Controls, CONTROLS, projection.row_name())
}

/// What came late to documents of one epoch says nothing of those of another.
pub fn late_key(projection: &ProjectionId, epoch: Epoch, document: &DocumentKey, late: &Origin) -> RowKey {
    let (at, epoch) = (late.recorded_at, late_epoch(epoch));
    let sort = format!("{epoch}{document}\u{1f}{at}\u{1f}{}\u{1f}{:020}", late.stream, late.sequence.0);
    RowKey::new(Table::Late, projection.row_name(), sort)
}

fn late_epoch(epoch: Epoch) -> String {
    format!("{:010}\u{1f}", epoch.0)
}

pub fn discard_key(lot: &Lot, document: &DocumentKey, order: &ParkedOrder) -> RowKey {
    let order: String = order.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    RowKey::new(Table::Discarded, lot.row_name(), format!("{document}\u{1f}{order}"))
}

/// Sorts by time; the number tells those of one instant apart.
pub fn audit_key(at: Timestamp, attempt: u32) -> RowKey {
    RowKey::new(Table::Audit, AUDIT, format!("{at}/{attempt:04}"))
}

pub fn report_key(worker: &str) -> RowKey {
    RowKey::new(Table::Reports, REPORTS, worker)
}

pub fn trial_key(worker: &WorkerId) -> RowKey {
    RowKey::new(Table::Reports, TRIALS, worker.as_str())
}

/// Where a shard's cuts are kept.
pub fn cuts_partition(source: &SourceName, shard: &ShardId) -> String {
    format!("{source}/{shard}")
}

fn early_partition(source: &SourceName, shard: &ShardId) -> String {
    format!("{}/early", cuts_partition(source, shard))
}

fn spilled_key(source: &SourceName, spilled: &SpilledEvent) -> RowKey {
    let name = early_name(&spilled.stream, spilled.sequence);
    RowKey::new(Table::Cuts, early_partition(source, &spilled.shard), name)
}

fn early_name(stream: &StreamId, sequence: Sequence) -> String {
    let [first, second] = stream.hash().words();
    format!("{first:016x}{second:016x}/{:020}", sequence.0)
}

pub const AUDIT: &str = "audit";
pub const REPORTS: &str = "workers";
pub const TRIALS: &str = "trials";

fn own(stored: Option<&Row>, ours: &Bytes) -> Option<Revision> {
    stored.filter(|row| row.body == *ours).map(|row| row.revision)
}

fn encode<T: Serialize>(key: &RowKey, body: &T) -> Result<Bytes> {
    match serde_json::to_vec(body) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(Error::internal(format!("a row cannot be written: row={key} ({error})"))),
    }
}

fn decode<T: DeserializeOwned>(key: &RowKey, body: &Bytes) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!(
            "a stored row cannot be read: row={key} ({error}); it was written by another version of foldstream, or changed by hand"
        ))
    })
}
