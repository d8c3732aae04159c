//! What is kept in DynamoDB.

mod table;
mod state;
mod rows;

pub use rows::DynamoRows;
pub use state::StateTable;
