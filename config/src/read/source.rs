use std::time::Duration;

use super::{Fields, Reader, event, operation, section, store};
use crate::{
    settings::{
        CommitOrder, EventMapping, EventTable, Name, OnModify, OnNewerSchema, OnRemove, OnUnknownType,
        Reading, Source, SourceKind, Spanned, Start, Upcaster,
    },
    yaml::{Kind, Node},
};

const ON_MODIFY: [(&str, OnModify); 3] =
    [("ignore", OnModify::Ignore), ("redact", OnModify::Redact), ("park", OnModify::Park)];
const ON_REMOVE: [(&str, OnRemove); 2] = [("ignore", OnRemove::Ignore), ("park", OnRemove::Park)];
const ON_NEWER_SCHEMA: [(&str, OnNewerSchema); 3] =
    [("wait", OnNewerSchema::Wait), ("park", OnNewerSchema::Park), ("ignore", OnNewerSchema::Ignore)];
const ON_UNKNOWN_TYPE: [(&str, OnUnknownType); 2] =
    [("ignore", OnUnknownType::Ignore), ("park", OnUnknownType::Park)];

const KINDS: [&str; 3] = ["local", "kinesis", "dynamodb_streams"];
const LATER_KINDS: [&str; 1] = ["kafka"];
/// What a Kinesis stream is read as, with enhanced fan-out, where nothing else is said.
const DEFAULT_CONSUMER: &str = "foldstream";
/// A sequence has 64 bits.
const MOST_DIGITS: u32 = 20;
/// Twice the time that a write may take, and that an index may trail its table.
const DEFAULT_SAFE_WINDOW: Duration = Duration::from_secs(10);

const DEFAULT_SHARDS: u32 = 4;
/// A Kinesis stream has no more without asking AWS.
const MOST_SHARDS: u32 = 1_000;

pub(super) fn source(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(reader, node, "the settings of a source")?;
    let default = Spanned::new("local", fields.place());
    let word = fields.or(reader, "kind", default, |r, node| r.kind(node, "source", &KINDS, &LATER_KINDS));
    let is_known = word.is_some();
    let kind = word.and_then(|word| source_kind(reader, &mut fields, name, word));
    let start = start(reader, &mut fields);
    let include = fields.optional(reader, "include", |reader, node| reader.expression(node, "`include`"));
    let event = fields.optional(reader, "event", event::mapping);
    let upcasters = fields.or(reader, "upcasters", Vec::new(), |r, node| section::list(r, node, upcaster));
    let on_modify = fields.word(reader, "on_modify", &ON_MODIFY);
    let on_remove = fields.word(reader, "on_remove", &ON_REMOVE);
    let on_newer_schema = fields.word(reader, "on_newer_schema", &ON_NEWER_SCHEMA);
    let types = fields.optional(reader, "types", |r, node| section::texts(r, node, "an event type"));
    let on_unknown_type = fields.word(reader, "on_unknown_type", &ON_UNKNOWN_TYPE);
    if !is_known {
        fields.ignore_rest();
    }
    fields.finish(reader);
    let upcasters = upcasters?;
    refuse_double_upcasters(reader, &upcasters);
    Some(Source {
        place: name.place,
        kind: kind?,
        start: start?,
        include: include?,
        event: event?.unwrap_or_else(EventMapping::default),
        upcasters,
        on_modify: on_modify?,
        on_remove: on_remove?,
        on_newer_schema: on_newer_schema?,
        types: types?,
        on_unknown_type: on_unknown_type?,
    })
}

fn source_kind(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    name: &Spanned<Name>,
    word: Spanned<&str>,
) -> Option<Spanned<SourceKind>> {
    let kind = match word.value {
        "local" => local(reader, fields, name)?,
        "kinesis" => kinesis(reader, fields)?,
        "dynamodb_streams" => {
            SourceKind::DynamodbStreams { table: fields.required(reader, "table", event_table)? }
        }
        _ => {
            fields_of_kafka(reader, fields);
            return None;
        }
    };
    Some(Spanned::new(kind, word.place))
}

/// What is there is checked; what is missing is no mistake, as the kind can not be had anyway.
fn fields_of_kafka(reader: &mut Reader<'_>, fields: &mut Fields<'_>) {
    let what = "a broker's host:port";
    drop(fields.optional(reader, "brokers", |r, node| section::texts(r, node, what)));
    drop(fields.optional(reader, "topic", |r, node| r.text(node, "a topic's name")));
}

fn local(reader: &mut Reader<'_>, fields: &mut Fields<'_>, name: &Spanned<Name>) -> Option<SourceKind> {
    let stream = fields.or(reader, "stream", name.to_string(), |reader, node| {
        reader.name(node, "the name of an embedded stream").map(|name| name.to_string())
    });
    let shards =
        fields.or(reader, "shards", DEFAULT_SHARDS, |r, node| r.small_integer(node, 1..=MOST_SHARDS));
    let retention = fields.optional(reader, "retention", Reader::duration);
    Some(SourceKind::Local { stream: stream?, shards: shards?, retention: retention? })
}

fn kinesis(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<SourceKind> {
    let stream = fields.required(reader, "stream", |r, node| r.text(node, "a stream's name"));
    let read = fields.word(reader, "read", &[("polling", false), ("fan_out", true)]);
    let consumer = fields.optional(reader, "consumer", |r, node| r.spanned_text(node, "a consumer's name"));
    let lease_table = fields.optional(reader, "lease_table", store::table);
    let event_table = fields.optional(reader, "event_table", event_table);
    let reading = match (read?.value, consumer?) {
        (true, consumer) => Reading::FanOut {
            consumer: consumer.map_or_else(|| DEFAULT_CONSUMER.to_owned(), |name| name.value),
        },
        (false, None) => Reading::Polling,
        (false, Some(consumer)) => {
            let help = "add `read: fan_out`, or leave `consumer` out";
            reader.error(consumer.place, "only enhanced fan-out reads as a consumer", help);
            return None;
        }
    };
    Some(SourceKind::Kinesis {
        stream: stream?,
        reading,
        lease_table: lease_table?,
        event_table: event_table?,
    })
}

/// The name of a table, or what else is to be known of it.
fn event_table(reader: &mut Reader<'_>, node: &Node) -> Option<EventTable> {
    let named = |reader: &mut Reader<'_>, node: &Node| {
        store::table(reader, node).map(|table| Spanned::new(table, node.place))
    };
    if matches!(node.kind, Kind::Scalar { .. }) {
        let table = named(reader, node)?;
        return Some(EventTable { table, sort_key: None, width: None, order: None });
    }
    let mut fields = Fields::of(reader, node, "a table's name, or `{ table: …, width: … }`")?;
    let table = fields.required(reader, "table", named);
    let sort_key = fields.optional(reader, "sort_key", |r, node| r.text(node, "an attribute's name"));
    let width = fields.optional(reader, "width", |r, node| r.small_integer(node, 1..=MOST_DIGITS));
    let order = fields.optional(reader, "order", order);
    fields.finish(reader);
    let width = width?.and_then(|width| u8::try_from(width).ok());
    Some(EventTable { table: table?, sort_key: sort_key?, width, order: order? })
}

fn order(reader: &mut Reader<'_>, node: &Node) -> Option<CommitOrder> {
    let mut fields = Fields::of(reader, node, "the index that holds all events in one order")?;
    let attribute = |r: &mut Reader<'_>, node: &Node| r.text(node, "an attribute's name");
    let index = fields.required(reader, "index", |r, node| r.text(node, "an index's name"));
    let shard = fields.required(reader, "shard", attribute);
    let shards = fields.required(reader, "shards", |r, node| r.small_integer(node, 1..=MOST_SHARDS));
    let id = fields.required(reader, "id", attribute);
    let safe_window = fields.or(reader, "safe_window", DEFAULT_SAFE_WINDOW, Reader::duration);
    fields.finish(reader);
    Some(CommitOrder { index: index?, shard: shard?, shards: shards?, id: id?, safe_window: safe_window? })
}

fn start(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Spanned<Start>> {
    let words = ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "LEASE_TABLE"];
    let word = fields.word(reader, "start", &words.map(|word| (word, word)))?;
    let start = match word.value {
        "AT_TIMESTAMP" => {
            Start::AtTimestamp(fields.required(reader, "start_timestamp", Reader::timestamp)?)
        }
        "LATEST" => Start::Latest,
        "LEASE_TABLE" => Start::LeaseTable,
        _ => Start::TrimHorizon,
    };
    Some(Spanned::new(start, word.place))
}

fn upcaster(reader: &mut Reader<'_>, node: &Node) -> Option<Upcaster> {
    let mut fields = Fields::of(reader, node, "an upcaster")?;
    let event = fields.required(reader, "event", |reader, node| reader.spanned_text(node, "an event type"));
    let from = fields.required(reader, "from", |reader, node| {
        reader.small_integer(node, 0..=u32::MAX - 1).map(|version| Spanned::new(version, node.place))
    });
    let changes = operation::upcaster_changes(reader, &mut fields);
    let place = fields.place();
    fields.finish(reader);
    Some(Upcaster { place, event: event?, from: from?, changes: changes? })
}

fn refuse_double_upcasters(reader: &mut Reader<'_>, upcasters: &[Upcaster]) {
    for (index, upcaster) in upcasters.iter().enumerate() {
        let same = |earlier: &&Upcaster| {
            earlier.event.value == upcaster.event.value && earlier.from.value == upcaster.from.value
        };
        if let Some(earlier) = upcasters.iter().take(index).find(same) {
            let message = format!(
                "{} of schema version {} is already lifted on line {}",
                upcaster.event.value, upcaster.from.value, earlier.place.line
            );
            reader.error(upcaster.place, message, "put all changes into one upcaster");
        }
    }
}
