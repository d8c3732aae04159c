//! A source on DynamoDB Streams.
//!
//! Records are changes of a table's items, in the JSON that DynamoDB itself writes into a Kinesis stream: they are read by
//! [`crate::change`], and moved by [`crate::relay`].
//!
//! What was trimmed before it was read is never passed over. DynamoDB refuses what is older than its 24 hours; beyond that,
//! every iterator is asked for *at* the record that reading continues behind, which must then come first.

mod stream;
mod shards;
mod record;
mod calls;
mod cursor;
mod reader;
mod opening;
mod source;
mod inspection;
#[cfg(test)]
pub(crate) mod tests;

pub use inspection::inspect;
pub(crate) use source::Descent;
pub use source::{StreamsOptions, StreamsSource};
