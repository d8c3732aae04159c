/// The parts of an event, as they are called in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    StreamId,
    Sequence,
    Id,
    Type,
    SchemaVersion,
    RecordedAt,
    EffectiveAt,
    Payload,
    Metadata,
}

impl Part {
    /// In the order in which they are written.
    pub const ALL: [Self; 9] = [
        Self::StreamId,
        Self::Sequence,
        Self::Id,
        Self::Type,
        Self::SchemaVersion,
        Self::RecordedAt,
        Self::EffectiveAt,
        Self::Payload,
        Self::Metadata,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::StreamId => "stream_id",
            Self::Sequence => "sequence",
            Self::Id => "id",
            Self::Type => "type",
            Self::SchemaVersion => "schema_version",
            Self::RecordedAt => "recorded_at",
            Self::EffectiveAt => "effective_at",
            Self::Payload => "payload",
            Self::Metadata => "metadata",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}
