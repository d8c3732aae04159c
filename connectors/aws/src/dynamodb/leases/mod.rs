//! Leases. Those of shards are rows of the table that KCL keeps for an application, attribute for attribute, so that an
//! application can be taken over and handed back; a worker's own place and those of merges, which KCL does not know, are
//! rows of the state table.

mod kcl;
mod change;
mod place;
mod shards;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use foldstream_model::{
    Error, ForeignLease, Lease, LeaseKey, Result, Shard, ShardId, SourceName,
    ports::{LeaseStore, PutLease},
};

pub use self::shards::TellsShards;
use self::{place::Place, shards::ToldShards};
use super::{
    inspection::{self, Trial, Wanted},
    partition::{Pages, Range},
    provision::Provision,
    state::{self, Item, StateTable},
    table::{self, Definition, Index, Key},
};
use crate::{Connection, errors, inspection::Finding};

/// The leases of all sources.
pub struct DynamoLeases {
    state: Arc<StateTable>,
    /// KCL's table by source. The shards of a source without one are leased in the state table.
    tables: BTreeMap<SourceName, String>,
    shards: ToldShards,
}

impl DynamoLeases {
    /// `tables`: by source the name of the table that KCL keeps for it, which is that of a KCL application. One that is not
    /// there is made, if it may be. `Invalid`: a table of this name is none of KCL's.
    pub async fn open(
        connection: &Connection,
        state: Arc<StateTable>,
        tables: BTreeMap<SourceName, String>,
        create: bool,
    ) -> Result<Self> {
        let client = connection.dynamodb();
        for name in tables.values().filter(|_| create) {
            let mut wanted = definition(name);
            if table::describe(&client, name).await?.is_some() {
                // KCL makes the index where it is missing, as in tables from before its version 3.
                wanted.indexes.clear();
            }
            table::ensure(&client, &wanted).await?;
        }
        Ok(Self { state, tables, shards: ToldShards::default() })
    }

    /// Asks once for each thing that is done with a table of leases, and changes nothing.
    pub async fn inspect(connection: &Connection, name: &str) -> Vec<Finding> {
        use Trial::{DeleteItem, GetItem, PutItem, Scan, UpdateItem};

        // The index is KCL's: leases are scanned, and an older application may have made the table without it.
        let definition = Definition { indexes: Vec::new(), ..definition(name) };
        let trials = &[GetItem, Scan, PutItem, UpdateItem, DeleteItem];
        inspection::inspect(&connection.dynamodb(), Wanted { definition: &definition, create: true, trials })
            .await
    }

    fn place<'s>(&'s self, source: &'s SourceName, key: &'s LeaseKey) -> Place<'s> {
        let table = self.tables.get(source).filter(|_| matches!(key, LeaseKey::Shard(_)));
        Place { state: &self.state, source, key, table: table.map(String::as_str) }
    }

    /// Makes the lease of a shard that nobody has begun, for whoever comes.
    async fn offer(&self, source: &SourceName, shard: &Shard) -> Result<()> {
        let key = LeaseKey::Shard(shard.id.clone());
        let lease = Lease { key, owner: None, from: None, counter: 0, checkpoint: None };
        let row = change::first(&lease, Some(shard));
        self.place(source, &lease.key).create(row, false).await.map(drop)
    }

    /// KCL's leases, without its other rows.
    async fn scan(&self, table: &str) -> Result<Vec<Item>> {
        let (mut items, mut start) = (Vec::new(), None);
        loop {
            let request = self.state.client.scan().table_name(table).consistent_read(true);
            let answer = match request.set_exclusive_start_key(start).send().await {
                Ok(answer) => answer,
                // Nobody has begun yet.
                Err(error) if errors::is_missing(&error) => return Ok(items),
                Err(error) => return Err(errors::of(&format!("Scan table={table}"), error)),
            };
            items.extend(answer.items.unwrap_or_default().into_iter().filter(kcl::is_lease));
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    async fn of_kcl(&self, source: &SourceName) -> Result<Vec<Lease>> {
        let Some(table) = self.tables.get(source) else { return Ok(Vec::new()) };
        let mut leases = Vec::new();
        for item in self.scan(table).await? {
            // Those of an application that reads several streams are not this source's.
            if !item.contains_key(kcl::STREAM_NAME) && kcl::is_used(&item) {
                let shard = ShardId::new(state::text_of(&item, kcl::LEASE_KEY)?);
                leases.push(kcl::lease(LeaseKey::Shard(shard), &item)?);
            }
        }
        Ok(leases)
    }

    async fn of_our_own(&self, source: &SourceName) -> Result<Vec<Lease>> {
        let items = Pages::new(&self.state, place::partition(source), Range::All).all().await?;
        items.iter().map(|item| kcl::lease(place::key(item)?, item)).collect()
    }
}

#[async_trait]
impl LeaseStore for DynamoLeases {
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>> {
        let (mut leases, of_kcl) =
            futures::future::try_join(self.of_our_own(source), self.of_kcl(source)).await?;
        leases.extend(of_kcl);
        Ok(leases)
    }

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>> {
        self.place(source, key).get().await
    }

    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease> {
        let place = self.place(source, &lease.key);
        let shard = match &lease.key {
            LeaseKey::Shard(shard) if place.table.is_some() => self.shards.get(source, shard),
            _ => None,
        };
        match expected {
            None => place.create(change::first(lease, shard.as_ref()), true).await,
            Some(expected) => place.update(expected, change::next(expected, lease, shard.as_ref())).await,
        }
    }

    /// A row that an application has made is freed and left to it, with what it says of its shard.
    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease> {
        self.place(source, &expected.key).delete(expected).await
    }

    /// `Invalid`: the application reads several streams, or one of its rows cannot be read.
    async fn foreign(&self, source: &SourceName) -> Result<Vec<ForeignLease>> {
        let Some(table) = self.tables.get(source) else { return Ok(Vec::new()) };
        let mut leases = Vec::new();
        for item in self.scan(table).await? {
            if item.contains_key(kcl::STREAM_NAME) {
                let key = state::text_of(&item, kcl::LEASE_KEY)?;
                return Err(Error::invalid(format!(
                    "a KCL application that reads several streams cannot be taken over: table={table} lease={key}; \
                     name another table for source={source}"
                )));
            }
            leases.extend(kcl::foreign(&item)?);
        }
        leases.sort_by(|a, b| a.shard.cmp(&b.shard));
        Ok(leases)
    }

    /// KCL goes on with the children of a shard at SHARD_END. It has made their leases before that, and once they are there
    /// it needs those of their parents' parents no more.
    async fn hand_back(&self, source: &SourceName, expected: &Lease, children: &[Shard]) -> Result<PutLease> {
        let place = self.place(source, &expected.key);
        let (Some(_), LeaseKey::Shard(id)) = (place.table, &expected.key) else {
            return place.delete(expected).await;
        };
        if children.is_empty() {
            return place.leave(expected, change::free(expected)).await;
        }
        for child in children {
            self.offer(source, child).await?;
        }
        let answer = place.leave(expected, change::end(expected, children)).await?;
        for parent in self.shards.get(source, id).into_iter().flat_map(|shard| shard.parents) {
            self.place(source, &LeaseKey::Shard(parent)).remove_ended().await?;
        }
        Ok(answer)
    }
}

fn definition(name: &str) -> Definition {
    let index = Index {
        name: kcl::OWNER_INDEX.to_owned(),
        key: Key::new(kcl::LEASE_OWNER, Some(kcl::LEASE_KEY)),
        whole: false,
    };
    Definition {
        name: name.to_owned(),
        key: Key::new(kcl::LEASE_KEY, None),
        indexes: vec![index],
        numbers: Some(BTreeSet::new()),
        provision: Provision::default(),
    }
}
