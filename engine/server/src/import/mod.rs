//! Taking events from lines of JSON into an event store.
//!
//! A file is read line by line ([`lines`]), each line becomes an event by a mapping of field names ([`mapping`]), the event
//! is judged against what is stored ([`judge`]), and what is new is appended in batches ([`importing`]). Importing a file
//! again takes what is new in it and skips what is stored.

mod lines;
mod mapping;
mod judge;
mod importing;
mod rehearsal;

pub use importing::{EMBEDDED, IN_A_TABLE, Import, Progress, Tally};
pub use lines::{Line, Lines};
pub use mapping::{Mapping, Unusable};
pub use rehearsal::Rehearsal;
