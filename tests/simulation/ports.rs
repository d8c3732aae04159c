//! The ports as one worker has them: full stores behind a link that fails.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    DocumentKey, Error, Event, Lease, LeaseKey, Lot, MarkNumber, ParkedOrder, Position, ReadModel, Result,
    Sequence, Shard, ShardId, SourceName, StreamId,
    ports::{
        self, Append, Appended, Batch, CheckpointStore, DocumentStore, DocumentWrite, EventStore, From,
        LeaseStore, Offset, Parked, ParkedPage, ParkingLot, Put, PutLease, ReadLimit, Revision, Row, RowKey,
        ShardReader, Source, SourceDescription, StoredDocument, Table, Written,
    },
};

use crate::{
    link::{Link, pause},
    projections::Kind,
    watcher,
    world::World,
};

pub struct Documents(pub Arc<Link>);

async fn write(world: Arc<World>, model: ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
    let mut outcomes = Vec::new();
    for write in writes {
        if is_refused(&world, &model, &write) {
            outcomes.push(Written::Rejected(Error::poison("the store does not take this document")));
            continue;
        }
        let before = world.known_documents.stored(&model, &write.key);
        let after = write.clone();
        let outcome = world.documents.write(&model, vec![write]).await?.remove(0);
        if matches!(outcome, Written::Done) {
            watcher::document(&world, &model, before, &after);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn is_refused(world: &World, model: &ReadModel, write: &DocumentWrite) -> bool {
    let kind = Kind::of(model.name.as_str());
    let text = write.put.document.as_ref().map(|document| document.to_canonical_json());
    let is_refused = text.is_some_and(|text| !world.is_mended(kind) && world.workload.refuses(kind, &text));
    if is_refused {
        world.count("write refused");
    }
    is_refused
}

#[async_trait]
impl DocumentStore for Documents {
    async fn open(&self, model: &ReadModel) -> Result<String> {
        self.0.world.documents.open(model).await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        self.0.dawdle(Kind::of(model.name.as_str())).await;
        self.0.read("reading documents", self.0.world.documents.read(model, keys)).await
    }

    async fn write(&self, model: &ReadModel, mut writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        self.0.dawdle(Kind::of(model.name.as_str())).await;
        let partial = writes.len() > 1 && self.0.world.strikes("partial batch", self.0.world.weather.partial);
        if partial {
            let mut chance = self.0.world.chance().fork();
            writes.retain(|_| chance.one_in(2));
        }
        let described: Vec<_> =
            writes.iter().map(|write| format!("{}@{:?}", write.key, write.put.guard.fed)).collect();
        let (world, model) = (self.0.world.clone(), model.clone());
        let what = format!("write {model} {}", described.join(" "));
        let request = Box::new(move || -> crate::link::Carried<_> {
            Box::pin(write(world.clone(), model.clone(), writes.clone()))
        });
        let answer = self.0.write(what, request).await;
        if partial { Err(Error::transient("a part of the batch was done")) } else { answer }
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        self.0.read("listing documents", self.0.world.documents.list(model, after, limit)).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.0.world.documents.remove(model).await
    }
}

/// The leases of the fleet; or those of a worker that sees nobody else, and believes that everything is its own.
pub struct Leases {
    pub link: Arc<Link>,
    pub store: Arc<dyn LeaseStore>,
}

impl Leases {
    async fn change(
        &self,
        source: &SourceName,
        key: &LeaseKey,
        expected: Option<&Lease>,
        lease: Option<&Lease>,
    ) -> Result<PutLease> {
        let (store, source) = (self.store.clone(), source.clone());
        let (expected, lease) = (expected.cloned(), lease.cloned());
        let what = format!("lease {key} {lease:?}");
        let world = self.link.world.clone();
        let request = Box::new(move || -> crate::link::Carried<_> {
            let (store, source, world) = (store.clone(), source.clone(), world.clone());
            let (expected, lease) = (expected.clone(), lease.clone());
            Box::pin(async move {
                let put = match (&expected, &lease) {
                    (expected, Some(lease)) => store.put(&source, expected.as_ref(), lease).await?,
                    (Some(expected), None) => store.delete(&source, expected).await?,
                    (None, None) => PutLease::Done,
                };
                if let (PutLease::Done, Some(expected), Some(lease)) = (&put, &expected, &lease) {
                    watcher::lease(&world, expected, lease);
                }
                Ok(put)
            })
        });
        self.link.write(what, request).await
    }
}

#[async_trait]
impl LeaseStore for Leases {
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>> {
        self.link.read("listing leases", self.store.list(source)).await
    }

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>> {
        self.link.read("get a lease", self.store.get(source, key)).await
    }

    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease> {
        self.change(source, &lease.key, expected, Some(lease)).await
    }

    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease> {
        self.change(source, &expected.key, Some(expected), None).await
    }
}

pub struct Checkpoints(pub Arc<Link>);

async fn put(
    world: Arc<World>,
    key: RowKey,
    expected: Option<Revision>,
    body: Bytes,
    beside: Option<(RowKey, Revision)>,
) -> Result<Put> {
    let before = world.checkpoints.body(&key);
    let put = world.checkpoints.put(&key, expected, body.clone(), beside.as_ref()).await?;
    if matches!(put, Put::Done(_)) {
        watcher::row(&world, &key, before.as_ref(), &body).await;
    }
    Ok(put)
}

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        self.0.read(&format!("get {key}"), self.0.world.checkpoints.get(key)).await
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        self.0.read("listing rows", self.0.world.checkpoints.list(table, partition, after, limit)).await
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        let (world, key, beside) = (self.0.world.clone(), key.clone(), beside.cloned());
        let told = match key.table {
            Table::Checkpoints | Table::Journals => String::from_utf8_lossy(&body).into_owned(),
            _ => String::new(),
        };
        let what = format!("put {key} expected={expected:?} {told}");
        let request = Box::new(move || -> crate::link::Carried<_> {
            Box::pin(put(world.clone(), key.clone(), expected, body.clone(), beside.clone()))
        });
        self.0.write(what, request).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        let (store, key) = (self.0.world.checkpoints.clone(), key.clone());
        let what = format!("delete {key}");
        let request = Box::new(move || -> crate::link::Carried<_> {
            let (store, key) = (store.clone(), key.clone());
            Box::pin(async move { store.delete(&key).await })
        });
        self.0.write(what, request).await
    }
}

pub struct Events(pub Arc<Link>);

#[async_trait]
impl EventStore for Events {
    async fn append(&self, _: Vec<Append>) -> Result<Appended> {
        Err(Error::internal("a worker appends nothing"))
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        self.0.read("reading a stream", self.0.world.events.read_stream(stream, from, limit)).await
    }

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        self.0.read("reading all events", self.0.world.events.read_all(after, limit)).await
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        self.0.read("reading last sequences", self.0.world.events.last_sequences(streams)).await
    }
}

pub struct Log(pub Arc<Link>);

#[async_trait]
impl Source for Log {
    async fn describe(&self) -> Result<SourceDescription> {
        self.0.read("describing the log", self.0.world.log.describe()).await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        self.0.read("listing shards", self.0.world.log.shards()).await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let reader = self
            .0
            .read(&format!("open {shard} {from:?}"), self.0.world.log.open(shard, from.clone()))
            .await?;
        Ok(Box::new(Reader { link: self.0.clone(), position: reader.position(), reader, held: None }))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.0.world.log.hash_key(partition_key)
    }
}

struct Reader {
    link: Arc<Link>,
    reader: Box<dyn ShardReader>,
    position: Position,
    /// What was read and is on its way: dropping a read loses nothing.
    held: Option<Batch>,
}

#[async_trait]
impl ShardReader for Reader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        self.link.step().await;
        self.link.reach().await?;
        if self.held.is_none() {
            pause(self.link.world.way()).await;
            self.link.fails("reading records")?;
            self.held = Some(self.reader.read(limit).await?);
        }
        pause(self.link.world.way()).await;
        self.link.thawed().await;
        Ok(self.held.take().unwrap_or_default())
    }

    fn position(&self) -> Position {
        self.position.clone()
    }
}

pub struct Parking(pub Arc<Link>);

#[async_trait]
impl ParkingLot for Parking {
    async fn append(&self, lot: &Lot, parkings: Vec<ports::Parking>) -> Result<Vec<Parked>> {
        parkings.iter().flat_map(|one| &one.events).for_each(|event| watcher::parked(&self.0.world, event));
        let (parking, lot) = (self.0.world.parking.clone(), lot.clone());
        let orders = |one: &ports::Parking| {
            one.events.iter().map(|event| event.order.place.to_string()).collect::<Vec<_>>().join(" ")
        };
        let described: Vec<_> =
            parkings.iter().map(|one| format!("{}@{} {}", one.document, one.mark.0, orders(one))).collect();
        let what = format!("park {} {}", lot.row_name(), described.join(" "));
        let request = Box::new(move || -> crate::link::Carried<_> {
            let (parking, lot, parkings) = (parking.clone(), lot.clone(), parkings.clone());
            Box::pin(async move { parking.append(&lot, parkings).await })
        });
        self.0.write(what, request).await
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        self.0.read("listing parked events", self.0.world.parking.list(lot, document, after, limit)).await
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        let (parking, lot, document) = (self.0.world.parking.clone(), lot.clone(), document.clone());
        let orders = orders.to_vec();
        let what = format!("unpark {} {document} {}", lot.row_name(), orders.len());
        let request = Box::new(move || -> crate::link::Carried<_> {
            let (parking, lot) = (parking.clone(), lot.clone());
            let (document, orders) = (document.clone(), orders.clone());
            Box::pin(async move { parking.remove(&lot, &document, &orders).await })
        });
        self.0.write(what, request).await
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        let (parking, lot, document) = (self.0.world.parking.clone(), lot.clone(), document.clone());
        let what = format!("close {} {document} {}", lot.row_name(), mark.0);
        let request = Box::new(move || -> crate::link::Carried<_> {
            let (parking, lot, document) = (parking.clone(), lot.clone(), document.clone());
            Box::pin(async move { parking.close(&lot, &document, mark).await })
        });
        self.0.write(what, request).await
    }

    async fn clear(&self, lot: &Lot) -> Result<()> {
        self.0.world.parking.clear(lot).await
    }
}
