//! The services of one run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldstream_aws::{
    Connection,
    dynamodb::DynamoDocuments,
    memory::{Remote, Reply, Replying},
};
use foldstream_model::Ids;
use foldstream_tests::{bed::StepClock, memory::log::MemoryLog};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    fleet::{self, Opened},
    streams::{Manner, Streams},
    tables::{Change, Tables},
    weather::Weather,
};
use crate::less::Less;

pub struct Cloud {
    tables: Mutex<Tables>,
    streams: Mutex<Streams>,
    pub weather: Weather,
}

/// Everything that can be, at once.
const WHOLE: Manner = Manner { most: usize::MAX, expired: false };

impl Cloud {
    pub fn new(seed: u64, less: &Less, log: MemoryLog, began: Instant) -> Arc<Self> {
        let weather = Weather::draw(seed, less);
        let streams = Mutex::new(Streams::new(log, began, weather.busy));
        Arc::new(Self { tables: Mutex::default(), streams, weather })
    }

    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a request out; and what has become of items by it.
    pub fn answer(&self, target: &str, input: &Value, manner: Manner) -> (Reply, Vec<Change>) {
        let (service, operation) = target.split_once('.').expect("a service and an operation");
        let mut changes = Vec::new();
        let reply = match service.split('_').next() {
            Some("DynamoDB") => self.tables().answer(operation, input, manner.most, &mut changes),
            Some("Kinesis") => self.streams().answer(operation, input, manner),
            _ => panic!("there is no such service: {target}"),
        };
        (reply, changes)
    }

    /// Its stores, which nothing happens to.
    pub async fn open(self: &Arc<Self>, ids: Arc<dyn Ids>) -> Opened {
        Opened::of(&self.calm(), ids, None).await.expect("stores")
    }

    /// Likewise.
    pub fn documents(self: &Arc<Self>, ids: Arc<dyn Ids>) -> DynamoDocuments {
        fleet::tables(&self.calm(), Arc::new(StepClock::default()), ids)
    }

    fn calm(self: &Arc<Self>) -> Connection {
        Connection::in_memory(Arc::new(Calm(self.clone())))
    }
}

struct Calm(Arc<Cloud>);

impl Remote for Calm {
    fn call(&self, target: &str, input: Value) -> Replying {
        Box::pin(std::future::ready(self.0.answer(target, &input, WHOLE).0))
    }
}
