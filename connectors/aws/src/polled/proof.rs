//! Whether all that came before a record was read: where the one that reading continues behind is kept, all behind it is.

use foldstream_model::{Position, Record};

use super::numbers;

/// What the next record must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Whatever comes next.
    None,
    /// The one at this position, of which no sub-record up to its index is wanted, or directly behind it.
    Meets(Position),
    /// None: what was asked for is gone, and only where nothing has come since may that mean nothing.
    Nothing,
}

impl Proof {
    pub(crate) fn admits(&self, first: &Record) -> bool {
        match self {
            Self::None => true,
            Self::Meets(position) => {
                first.position.number() == position.number()
                    || numbers::is_directly_before(position, &first.position)
            }
            Self::Nothing => false,
        }
    }
}

/// What was found where a record was expected, for errors.
pub(crate) fn kept(found: Option<&Record>) -> String {
    found.map_or_else(
        || "nothing is kept".to_owned(),
        |found| format!("first_kept={} first_kept_arrived_at={}", found.position, found.arrived_at),
    )
}
