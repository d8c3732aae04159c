//! How far a relay is, in the store's rows.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{
    Error, Incarnation, Result, ShardId,
    ports::{CheckpointStore, Put, Row, RowKey, Table},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::plan::{ShardRow, ShardRows};

const PAGE: usize = 500;
const STREAM: &str = "stream";
const SHARDS: &str = "shard/";

/// The rows of one relay: among the checkpoints, in the partition `relay/NAME`.
#[derive(Clone)]
pub(super) struct Rows {
    pub store: Arc<dyn CheckpointStore>,
    pub relay: String,
}

/// Which stream is relayed. It is put when the rows of the shards that were there at first have been.
#[derive(Serialize, Deserialize)]
struct StreamRow {
    incarnation: Incarnation,
}

impl Rows {
    fn key(&self, sort: &str) -> RowKey {
        RowKey::new(Table::Checkpoints, self.partition(), sort)
    }

    fn partition(&self) -> String {
        format!("relay/{}", self.relay)
    }

    /// The stream that was relayed so far.
    pub(super) async fn stream(&self) -> Result<Option<Incarnation>> {
        let key = self.key(STREAM);
        let row = self.store.get(&key).await?;
        row.map(|row| decode::<StreamRow>(&row).map(|stream| stream.incarnation)).transpose()
    }

    /// Shards that are there at first, then the stream. What another relay has put already stays.
    pub(super) async fn begin(&self, incarnation: &Incarnation, shards: &[ShardId]) -> Result<()> {
        for shard in shards {
            self.put_once(&format!("{SHARDS}{shard}"), &ShardRow::FIRST).await?;
        }
        self.put_once(STREAM, &StreamRow { incarnation: incarnation.clone() }).await
    }

    async fn put_once<T: Serialize>(&self, sort: &str, body: &T) -> Result<()> {
        self.store.put(&self.key(sort), None, encode(body)?, None).await.map(drop)
    }

    pub(super) async fn shards(&self) -> Result<ShardRows> {
        let mut rows = ShardRows::new();
        let mut after = SHARDS.to_owned();
        loop {
            let page = self.store.list(Table::Checkpoints, &self.partition(), Some(&after), PAGE).await?;
            for row in &page {
                if let Some(shard) = row.key.sort.strip_prefix(SHARDS) {
                    rows.insert(ShardId::new(shard), decode(row)?);
                }
            }
            match page.last().filter(|_| page.len() == PAGE) {
                Some(last) => after = last.key.sort.clone(),
                None => return Ok(rows),
            }
        }
    }

    /// The row of a shard; one that has none is begun.
    pub(super) async fn shard(&self, shard: &ShardId) -> Result<ShardRow> {
        let key = self.key(&format!("{SHARDS}{shard}"));
        match self.store.get(&key).await? {
            Some(row) => decode(&row),
            None => {
                self.put_once(&key.sort, &ShardRow::LATER).await?;
                Ok(ShardRow::LATER)
            }
        }
    }

    /// Says how far a shard is, if it is not said to be farther already. False: another relay was faster; once more later.
    pub(super) async fn save(&self, shard: &ShardId, reached: &ShardRow) -> Result<bool> {
        let key = self.key(&format!("{SHARDS}{shard}"));
        // Without one the shard is gone, and only a relay that slept through it does not know that.
        let Some(row) = self.store.get(&key).await? else { return Ok(true) };
        let stored: ShardRow = decode(&row)?;
        if stored.finished || stored.position >= reached.position && !reached.finished {
            return Ok(true);
        }
        let put = self.store.put(&key, Some(row.revision), encode(reached)?, None).await?;
        Ok(matches!(put, Put::Done(_)))
    }

    pub(super) async fn forget(&self, shard: &ShardId) -> Result<()> {
        self.store.delete(&self.key(&format!("{SHARDS}{shard}"))).await
    }

    /// The stream first: without its row a relay begins anew.
    pub(super) async fn forget_all(&self) -> Result<()> {
        self.store.delete(&self.key(STREAM)).await?;
        for shard in self.shards().await?.keys() {
            self.forget(shard).await?;
        }
        Ok(())
    }
}

fn encode<T: Serialize>(body: &T) -> Result<Bytes> {
    let text = serde_json::to_vec(body);
    text.map(Bytes::from)
        .map_err(|error| Error::internal(format!("a relay's row cannot be written ({error})")))
}

fn decode<T: DeserializeOwned>(row: &Row) -> Result<T> {
    serde_json::from_slice(&row.body)
        .map_err(|error| Error::internal(format!("a relay's row cannot be read: row={} ({error})", row.key)))
}
