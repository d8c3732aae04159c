//! JSON to values and values to JSON.

mod mask;
mod masked;
mod parse;
mod strict;
mod serde;
mod write;

pub use mask::FieldMask;
pub(crate) use masked::value as masked_value;
pub use parse::{MAX_DEPTH, ParseError};
pub(crate) use strict::Strict;
pub use write::write_canonical_map;
