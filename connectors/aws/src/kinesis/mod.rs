//! A source on Kinesis Data Streams.
//!
//! A record that a producer has put together from several comes apart in front of everything else: each part has the
//! number of the whole and an index.
//!
//! A reader polls its shard, within what a shard gives to all its readers together, or subscribes to it and is pushed to.
//!
//! What was trimmed before it was read is never passed over: Kinesis itself goes on at the trim horizon without a word,
//! so [`cursor`] looks for the record that it was to go on behind, and refuses if that is not kept any more.

mod hash_key;
mod stream;
mod shards;
mod calls;
mod aggregate;
mod cursor;
mod polling;
mod consumer;
mod subscription;
mod fan_out;
mod opening;
mod source;
mod inspection;
#[cfg(test)]
mod tests;

pub(crate) use inspection::describe;
pub use inspection::inspect;
pub use source::{KinesisOptions, KinesisSource, Reading};
pub(crate) use stream::Stream;
#[cfg(any(test, feature = "memory"))]
pub use {aggregate::encode as aggregate, hash_key::hash_key};
