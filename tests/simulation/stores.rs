//! What a run's stores are, beside what any store is: what is stored can be looked at at once.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use foldstream_model::{
    DocumentKey, ReadModel,
    ports::{CheckpointStore, DocumentStore, LeaseStore, ParkingLot, RowKey, StoredDocument},
};
use foldstream_tests::memory::{
    MemoryCheckpoints, documents::MemoryDocuments, leases::MemoryLeases, log::MemoryLog,
    parking::MemoryParking,
};
use tokio::time::Instant;

use crate::{
    aws::{Cloud, CloudRows},
    less::Less,
};

/// Where a run keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bed {
    /// In maps.
    Memory,
    /// In services that are in memory, behind the connectors.
    Aws,
}

pub trait KnownDocuments: Send + Sync {
    /// What is stored under a key.
    fn stored(&self, model: &ReadModel, key: &DocumentKey) -> Option<StoredDocument>;

    /// The live documents of a read model as canonical JSON.
    fn shown(&self, model: &ReadModel) -> BTreeMap<String, String>;
}

pub trait KnownRows: CheckpointStore {
    fn body(&self, key: &RowKey) -> Option<Bytes>;
}

impl KnownDocuments for MemoryDocuments {
    fn stored(&self, model: &ReadModel, key: &DocumentKey) -> Option<StoredDocument> {
        self.stored(model, key)
    }

    fn shown(&self, model: &ReadModel) -> BTreeMap<String, String> {
        self.shown(model)
    }
}

impl KnownRows for MemoryCheckpoints {
    fn body(&self, key: &RowKey) -> Option<Bytes> {
        self.body(key)
    }
}

/// Nothing that is asked of them by these ways fails.
pub struct Stores {
    pub documents: Arc<dyn DocumentStore>,
    pub known_documents: Arc<dyn KnownDocuments>,
    pub checkpoints: Arc<dyn KnownRows>,
    pub leases: Arc<dyn LeaseStore>,
    pub parking: Arc<dyn ParkingLot>,
    pub log: MemoryLog,
    /// The services, where stores and source are in AWS.
    pub cloud: Option<Arc<Cloud>>,
}

impl Stores {
    pub async fn new(
        bed: Bed,
        seed: u64,
        less: &Less,
        shards: u32,
        ids: Arc<dyn foldstream_model::Ids>,
    ) -> Self {
        match bed {
            Bed::Memory => {
                let documents = Arc::new(MemoryDocuments::default());
                Self {
                    documents: documents.clone(),
                    known_documents: documents,
                    checkpoints: Arc::new(MemoryCheckpoints::default()),
                    leases: Arc::new(MemoryLeases::default()),
                    parking: Arc::new(MemoryParking::default()),
                    log: MemoryLog::new("log", shards),
                    cloud: None,
                }
            }
            Bed::Aws => {
                let log = MemoryLog::hashed("events", shards, foldstream_aws::memory::hash_key);
                let cloud = Cloud::new(seed, less, log.clone(), Instant::now());
                let opened = cloud.open(ids.clone()).await;
                Self {
                    documents: Arc::new(cloud.documents(ids)),
                    known_documents: cloud.clone(),
                    checkpoints: Arc::new(CloudRows { cloud: cloud.clone(), rows: opened.rows }),
                    leases: opened.leases,
                    parking: Arc::new(opened.parking),
                    log,
                    cloud: Some(cloud),
                }
            }
        }
    }
}
