//! AWS behind the ports of `foldstream-model`: sources on Kinesis and DynamoDB Streams, and events, documents, leases and
//! all small rows on DynamoDB.
//!
//! [`Connection`] holds the clients, of the official SDKs. These send each request once: whoever called decides by the
//! kind of an error whether it is worth another try, so that there is one place that retries and one budget.

mod errors;
pub mod planted;
mod connection;
pub mod permissions;
pub mod inspection;
pub mod change;
mod polled;
pub mod kinesis;
pub mod dynamodb;
pub mod events;
pub mod streams;
pub mod relay;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
#[cfg(test)]
mod testing;

pub use connection::{Connection, ConnectionOptions};
