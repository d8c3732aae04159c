use foldstream_model::{Map, Timestamp, Value};

use super::{Name, Spanned};

/// One entry of `tests:`: these events, then these documents.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    pub name: Spanned<String>,
    /// In the order in which they are recorded.
    pub given: Vec<GivenEvent>,
    pub expect: Vec<ExpectedDocument>,
    /// Documents or streams, as `projection/key`, that an event of `given` must poison.
    pub parked: Vec<Spanned<DocumentName>>,
}

/// An event as a test states it. What is left out is filled in by the test's runner: sequences count per
/// stream, recorded-at begins at a fixed instant and grows by a second.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenEvent {
    /// The source that it comes from; none: the only one.
    pub source: Option<Spanned<Name>>,
    pub stream_id: Spanned<String>,
    pub event_type: Spanned<String>,
    pub sequence: Option<u64>,
    pub id: Option<String>,
    pub schema_version: u32,
    pub recorded_at: Option<Timestamp>,
    pub effective_at: Option<Timestamp>,
    pub payload: Map,
    pub metadata: Map,
}

/// `projection/key`, split at the first `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentName {
    /// A projection of this file.
    pub projection: Name,
    pub key: String,
}

/// A document that a test expects.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedDocument {
    pub document: Spanned<DocumentName>,
    pub expectation: Expectation,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// Written `null`: there must be no such document.
    Absent,
    /// These fields have these values, others may exist; a field that is null must be absent. In the order of
    /// the file.
    Fields(Vec<(Spanned<String>, Value)>),
}
