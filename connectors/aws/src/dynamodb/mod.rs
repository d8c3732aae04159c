//! What is kept in DynamoDB.

mod table;
mod state;
mod rows;
mod item;
mod pace;
mod ceiling;
mod documents;

pub use documents::{DocumentTables, DynamoDocuments, SecondaryIndex};
pub use item::{KeyAttributes, SortKey};
mod partition;
mod transaction;
mod parking;

pub use parking::DynamoParking;
pub use rows::DynamoRows;
pub use state::StateTable;
