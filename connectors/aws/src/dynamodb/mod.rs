//! What is kept in DynamoDB.

pub(crate) mod table;
mod inspection;
mod state;
mod transaction;
mod partition;
mod rows;
mod parking;
mod leases;
mod keys;
mod provision;
pub(crate) mod item;
mod pace;
mod ceiling;
mod documents;

pub(crate) use table::describe as describe_table;

pub use documents::{DocumentTables, DynamoDocuments};
pub use keys::{KeyAttribute, KeyAttributes, KeyType, SecondaryIndex, SortKey};
pub use leases::{DynamoLeases, TellsShards};
pub use parking::DynamoParking;
pub use provision::Provision;
pub use rows::DynamoRows;
pub(crate) use state::Item;
pub use state::StateTable;
