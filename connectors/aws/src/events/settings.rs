//! How a table holds events.

/// A table of events, as its owner has made it: one partition for each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTable {
    pub name: String,
    pub partition: PartitionKey,
    pub sort: SortKey,
}

/// The attribute whose value is a stream's id behind a prefix, a string or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionKey {
    pub attribute: String,
    /// Empty for none; `ORDER#`.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    pub attribute: String,
    pub holds: SortHolds,
}

/// What of an event its sort key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortHolds {
    /// The sequence: as a number, or as text behind a prefix.
    Sequence {
        /// Empty for none; `EVENT#`.
        prefix: String,
        /// How many digits every sequence has, zeros in front included: keys then sort as sequences, and of a stream only
        /// what is asked for is read. None, of text: a stream is always read as a whole, which is slow for long ones.
        width: Option<u8>,
    },
    /// Something else, a date for instance: a stream is always read as a whole.
    SomethingElse,
}
