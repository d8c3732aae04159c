//! The shapes of the file as it is written. Their docs are what an editor shows.

#![expect(
    dead_code,
    reason = "only their schema is used: reading keeps places and reports every mistake, which derives cannot"
)]

mod operation;
mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use operation::{Changes, Step};
use source::Source;

type Named<T> = BTreeMap<String, T>;

/// The configuration of Foldstream: where events come from, and the read models that are made of them.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "foldstream.yaml")]
pub struct File {
    /// The version of this format.
    #[schemars(extend("const" = 1))]
    config_version: u32,
    /// Where the engine keeps what it knows. Left out: in the embedded database.
    store: Option<Store>,
    /// Where events come from, by name.
    sources: Option<Named<Source>>,
    /// Where documents are written, by name. A projection without a sink writes into the embedded store.
    sinks: Option<Named<Sink>>,
    /// What folds a stream, by name; gives handlers `before` and `state`.
    reducers: Option<Named<Vec<Step>>>,
    /// The read models, by name.
    projections: Option<Named<Projection>>,
    /// Numbers that trade speed, memory and delay.
    limits: Option<Limits>,
    /// Events, and the documents that they must come to.
    tests: Option<Vec<Test>>,
}

/// A value that begins with `=` is an expression, everything else a literal; `==` at the beginning stands for
/// a literal `=`. `${NAME}` and `${NAME:-default}` are the environment; `$${` stands for `${`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Argument(Value);

/// An expression: begins with `=`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Expression(#[schemars(regex(pattern = r"^="))] String);

/// A whole number, or a variable of the environment that holds one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Whole {
    Number(u64),
    Variable(#[schemars(regex(pattern = r"\$\{"))] String),
}

/// A duration: a whole number and one of the units ms, s, m, h, d.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Duration(#[schemars(regex(pattern = r"^[0-9]+ *(ms|s|m|h|d)$|\$\{"))] String);

/// A number of bytes: a whole number, with KiB, MiB or GiB behind it or nothing.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Bytes {
    Number(u64),
    WithUnit(#[schemars(regex(pattern = r"^[0-9]+ *(KiB|MiB|GiB)?$|\$\{"))] String),
}

/// One, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

/// Journals, checkpoints, leases, parked events, and what operators did.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Store {
    kind: StoreKind,
    /// The table (dynamodb).
    #[schemars(extend("default" = "foldstream"))]
    table: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum StoreKind {
    /// In the embedded database, for one machine.
    Local,
    /// In one table, for a fleet.
    Dynamodb,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sink {
    kind: SinkKind,
    /// The table (dynamodb); `{projection}` and `{version}` stand for those of the projection.
    table: Option<String>,
    /// Where the key of a document stands in an item (dynamodb); an attribute called `key` if nothing is said.
    key: Option<TableKey>,
    /// Global secondary indexes (dynamodb), by name. Their keys are fields of documents; one that lacks a field is not in the
    /// index.
    indexes: Option<Named<IndexKey>>,
    /// Whether a table that is not there is made (dynamodb).
    #[schemars(extend("default" = true))]
    create: Option<bool>,
    /// Write units a second of each projection (dynamodb); no bound if nothing is said.
    max_write_units: Option<Whole>,
    /// Tags of a table that is made (dynamodb).
    tags: Option<BTreeMap<String, String>>,
    /// Whether a table can be restored to any second of the last 35 days (dynamodb).
    #[schemars(extend("default" = false))]
    point_in_time_recovery: Option<bool>,
    /// Whether a table that is made is protected from being deleted (dynamodb).
    #[schemars(extend("default" = false))]
    deletion_protection: Option<bool>,
    /// After so many days DynamoDB removes what is left of deleted documents of `per_stream` projections (dynamodb), such as 30d; never if
    /// nothing is said.
    purge_deleted_after: Option<String>,
    /// The domain (opensearch).
    domain: Option<String>,
    /// The index (opensearch); `{projection}` and `{version}` stand for those of the projection.
    index: Option<String>,
    /// The alias that readers use (opensearch).
    alias: Option<String>,
}

/// An attribute's name, or those of a partition and a sort key.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum TableKey {
    Partition(String),
    Both(BothKeys),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BothKeys {
    partition: KeyAttribute,
    sort: Option<KeyAttribute>,
    /// At its first place in a document's key this is cut in two.
    #[schemars(extend("default" = "/"))]
    separator: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct IndexKey {
    partition: KeyAttribute,
    sort: Option<KeyAttribute>,
}

/// An attribute's name, or that of one that holds numbers.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum KeyAttribute {
    OfStrings(String),
    Typed(TypedKey),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TypedKey {
    attribute: String,
    /// Numbers have 38 digits at most; a document's key has them in their shortest form.
    #[serde(rename = "type")]
    holds: Option<KeyType>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum KeyType {
    String,
    Number,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum SinkKind {
    Local,
    Dynamodb,
    Opensearch,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Projection {
    /// Raise it when the definition changes: a new read model is built beside the old one.
    version: Whole,
    /// The source whose events it reads.
    source: String,
    /// What its documents depend on: the order in one stream, no order, or the order across all streams.
    ordering: Ordering,
    /// The sink that it writes to. Left out: the embedded store.
    sink: Option<String>,
    /// The reducer whose states its handlers see.
    reducer: Option<String>,
    /// What happens at an event that cannot be projected.
    on_failure: Option<OnFailure>,
    /// Under `ordering: global`: by how much an event may come later than its recorded-at would have it.
    #[schemars(extend("default" = "2s"))]
    allowed_lateness: Option<Duration>,
    handlers: Option<Vec<Handler>>,
    /// In place of handlers: a projector that is code.
    projector: Option<Projector>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Ordering {
    /// A document is fed by one stream.
    PerStream,
    /// A document is fed by many streams, in any order among them.
    Commutative,
    /// A document depends on the order across streams.
    Global,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnFailure {
    /// The projection stops in that shard, before the event.
    Stop,
    /// It is set aside, with all that follows it on that document, until it is redriven.
    Park,
    /// The event is left out, on record.
    Discard,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Projector {
    /// The name of a projector that is built into the binary.
    native: Option<String>,
    /// The path of a WebAssembly module.
    wasm: Option<String>,
    /// What the projector is given.
    options: Option<Named<Value>>,
}

/// Which events touch which documents, and what is done to these.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Handler {
    /// One or more event types.
    event: OneOrMany,
    /// The key of the document.
    key: Option<Argument>,
    /// A list of keys; doubles count once, none touches nothing.
    keys: Option<Argument>,
    /// Only events for which this is true.
    when: Option<Expression>,
    #[schemars(flatten)]
    changes: Changes,
    /// The `set` of this handler keeps the value of the event for which this is the greatest.
    latest_by: Option<Expression>,
    /// The `set` of this handler keeps the value of the event for which this is the least.
    earliest_by: Option<Expression>,
    /// Deletes the document.
    #[schemars(extend("const" = true))]
    delete_document: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Sequential tasks that project and write.
    #[schemars(extend("default" = 4))]
    lanes: Option<Whole>,
    /// Records of one read of a shard.
    #[schemars(extend("default" = 500))]
    batch_records: Option<Whole>,
    /// Bytes of payload that the process holds at once.
    #[schemars(extend("default" = "64MiB"))]
    bytes_in_flight: Option<Bytes>,
    /// Bytes that one shard may be read ahead of what is in the documents.
    #[schemars(extend("default" = "16MiB"))]
    read_ahead_bytes: Option<Bytes>,
    /// Bytes of early events that wait in memory for a missing one.
    #[schemars(extend("default" = "8MiB"))]
    early_bytes: Option<Bytes>,
    /// How long changes of documents are gathered before they are written.
    #[schemars(extend("default" = "20ms"))]
    flush_interval: Option<Duration>,
    /// Documents of one write.
    #[schemars(extend("default" = 1000))]
    flush_documents: Option<Whole>,
    /// How often progress is saved.
    #[schemars(extend("default" = "1s"))]
    checkpoint_interval: Option<Duration>,
    /// Bytes of documents and states that are kept to avoid reading them back.
    #[schemars(extend("default" = "64MiB"))]
    cache_bytes: Option<Bytes>,
    /// How long to wait before a source at its end is asked again.
    #[schemars(extend("default" = "100ms"))]
    poll_interval: Option<Duration>,
    /// How many events may be parked of a projection before it stops.
    #[schemars(extend("default" = 10000))]
    parked_events: Option<Whole>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Test {
    name: String,
    /// Events, in the order in which they are recorded.
    given: Vec<GivenEvent>,
    /// `projection/key: { field: value }`: fields that are not named may be anything, null means absent;
    /// `null` for a document that must not exist.
    expect: Option<Named<Option<Named<Value>>>>,
    /// Documents as `projection/key` that an event must have set aside.
    parked: Option<Vec<String>>,
}

/// What is left out is filled in: sequences count per stream, recorded-at grows by a second.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GivenEvent {
    /// The source that it comes from, where there is more than one.
    source: Option<String>,
    stream_id: String,
    #[schemars(rename = "type")]
    event_type: String,
    sequence: Option<Whole>,
    id: Option<String>,
    #[schemars(extend("default" = 1))]
    schema_version: Option<Whole>,
    recorded_at: Option<String>,
    effective_at: Option<String>,
    payload: Option<Named<Value>>,
    metadata: Option<Named<Value>>,
}
