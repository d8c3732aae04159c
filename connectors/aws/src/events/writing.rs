//! New events as items.

use std::{collections::HashMap, io::Write, sync::Arc};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use flate2::{Compression, write::GzEncoder};
use foldstream_model::{Error, Event, Path, Payload, Result, Sequence, StreamId, Value, ports::NewEvent};

use super::{
    ksuid::Ksuid,
    order::CommitIndex,
    reading::Reading,
    settings::{WrittenEncoding, WrittenPart, WrittenParts, WrittenPayload},
};
use crate::dynamodb::{Item, item as attributes};

/// The item of a new event. `Invalid`: DynamoDB cannot hold it, or the decoder would not read it back as it is.
pub(super) fn item(
    reading: &Reading,
    written: &WrittenParts,
    index: Option<&CommitIndex>,
    event: &Event,
    id: Ksuid,
) -> Result<Item> {
    let place = || format!("stream={} sequence={} event={}", event.stream_id, event.sequence, event.id);
    let mut item = parts(written, event).map_err(|error| error.context(place()))?;
    if let Some(index) = index {
        index.mark(&mut item, &event.stream_id, id);
    }
    let settings = &reading.table.settings;
    let Some(partition) = reading.table.partition_of(&event.stream_id) else {
        return Err(Error::invalid(format!("a stream's id that the partition key cannot hold: {}", place())));
    };
    item.insert(settings.partition.attribute.clone(), partition);
    item.insert(settings.sort.attribute.clone(), reading.table.sort_key(event.sequence)?);
    let bytes = attributes::size(&item);
    if bytes > attributes::MAX_ITEM_BYTES {
        return Err(Error::invalid(format!(
            "an event is too large for DynamoDB: {} bytes={bytes} limit={}",
            place(),
            attributes::MAX_ITEM_BYTES
        )));
    }
    let given_id = written.id.as_ref().filter(|part| index.is_none_or(|index| !index.is_id(&part.path)));
    let differs = match reading.event(&item) {
        Ok(Some(read)) => difference(event, &read, given_id.is_some()),
        Ok(None) => Some("include".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    match differs {
        None => Ok(item),
        Some(part) => Err(Error::invalid(format!(
            "what would be appended is not what would be read back: {} part={part}; the mapping lacks it, or would change it",
            place()
        ))),
    }
}

/// A new event in its place.
pub(super) fn event(stream: &StreamId, sequence: Sequence, new: NewEvent) -> Event {
    Event {
        stream_id: stream.clone(),
        sequence,
        id: new.id,
        event_type: new.event_type,
        schema_version: new.schema_version,
        recorded_at: new.recorded_at,
        effective_at: new.effective_at,
        payload: Payload::new(new.payload),
        metadata: Payload::new(new.metadata),
    }
}

pub(super) fn parts(written: &WrittenParts, event: &Event) -> Result<Item> {
    let mut item = Item::new();
    // Maps first: other parts may be found inside of them.
    put_payload(&mut item, written.payload.as_ref(), &event.payload)?;
    put_payload(&mut item, written.metadata.as_ref(), &event.metadata)?;
    for (path, value) in &written.constants {
        put(&mut item, path.names(), attribute(value, path)?)?;
    }
    let text = |part: &WrittenPart, text: &str| AttributeValue::S(format!("{}{text}", part.prefix));
    let number = |part: &WrittenPart, digits: String| match part.prefix.is_empty() {
        true => AttributeValue::N(digits),
        false => text(part, &digits),
    };
    let (id, version) = (event.id.as_str(), event.schema_version.0.to_string());
    let (recorded_at, effective_at) = (event.recorded_at.to_string(), event.effective_at.to_string());
    let single = [
        Some((&written.stream_id, text(&written.stream_id, event.stream_id.as_str()))),
        Some((&written.sequence, number(&written.sequence, event.sequence.to_string()))),
        Some((&written.event_type, text(&written.event_type, event.event_type.as_str()))),
        Some((&written.recorded_at, text(&written.recorded_at, &recorded_at))),
        written.id.as_ref().map(|part| (part, text(part, id))),
        written.schema_version.as_ref().map(|part| (part, number(part, version))),
        written.effective_at.as_ref().map(|part| (part, text(part, &effective_at))),
    ];
    for (part, value) in single.into_iter().flatten() {
        put(&mut item, part.path.names(), value)?;
    }
    Ok(item)
}

fn put_payload(item: &mut Item, part: Option<&WrittenPayload>, payload: &Payload) -> Result<()> {
    let Some(part) = part.filter(|_| !payload.raw.is_empty()) else { return Ok(()) };
    let text = || std::str::from_utf8(&payload.raw).map_err(|error| Error::invalid(error.to_string()));
    let value = match part.encoding {
        WrittenEncoding::Json => AttributeValue::S(text()?.to_owned()),
        WrittenEncoding::Binary => AttributeValue::B(Blob::new(payload.raw.to_vec())),
        WrittenEncoding::Gzip => AttributeValue::B(Blob::new(gzip(&payload.raw)?)),
        WrittenEncoding::Map => {
            let value = Value::parse(&payload.raw).map_err(|error| Error::invalid(error.to_string()))?;
            attribute(&value, &part.path)?
        }
    };
    put(item, part.path.names(), value)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packed.write_all(bytes).and_then(|()| packed.finish());
    packed.map_err(|error| Error::internal(format!("a payload cannot be packed: {error}")))
}

fn attribute(value: &Value, path: &Path) -> Result<AttributeValue> {
    attributes::attribute(value, path.names().len()).map_err(|error| Error::invalid(error.message()))
}

/// Puts a value at a path, with the maps on the way.
fn put(item: &mut Item, path: &[Arc<str>], value: AttributeValue) -> Result<()> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    if rest.is_empty() {
        item.insert(name.to_string(), value);
        return Ok(());
    }
    let map = item.entry(name.to_string()).or_insert_with(|| AttributeValue::M(HashMap::new()));
    match map {
        AttributeValue::M(map) => put(map, rest, value),
        _ => Err(Error::invalid(format!("a part is to be put inside of what is no map: attribute={name}"))),
    }
}

/// The first part in which an event differs from what was read back.
fn difference(event: &Event, read: &Event, with_id: bool) -> Option<String> {
    let is_same = |one: &Payload, other: &Payload| {
        one.raw == other.raw
            || matches!((Value::parse(&one.raw), Value::parse(&other.raw)), (Ok(one), Ok(other)) if one == other)
    };
    let parts = [
        ("stream_id", read.stream_id == event.stream_id),
        ("sequence", read.sequence == event.sequence),
        ("id", !with_id || read.id == event.id),
        ("type", read.event_type == event.event_type),
        ("schema_version", read.schema_version == event.schema_version),
        ("recorded_at", read.recorded_at == event.recorded_at),
        ("effective_at", read.effective_at == event.effective_at),
        ("payload", is_same(&event.payload, &read.payload)),
        ("metadata", is_same(&event.metadata, &read.metadata)),
    ];
    parts.into_iter().find(|(_, is_same)| !is_same).map(|(part, _)| part.to_owned())
}

/// Whether a path is that of an attribute.
pub(super) fn is_attribute(path: &Path, attribute: &str) -> bool {
    matches!(path.names(), [name] if **name == *attribute)
}
