//! How far everything is: put together from what is stored and from what a running worker last said of itself.

mod facts;
mod missing;
mod rates;
mod standing;
mod stopped;

pub use facts::{Facts, reports};
pub use missing::{GAP, missing, missing_for_programs, missing_in_words, sequences};
pub use rates::{LineRate, Rates};
pub use standing::{ProjectionStanding, ShardStanding, State};
pub use stopped::{WHAT_TO_DO, WHAT_TO_DO_ABOUT_A_RECORD, stop_in_words};
