//! What sources have in common whose shards are polled: numbers of records, lineage, and how fast a shard is asked.

pub(crate) mod numbers;
pub(crate) mod lineage;
pub(crate) mod pace;
