//! Where partition keys fall among the hash keys.

use md5::{Digest, Md5};

/// MD5 as a big-endian number: <https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html#partition-key>
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}
