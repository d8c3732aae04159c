//! Leases in a map.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    Lease, LeaseKey, Result, SourceName,
    ports::{LeaseStore, PutLease},
};

/// Leases by source and key.
#[derive(Default)]
pub struct MemoryLeases {
    leases: Mutex<BTreeMap<(SourceName, LeaseKey), Lease>>,
}

impl MemoryLeases {
    fn change(
        &self,
        source: &SourceName,
        key: &LeaseKey,
        expected: Option<&Lease>,
        lease: Option<&Lease>,
    ) -> PutLease {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.clone(), key.clone());
        let stored = leases.get(&key);
        if stored.map(Lease::state) != expected.map(Lease::state) {
            return PutLease::Conflict(stored.cloned());
        }
        match lease {
            Some(lease) => leases.insert(key, lease.clone()),
            None => leases.remove(&key),
        };
        PutLease::Done
    }
}

#[async_trait]
impl LeaseStore for MemoryLeases {
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(leases.iter().filter(|((of, _), _)| of == source).map(|(_, lease)| lease.clone()).collect())
    }

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(leases.get(&(source.clone(), key.clone())).cloned())
    }

    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease> {
        Ok(self.change(source, &lease.key, expected, Some(lease)))
    }

    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease> {
        Ok(self.change(source, &expected.key, Some(expected), None))
    }
}
