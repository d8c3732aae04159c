use std::sync::Arc;

use foldstream_model::Path;

use super::{Fields, Reader};
use crate::{
    settings::{Encoding, EventMapping, Gaps, Part, PayloadPart, SequencePart},
    yaml::{Kind, Node},
};

const GAPS: [(&str, Gaps); 2] = [("refuse", Gaps::Refuse), ("allow", Gaps::Allow)];
const ENCODINGS: [(&str, Encoding); 4] = [
    ("map", Encoding::Map),
    ("json", Encoding::Json),
    ("binary", Encoding::Binary),
    ("gzip", Encoding::Gzip),
];

/// Stands for a map of all fields of which no other part takes anything.
const REST: &str = "*";

/// A mapping that names its parts: those that it leaves out are absent.
pub(super) fn mapping(reader: &mut Reader<'_>, node: &Node) -> Option<EventMapping> {
    let mut fields = Fields::of(reader, node, "the parts of an event")?;
    let stream_id = fields.required(reader, "stream_id", part);
    let sequence = fields.optional(reader, "sequence", sequence);
    let id = fields.optional(reader, "id", part);
    let event_type = fields.required(reader, "type", part);
    let schema_version = fields.optional(reader, "schema_version", part);
    let recorded_at = fields.optional(reader, "recorded_at", part);
    let effective_at = fields.optional(reader, "effective_at", part);
    let payload = fields.required(reader, "payload", payload);
    let metadata = fields.optional(reader, "metadata", payload_of_metadata);
    let place = fields.place();
    fields.finish(reader);
    Some(EventMapping {
        place,
        stream_id: stream_id?,
        sequence: sequence?,
        id: id?,
        event_type: event_type?,
        schema_version: schema_version?,
        recorded_at: recorded_at?,
        effective_at: effective_at?,
        payload: payload?,
        metadata: metadata?,
    })
}

fn part(reader: &mut Reader<'_>, node: &Node) -> Option<Part> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        let from = field_path(reader, node)?;
        return Some(Part { place: node.place, from, strip_prefix: None, default: None });
    }
    let mut fields = Fields::of(reader, node, "a field's name, or `{ from: … }`")?;
    let part = part_fields(reader, &mut fields);
    fields.finish(reader);
    part
}

fn part_fields(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Part> {
    let from = fields.required(reader, "from", field_path);
    let strip_prefix = fields.optional(reader, "strip_prefix", |reader, node| reader.text(node, "a prefix"));
    let default = fields.optional(reader, "default", Reader::literal);
    Some(Part { place: fields.place(), from: from?, strip_prefix: strip_prefix?, default: default? })
}

fn sequence(reader: &mut Reader<'_>, node: &Node) -> Option<SequencePart> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        return part(reader, node).map(|part| SequencePart { part, first: 1, gaps: Gaps::Refuse });
    }
    let mut fields = Fields::of(reader, node, "a field's name, or `{ from: … }`")?;
    let part = part_fields(reader, &mut fields);
    let first = fields.or(reader, "first", 1, |reader, node| reader.integer(node, 0..=u64::MAX));
    let gaps = fields.word(reader, "gaps", &GAPS);
    fields.finish(reader);
    Some(SequencePart { part: part?, first: first?, gaps: gaps?.value })
}

fn payload(reader: &mut Reader<'_>, node: &Node) -> Option<PayloadPart> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        let from = payload_path(reader, node)?;
        return Some(PayloadPart { place: node.place, from, encoding: Encoding::Map });
    }
    let mut fields = Fields::of(reader, node, "a field's name, `\"*\"`, or `{ from: … }`")?;
    let from = fields.required(reader, "from", payload_path);
    let encoding = fields.word(reader, "encoding", &ENCODINGS);
    let place = fields.place();
    fields.finish(reader);
    let payload = PayloadPart { place, from: from?, encoding: encoding?.value };
    if payload.from.is_none() && payload.encoding != Encoding::Map {
        reader.error(
            place,
            "`\"*\"` is a map already",
            "leave out `encoding`, or name the field that is encoded",
        );
    }
    Some(payload)
}

fn payload_of_metadata(reader: &mut Reader<'_>, node: &Node) -> Option<PayloadPart> {
    let part = payload(reader, node)?;
    if part.from.is_none() {
        reader.error(part.place, "only the payload can be `\"*\"`", "name the field that holds the metadata");
    }
    Some(part)
}

fn payload_path(reader: &mut Reader<'_>, node: &Node) -> Option<Option<Path>> {
    if matches!(&node.kind, Kind::Scalar { text, .. } if text == REST) {
        return Some(None);
    }
    field_path(reader, node).map(Some)
}

/// A path into a record: names with dots between them, a dot inside a name written `\.`, a backslash `\\`.
fn field_path(reader: &mut Reader<'_>, node: &Node) -> Option<Path> {
    let text = reader.text(node, "the name of a field")?;
    let path = split_path(&text).and_then(Path::new);
    if path.is_none() {
        let help =
            "write names with single dots between them; a dot inside a name is `\\.`, a backslash `\\\\`";
        reader.error(node.place, format!("`{text}` is no path to a field"), help);
    }
    path
}

fn split_path(text: &str) -> Option<Vec<Arc<str>>> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '.' => names.push(Arc::from(std::mem::take(&mut name))),
            '\\' => match characters.next()? {
                escaped @ ('.' | '\\') => name.push(escaped),
                _ => return None,
            },
            _ => name.push(c),
        }
    }
    names.push(Arc::from(name));
    Some(names)
}
