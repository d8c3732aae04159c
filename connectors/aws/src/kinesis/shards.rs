//! Which shards a stream has.

use std::collections::BTreeMap;

use aws_sdk_kinesis::types::{self, ShardFilter, ShardFilterType};
use foldstream_model::{Error, HashKeyRange, Position, Result, Shard, ShardId};

use super::stream::Stream;
use crate::{
    errors,
    polled::{lineage::parents_first, numbers},
};

/// The most of a page.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const PAGE: i32 = 1_000;

/// What a reader needs to know of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownShard {
    pub id: ShardId,
    pub range: HashKeyRange,
    /// In front of all records that it ever had.
    pub beginning: Position,
}

impl Stream {
    /// Every shard that holds records or may get some.
    pub(super) async fn list_shards(&self) -> Result<Vec<types::Shard>> {
        self.list(None).await
    }

    /// Was the shard there already when the oldest records that are kept came? One that was not has lost none.
    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html>
    pub(super) async fn was_open_at_horizon(&self, shard: &ShardId) -> Result<bool> {
        let filter = ShardFilter::builder().r#type(ShardFilterType::AtTrimHorizon).build();
        let filter = filter.map_err(|error| Error::internal(format!("no filter of shards: {error}")))?;
        Ok(self.list(Some(filter)).await?.iter().any(|listed| listed.shard_id() == shard.as_str()))
    }

    async fn list(&self, filter: Option<ShardFilter>) -> Result<Vec<types::Shard>> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_shards().max_results(PAGE);
            // A token says already which stream and which of its shards.
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => request
                    .set_stream_name(self.name())
                    .set_stream_arn(self.arn())
                    .set_shard_filter(filter.clone()),
            };
            let answer =
                request.send().await.map_err(|error| errors::of(&self.doing("ListShards"), error))?;
            shards.extend(answer.shards.unwrap_or_default());
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    pub(super) fn known(&self, listed: &types::Shard) -> Result<KnownShard> {
        let first = listed.sequence_number_range().map(|range| range.starting_sequence_number());
        let first: Position =
            first.ok_or_else(|| self.unreadable("a shard's first sequence number"))?.parse()?;
        Ok(KnownShard {
            id: ShardId::new(listed.shard_id()),
            range: self.range(listed)?,
            beginning: numbers::before(&first)?,
        })
    }

    fn range(&self, listed: &types::Shard) -> Result<HashKeyRange> {
        let refuse = || self.unreadable("a shard's hash keys");
        let range = listed.hash_key_range().ok_or_else(refuse)?;
        let key = |digits: &str| digits.parse().map_err(|_| refuse());
        Ok(HashKeyRange { first: key(range.starting_hash_key())?, last: key(range.ending_hash_key())? })
    }

    pub(super) fn in_order(&self, listed: &[types::Shard]) -> Result<Vec<Shard>> {
        let mut shards = BTreeMap::new();
        for shard in listed {
            let id = ShardId::new(shard.shard_id());
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let parents = parents.into_iter().flatten().map(ShardId::new).collect();
            shards.insert(id.clone(), Shard { id, parents, range: Some(self.range(shard)?) });
        }
        Ok(parents_first(shards))
    }
}
