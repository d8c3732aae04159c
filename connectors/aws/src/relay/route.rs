//! Where a record goes.

use foldstream_model::Record;

/// What decides the shard of the stream that a record comes to. Records of one aggregate must have one route, whatever
/// else is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The aggregate's id: records of one key arrive in order. Up to 256 characters.
    pub partition_key: String,
    /// Instead of the key's hash.
    pub explicit_hash_key: Option<u128>,
}

impl Route {
    /// By the partition key of the table, where that is the aggregate's id.
    pub fn by_partition_key(record: &Record) -> Self {
        Self { partition_key: record.partition_key.to_string(), explicit_hash_key: None }
    }
}
