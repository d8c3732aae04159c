//! Which shards a stream has.

use std::collections::BTreeMap;

use aws_sdk_dynamodbstreams::types::{self, KeyType, StreamDescription};
use foldstream_model::{Position, Result, Shard, ShardId};

use super::stream::TableStream;
use crate::polled::{lineage::parents_first, numbers};

/// The stream when it was last asked about.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    /// The attribute that is the partition key of the table.
    pub key: String,
    pub table: String,
    pub shards: BTreeMap<ShardId, KnownShard>,
}

/// What a reader needs to know of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownShard {
    pub id: ShardId,
    /// The shard that it goes on with, though that may be gone.
    pub parent: Option<ShardId>,
    /// The number that its records begin with, where it is told.
    pub first: Option<String>,
    /// The number that its records end with; none: it is open.
    pub last: Option<Position>,
}

impl KnownShard {
    /// In front of all records that it ever had.
    pub(super) fn beginning(&self) -> Result<Position> {
        match &self.first {
            Some(first) => numbers::before(&first.parse()?),
            None => Ok(Position::BEGINNING),
        }
    }
}

impl Listing {
    pub(super) fn in_order(&self) -> Vec<Shard> {
        let shard = |known: &KnownShard| Shard {
            id: known.id.clone(),
            parents: known.parent.iter().cloned().collect(),
            range: None,
        };
        parents_first(self.shards.values().map(|known| (known.id.clone(), shard(known))).collect())
    }
}

impl TableStream {
    /// Every shard that holds records or may get some.
    pub(super) async fn list_shards(&self, arn: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut after: Option<String> = None;
        loop {
            let request = self.client.describe_stream().stream_arn(arn);
            let answer = request.set_exclusive_start_shard_id(after.take()).send().await;
            let answer = answer.map_err(|error| self.failed("DescribeStream", error))?;
            let page = answer.stream_description.ok_or_else(|| self.unreadable("no description"))?;
            after = page.last_evaluated_shard_id.clone();
            self.add(&mut listing, page)?;
            if after.is_none() {
                return Ok(listing);
            }
        }
    }

    fn add(&self, listing: &mut Listing, page: StreamDescription) -> Result<()> {
        let key = page.key_schema().iter().find(|element| *element.key_type() == KeyType::Hash);
        let key = key.ok_or_else(|| self.unreadable("the table's partition key"))?;
        listing.key = key.attribute_name().to_owned();
        listing.table = page.table_name().unwrap_or_default().to_owned();
        for shard in page.shards() {
            let known = self.known(shard)?;
            listing.shards.insert(known.id.clone(), known);
        }
        Ok(())
    }

    fn known(&self, shard: &types::Shard) -> Result<KnownShard> {
        let id = shard.shard_id().ok_or_else(|| self.unreadable("a shard's id"))?;
        let range = shard.sequence_number_range();
        let last = range.and_then(|range| range.ending_sequence_number());
        Ok(KnownShard {
            id: ShardId::new(id),
            parent: shard.parent_shard_id().map(ShardId::new),
            first: range.and_then(|range| range.starting_sequence_number()).map(str::to_owned),
            last: last.map(str::parse).transpose()?,
        })
    }
}
