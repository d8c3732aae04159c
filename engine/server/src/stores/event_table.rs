//! A table of events as the connector has to know it, from what a source says of its items.

use foldstream_aws::events::{
    CommitOrder, EventTable, PartitionKey, SortHolds, SortKey, WrittenEncoding, WrittenPart, WrittenParts,
    WrittenPayload,
};
use foldstream_config::settings::{self, Encoding, EventMapping, Part, PayloadPart, SequencePart, Source};
use foldstream_model::{Error, Result, Sequence};

/// `Invalid`: the source's mapping does not say enough.
pub(super) fn event_table(source: &Source, table: &settings::EventTable) -> Result<EventTable> {
    let mapping = &source.event;
    let partition = top_level(&mapping.stream_id, "stream_id", table)?;
    let Some(sequence) = &mapping.sequence else {
        return Err(lacks("sequence", table));
    };
    if mapping.recorded_at.is_none() {
        return Err(lacks("recorded_at", table));
    }
    let sort = sort_key(sequence, table)?;
    let written = match &sort.holds {
        SortHolds::Sequence { .. } => written(mapping, sequence),
        SortHolds::SomethingElse => None,
    };
    Ok(EventTable {
        name: table.table.value.clone(),
        partition: PartitionKey { attribute: partition, prefix: prefix(&mapping.stream_id) },
        sort,
        first: Sequence(sequence.first),
        written,
        order: table.order.as_ref().map(commit_order),
    })
}

fn lacks(part: &str, table: &settings::EventTable) -> Error {
    Error::invalid(format!(
        "events of a table cannot be read without knowing where their `{part}` is: table={}; map it under `event:`",
        table.table.value
    ))
}

/// A key is a field of the item itself.
fn top_level(part: &Part, what: &str, table: &settings::EventTable) -> Result<String> {
    match part.from.names() {
        [name] => Ok(name.to_string()),
        _ => Err(Error::invalid(format!(
            "the `{what}` of an event is inside of another field, so it is no key of the table: table={} from={}",
            table.table.value, part.from
        ))),
    }
}

fn sort_key(sequence: &SequencePart, table: &settings::EventTable) -> Result<SortKey> {
    let of_sequence = top_level(&sequence.part, "sequence", table);
    let attribute = match &table.sort_key {
        Some(attribute) => attribute.clone(),
        None => of_sequence.clone()?,
    };
    let holds = match of_sequence.is_ok_and(|name| name == attribute) {
        true => SortHolds::Sequence { prefix: prefix(&sequence.part), width: table.width },
        false => SortHolds::SomethingElse,
    };
    Ok(SortKey { attribute, holds })
}

fn commit_order(order: &settings::CommitOrder) -> CommitOrder {
    CommitOrder {
        index: order.index.clone(),
        shard: order.shard.clone(),
        shards: u16::try_from(order.shards).unwrap_or(u16::MAX),
        id: order.id.clone(),
        safe_window: order.safe_window,
    }
}

/// Where the parts of an event are written; none: the mapping cannot be gone the other way.
fn written(mapping: &EventMapping, sequence: &SequencePart) -> Option<WrittenParts> {
    Some(WrittenParts {
        stream_id: part(&mapping.stream_id),
        sequence: part(&sequence.part),
        event_type: part(&mapping.event_type),
        id: mapping.id.as_ref().map(part),
        schema_version: mapping.schema_version.as_ref().map(part),
        recorded_at: part(mapping.recorded_at.as_ref()?),
        effective_at: mapping.effective_at.as_ref().map(part),
        payload: Some(payload(&mapping.payload)?),
        metadata: match &mapping.metadata {
            Some(metadata) => Some(payload(metadata)?),
            None => None,
        },
        constants: Vec::new(),
    })
}

fn part(part: &Part) -> WrittenPart {
    WrittenPart { path: part.from.clone(), prefix: prefix(part) }
}

fn prefix(part: &Part) -> String {
    part.strip_prefix.clone().unwrap_or_default()
}

fn payload(part: &PayloadPart) -> Option<WrittenPayload> {
    let encoding = match part.encoding {
        Encoding::Map => WrittenEncoding::Map,
        Encoding::Json => WrittenEncoding::Json,
        Encoding::Binary => WrittenEncoding::Binary,
        Encoding::Gzip => WrittenEncoding::Gzip,
    };
    Some(WrittenPayload { path: part.from.clone()?, encoding })
}
