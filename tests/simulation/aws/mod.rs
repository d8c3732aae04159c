//! The same world with its stores and its source in AWS: the connectors, over the real clients, over services in memory.
//! What a network and a service do to requests is done to them here.

mod expressions;
mod tables;
mod streams;
pub mod weather;
mod items;
mod cloud;
mod wire;
mod pushing;
mod stores;
mod fleet;

pub use cloud::Cloud;
pub use fleet::{documents, open};
pub use stores::CloudRows;
