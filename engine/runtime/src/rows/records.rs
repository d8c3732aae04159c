//! Records that could not be decoded, as rows of their source: each with its bytes, and what became of it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use foldstream_model::{
    Error, Position, Record, Result, Sequence, ShardNumber, SourceName, StreamId, Timestamp,
    ports::{RowKey, Table},
};
use serde::{Deserialize, Serialize};

use super::{Rows, cut_rows::position_key};
use crate::order::Placed;

/// A record that should be an event and is none, or an event that another has been kept instead of. The row is never removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAside {
    pub shard: ShardNumber,
    pub position: Position,
    /// Of an event that was decoded, but claims a sequence that another one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkOf>,
    pub partition_key: String,
    pub arrived_at: Timestamp,
    pub error: String,
    pub parked_at: Timestamp,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkOf {
    pub stream: StreamId,
    pub sequence: Sequence,
    /// The entry that it came by; 0 for a record.
    pub entry: u32,
}

impl ForkOf {
    pub fn at(placed: &Placed) -> Self {
        let Placed { place, event, .. } = placed;
        Self { stream: event.stream_id.clone(), sequence: event.sequence, entry: place.entry }
    }
}

/// What became of a record that could not be decoded. What an operator has decided stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It waits until it is read anew, or discarded.
    Waits,
    /// Everybody who has gone on behind it discards what cannot be taken.
    PassedOver,
    /// It came back as an event, or it turned out not to be meant to be one.
    CameBack(Decided),
    Discarded(Decided),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Fate {
    /// Whether an operator has decided.
    pub fn is_decided(&self) -> bool {
        matches!(self, Self::CameBack(_) | Self::Discarded(_))
    }
}

impl Rows {
    /// The records of a source that could not be decoded, by shard and position.
    pub async fn records_aside(&self, source: &SourceName) -> Result<Vec<RecordAside>> {
        let rows = self.all::<RecordAside>(Table::RecordsAside, source.as_str()).await?;
        Ok(rows.into_iter().map(|(_, row)| row.body).collect())
    }

    /// How many of them wait.
    pub async fn records_that_wait(&self, source: &SourceName) -> Result<u64> {
        let records = self.records_aside(source).await?;
        Ok(records.iter().filter(|record| record.fate == Fate::Waits).count() as u64)
    }

    /// Whether an operator may yet decide on one of them.
    pub async fn has_undecided_records(&self, source: &SourceName) -> Result<bool> {
        Ok(self.records_aside(source).await?.iter().any(|record| !record.fate.is_decided()))
    }

    /// The row of a record, as it is by now.
    pub async fn stored_record(
        &self,
        source: &SourceName,
        aside: &RecordAside,
    ) -> Result<Option<RecordAside>> {
        Ok(self.get(&record_key(source, aside)).await?.map(|stored| stored.body))
    }

    /// Makes a record durable with its bytes. A row that is there already is by whoever met it before.
    pub async fn set_record_aside(
        &self,
        source: &SourceName,
        record: &RecordAside,
        data: &Bytes,
    ) -> Result<()> {
        self.put_long(&data_key(source, record), &BASE64_STANDARD.encode(data)).await?;
        self.put(&record_key(source, record), None, record).await.map(|_| ())
    }

    /// The record as it was read.
    pub async fn record_as_read(&self, source: &SourceName, aside: &RecordAside) -> Result<Record> {
        let key = data_key(source, aside);
        let text = self.long(&key).await?.unwrap_or_default();
        let data = BASE64_STANDARD
            .decode(text)
            .map_err(|error| Error::internal(format!("a stored record is damaged: row={key} ({error})")))?;
        Ok(Record {
            position: aside.position.clone(),
            partition_key: aside.partition_key.as_str().into(),
            arrived_at: aside.arrived_at,
            data: data.into(),
        })
    }

    /// Makes it durable what became of a record, unless an operator has decided before. False: so it is, or it is not there.
    pub async fn decide_record(&self, source: &SourceName, aside: &RecordAside, fate: &Fate) -> Result<bool> {
        let key = record_key(source, aside);
        loop {
            let stored = self.get::<RecordAside>(&key).await?;
            let Some(stored) = stored.filter(|stored| !stored.body.fate.is_decided()) else {
                return Ok(false);
            };
            let decided = RecordAside { fate: fate.clone(), ..stored.body };
            if self.put(&key, Some(stored.revision), &decided).await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// Others have taken the record for an event before it was set aside.
    pub async fn forget_record(&self, source: &SourceName, aside: &RecordAside) -> Result<()> {
        self.delete(&record_key(source, aside)).await
    }
}

fn record_key(source: &SourceName, aside: &RecordAside) -> RowKey {
    RowKey::new(Table::RecordsAside, source.as_str(), sort_key(aside))
}

fn data_key(source: &SourceName, aside: &RecordAside) -> RowKey {
    RowKey::new(Table::RecordsAside, format!("{source}/data"), sort_key(aside))
}

fn sort_key(aside: &RecordAside) -> String {
    let place = format!("{:010}/{}", aside.shard.0, position_key(&aside.position));
    match &aside.fork {
        None => place,
        Some(ForkOf { sequence, entry, .. }) => format!("{place}#{entry:010}.{:020}", sequence.0),
    }
}
