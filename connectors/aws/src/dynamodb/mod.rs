//! What is kept in DynamoDB.

pub(crate) mod table;
mod inspection;
mod state;
mod transaction;
mod partition;
mod rows;
mod parking;
mod leases;
pub(crate) mod item;
mod pace;
mod ceiling;
mod documents;

pub(crate) use table::describe as describe_table;

pub use documents::{DocumentTables, DynamoDocuments, SecondaryIndex};
pub use item::{KeyAttributes, SortKey};
pub use leases::{DynamoLeases, KclCheckpoint, TellsShards};
pub use parking::DynamoParking;
pub use rows::DynamoRows;
pub(crate) use state::Item;
pub use state::StateTable;
