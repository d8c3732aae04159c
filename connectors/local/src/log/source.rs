//! A log as a source.

use std::sync::Arc;

use async_trait::async_trait;
use foldstream_model::{
    Clock, Error, Position, Result, Shard, ShardId, Timestamp,
    ports::{From, ShardReader, Source, SourceDescription},
};
use rusqlite::Connection;

use super::{
    LocalLog, hash_key,
    reader::{LocalShardReader, first_arrived_at_or_after},
    shards::{self, ShardRow},
};
use crate::{database::Database, errors::Failure};

/// Reads a log of the embedded database.
pub struct LocalSource {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    log: LocalLog,
}

impl LocalSource {
    pub(super) fn new(database: Arc<Database>, clock: Arc<dyn Clock>, log: LocalLog) -> Self {
        Self { database, clock, log }
    }
}

#[async_trait]
impl Source for LocalSource {
    async fn describe(&self) -> Result<SourceDescription> {
        let described = self.log.describe().await?;
        Ok(SourceDescription { incarnation: described.incarnation, retention: described.retention })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let described = self.log.describe().await?.shards;
        let shards = described.into_iter();
        Ok(shards
            .map(|shard| Shard { id: shard.id, parents: shard.parents, range: Some(shard.range) })
            .collect())
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let (log, now, wanted) = (self.log.id(), self.clock.now(), shard.clone());
        let (row, after) = self
            .database
            .read(move |snapshot| {
                let shard = shards::find(snapshot, log, &wanted)?;
                Ok((shard.row, begin(snapshot, &shard, &from, now)?))
            })
            .await
            .map_err(|error| error.context(format!("stream={}", self.log.name())))?;
        Ok(Box::new(LocalShardReader::new(Arc::clone(&self.database), log, shard.clone(), row, after)))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        hash_key::hash_key(partition_key)
    }
}

/// The position behind which reading begins.
fn begin(snapshot: &Connection, shard: &ShardRow, from: &From, now: Timestamp) -> Result<u64, Failure> {
    match from {
        From::TrimHorizon => Ok(shard.trimmed),
        From::Latest => Ok(shard.last),
        From::After(position) => behind(shard, position),
        From::AtTimestamp(instant) if *instant > now => Err(Failure::Refused(Error::invalid(format!(
            "the start is in the future: start={instant} now={now}"
        )))),
        From::AtTimestamp(instant) => {
            Ok(first_arrived_at_or_after(snapshot, shard, *instant)?.map_or(shard.last, |first| first - 1))
        }
    }
}

fn behind(shard: &ShardRow, position: &Position) -> Result<u64, Failure> {
    match position.as_u64() {
        Some(after) if (shard.trimmed..=shard.last).contains(&after) => Ok(after),
        _ => Err(Failure::Refused(Error::invalid(format!(
            "the shard does not hold what was asked for: shard={} after={position} trimmed={} last={}",
            shard.id(),
            shard.trimmed,
            shard.last
        )))),
    }
}
