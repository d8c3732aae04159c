//! What sources have in common whose shards are polled: numbers of records, what proves that none is missing, what was
//! fetched, lineage, and how fast a shard is asked.

pub(crate) mod numbers;
pub(crate) mod proof;
pub(crate) mod fetched;
pub(crate) mod lineage;
pub(crate) mod pace;
