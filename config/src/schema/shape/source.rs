use schemars::JsonSchema;
use serde_json::Value;

use super::{Duration, Expression, OneOrMany, Whole, operation::Upcaster};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Source {
    /// `local`, the default, is the stream embedded in the data folder.
    kind: Option<SourceKind>,
    /// The name of the stream (local, kinesis). A local one is called as the source if nothing is said.
    stream: Option<String>,
    /// How many shards a local stream is created with.
    #[schemars(extend("default" = 4))]
    shards: Option<Whole>,
    /// How long a local stream keeps its records; for ever if nothing is said.
    retention: Option<Duration>,
    /// How a stream is read (kinesis): asked for records again and again, or sent them with enhanced fan-out.
    read: Option<Read>,
    /// The consumer of enhanced fan-out (kinesis).
    #[schemars(extend("default" = "foldstream"))]
    consumer: Option<String>,
    /// The table of the shards' leases (kinesis), in the form of the Kinesis Client Library. Left out: the store's table's
    /// name, a dash, and the source's.
    lease_table: Option<String>,
    /// The table of the events themselves (kinesis): where missing ones are looked for, and streams are folded again from.
    event_table: Option<EventTable>,
    /// The table of the events, whose stream is read (dynamodb_streams).
    table: Option<EventTable>,
    /// Brokers as `host:port` (kafka).
    brokers: Option<OneOrMany>,
    /// The topic (kafka).
    topic: Option<String>,
    /// Where a source begins that was never read. LEASE_TABLE (kinesis): behind the checkpoints of the application of the
    /// Kinesis Client Library that `lease_table` names; what comes before them is in no document.
    start: Option<Start>,
    /// With `start: AT_TIMESTAMP`: the instant, as 2026-01-31T12:00:00Z.
    start_timestamp: Option<String>,
    /// Which items are events: an expression over `item`.
    include: Option<Expression>,
    /// Where the parts of an event are found. Parts that are left out are absent; without `event`, all parts
    /// are found in fields of their own names.
    event: Option<Event>,
    /// Lift events of an older schema version to the next.
    upcasters: Option<Vec<Upcaster>>,
    /// An item that was an event was changed.
    on_modify: Option<OnModify>,
    /// An item that was an event was deleted.
    on_remove: Option<OnRemove>,
    /// An event of a type that is handled has a newer schema version than the upcasters of its type lead to: each projection stops before it
    /// in its shard (wait), its stream alone waits (park), or it has no effect (ignore); whatever `on_failure` says. Types without
    /// upcasters are taken at any version.
    on_newer_schema: Option<OnNewerSchema>,
    /// The event types that the source is known to carry.
    types: Option<OneOrMany>,
    /// An event has a type that is not in `types`.
    on_unknown_type: Option<OnUnknownType>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum SourceKind {
    Local,
    Kinesis,
    DynamodbStreams,
    Kafka,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Read {
    Polling,
    FanOut,
}

/// A table's name, or what else is to be known of it. The stream's id is its partition key.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum EventTable {
    Table(String),
    Described(DescribedTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DescribedTable {
    table: String,
    /// The sort key's attribute. Left out: that of the sequence.
    sort_key: Option<String>,
    /// How many digits a sequence has in a sort key that is a text, zeros in front included. Left out: they are not padded, and
    /// a stream is always read as a whole.
    width: Option<Whole>,
    /// A global secondary index that holds all events in one order.
    order: Option<CommitOrder>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CommitOrder {
    index: String,
    /// The index's partition key: a number from 0 on, below `shards`.
    shard: String,
    shards: Whole,
    /// The index's sort key: a KSUID.
    id: String,
    /// Younger events are not shown yet.
    #[schemars(extend("default" = "10s"))]
    safe_window: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum Start {
    TrimHorizon,
    Latest,
    AtTimestamp,
    LeaseTable,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnModify {
    Ignore,
    Redact,
    Park,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnRemove {
    Ignore,
    Park,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnNewerSchema {
    Wait,
    Park,
    Ignore,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnUnknownType {
    Ignore,
    Park,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Event {
    /// What the event is a fact of: the aggregate's id.
    stream_id: Part,
    /// The place of the event in its stream. Left out: events are numbered in the order in which they are
    /// imported.
    sequence: Option<SequencePart>,
    /// The event's own id. Left out: made of stream id and sequence.
    id: Option<Part>,
    /// What happened.
    #[schemars(rename = "type")]
    event_type: Part,
    /// Left out: 1.
    schema_version: Option<Part>,
    /// When it was stored: RFC 3339, in UTC if it has no offset, or a number since 1970. Left out: when it is
    /// imported.
    recorded_at: Option<Part>,
    /// When it was true, written as `recorded_at`. Left out: the same.
    effective_at: Option<Part>,
    /// What it says. `"*"` stands for all fields of which no other part takes anything.
    payload: PayloadPart,
    /// What else is known about it. Left out: nothing.
    metadata: Option<PayloadPart>,
}

/// A field's name, or where it is and how it is read. Dots separate the names of nested fields; `\.` is a dot
/// in a name.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Part {
    From(String),
    Mapped(MappedPart),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct MappedPart {
    from: String,
    /// Taken off the front of the field's text.
    strip_prefix: Option<String>,
    /// Stands for a field that is absent or null.
    default: Option<Value>,
}

/// A field's name, or where it is and how it is read. Dots separate the names of nested fields; `\.` is a dot
/// in a name.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum SequencePart {
    From(String),
    Mapped(MappedSequence),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct MappedSequence {
    from: String,
    /// Taken off the front of the field's text.
    strip_prefix: Option<String>,
    /// Stands for a field that is absent or null.
    default: Option<Value>,
    /// The sequence of a stream's first event.
    #[schemars(extend("default" = 1))]
    first: Option<Whole>,
    /// Whether sequences of a stream may leave numbers out; then no missing event is noticed.
    gaps: Option<Gaps>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Gaps {
    Refuse,
    Allow,
}

/// A field's name, `"*"` for all remaining fields, or where it is and how it is encoded.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PayloadPart {
    From(String),
    Mapped(MappedPayload),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct MappedPayload {
    from: String,
    encoding: Option<Encoding>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Encoding {
    /// A map of the record's own format.
    Map,
    /// A text that holds JSON.
    Json,
    /// Bytes that hold JSON; in base64 in a record of JSON.
    Binary,
    /// Bytes that hold gzipped JSON, of 16 MiB at most when it is unpacked; in base64 in a record of JSON.
    Gzip,
}
