use std::sync::Arc;

use foldstream_model::{Decimal, Path, Value};

use crate::diagnostic::Place;

/// Where the parts of an event are found in a record. An `event:` in the file names every part that is
/// mapped, and the rest is absent; a source without `event:` has [`EventMapping::default`], the envelope that
/// the embedded store writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMapping {
    pub place: Place,
    pub stream_id: Part,
    /// None: events are numbered per stream in the order in which they come; only for events that are
    /// imported.
    pub sequence: Option<SequencePart>,
    /// None: made from stream id and sequence.
    pub id: Option<Part>,
    pub event_type: Part,
    /// None: version 1.
    pub schema_version: Option<Part>,
    /// None: when the record was stored.
    pub recorded_at: Option<Part>,
    /// None: as `recorded_at`.
    pub effective_at: Option<Part>,
    pub payload: PayloadPart,
    /// None: empty.
    pub metadata: Option<PayloadPart>,
}

/// Where one part is found. In the file a plain string is shorthand for `{ from: … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub place: Place,
    /// In the file a dot inside a name is written `\.`, a backslash `\\`.
    pub from: Path,
    /// Taken off the front of the field's text; a text without it is undecodable.
    pub strip_prefix: Option<String>,
    /// Stands for the field where it is absent or null.
    pub default: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencePart {
    pub part: Part,
    /// The sequence of a stream's first event.
    pub first: u64,
    pub gaps: Gaps,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// Sequences of a stream are first, first + 1, …; a gap is waited for.
    #[default]
    Refuse,
    /// Sequences of a stream only rise; no gap is noticed or repaired.
    Allow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadPart {
    pub place: Place,
    /// None, written `"*"`: a map of all top-level fields of which no other part takes anything.
    pub from: Option<Path>,
    pub encoding: Encoding,
}

/// How a payload stands in its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As a map of the record's own format.
    #[default]
    Map,
    /// As a text that holds JSON.
    Json,
    /// As bytes (base64 in a JSON record) that hold JSON.
    Binary,
    /// As bytes (base64 in a JSON record) that hold gzipped JSON.
    Gzip,
}

/// The path of a top-level field, whatever characters its name has.
fn field(name: &str) -> Path {
    Path::new([Arc::from(name)]).expect("the names of the parts are not empty")
}

impl Part {
    fn from_field(name: &str) -> Self {
        Self { place: Place::default(), from: field(name), strip_prefix: None, default: None }
    }
}

impl Default for EventMapping {
    fn default() -> Self {
        let map =
            |name| PayloadPart { place: Place::default(), from: Some(field(name)), encoding: Encoding::Map };
        Self {
            place: Place::default(),
            stream_id: Part::from_field("stream_id"),
            sequence: Some(SequencePart { part: Part::from_field("sequence"), first: 1, gaps: Gaps::Refuse }),
            id: Some(Part::from_field("id")),
            event_type: Part::from_field("type"),
            schema_version: Some(Part {
                default: Some(Value::Number(Decimal::ONE)),
                ..Part::from_field("schema_version")
            }),
            recorded_at: Some(Part::from_field("recorded_at")),
            effective_at: Some(Part::from_field("effective_at")),
            payload: map("payload"),
            metadata: Some(map("metadata")),
        }
    }
}
