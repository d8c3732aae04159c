//! How far everything is: put together from what is stored and from what a running worker last said of itself.

mod facts;
mod rates;
mod standing;

pub use facts::Facts;
pub use rates::{LineRate, Rates};
pub use standing::{ProjectionStanding, ShardStanding, State};
