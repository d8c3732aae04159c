use foldstream_model::Map;

use super::{Fields, Reader, section};
use crate::{
    diagnostic::Place,
    settings::{DocumentName, Expectation, ExpectedDocument, GivenEvent, Name, Spanned, TestCase},
    yaml::{Kind, Node},
};

pub(super) fn test_case(reader: &mut Reader<'_>, node: &Node) -> Option<TestCase> {
    let mut fields = Fields::of(reader, node, "a test")?;
    let name = fields.required(reader, "name", |reader, node| reader.spanned_text(node, "a test's name"));
    let given = fields.required(reader, "given", |r, node| section::list(r, node, given_event));
    let mut expects = false;
    let expect = fields.or(reader, "expect", Vec::new(), |reader, node| {
        expects |= !node.is_empty();
        expected_documents(reader, node)
    });
    let parked = fields.or(reader, "parked", Vec::new(), |reader, node| {
        expects |= !node.is_empty();
        section::list(reader, node, parked)
    });
    let place = fields.place();
    fields.finish(reader);
    if !expects {
        reader.error(
            place,
            "the test expects nothing",
            "add `expect:` with `projection/key` and some fields",
        );
    }
    Some(TestCase { name: name?, given: given?, expect: expect?, parked: parked? })
}

fn given_event(reader: &mut Reader<'_>, node: &Node) -> Option<GivenEvent> {
    let mut fields = Fields::of(reader, node, "an event")?;
    let source = fields.optional(reader, "source", |reader, node| reader.name(node, "the name of a source"));
    let stream_id =
        fields.required(reader, "stream_id", |reader, node| reader.spanned_text(node, "a stream id"));
    let event_type =
        fields.required(reader, "type", |reader, node| reader.spanned_text(node, "an event type"));
    let sequence = fields.optional(reader, "sequence", |reader, node| reader.integer(node, 0..=u64::MAX));
    let id = fields.optional(reader, "id", |reader, node| reader.text(node, "an event id"));
    let schema_version =
        fields.or(reader, "schema_version", 1, |reader, node| reader.small_integer(node, 0..=u32::MAX));
    let recorded_at = fields.optional(reader, "recorded_at", Reader::timestamp);
    let effective_at = fields.optional(reader, "effective_at", Reader::timestamp);
    let payload = fields.or(reader, "payload", Map::new(), Reader::literal_map);
    let metadata = fields.or(reader, "metadata", Map::new(), Reader::literal_map);
    fields.finish(reader);
    Some(GivenEvent {
        source: source?,
        stream_id: stream_id?,
        event_type: event_type?,
        sequence: sequence?,
        id: id?,
        schema_version: schema_version?,
        recorded_at: recorded_at?,
        effective_at: effective_at?,
        payload: payload?,
        metadata: metadata?,
    })
}

fn expected_documents(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<ExpectedDocument>> {
    let Kind::Map(entries) = &node.kind else {
        let message = format!("expected a mapping from documents to fields, found {}", node.describe());
        reader.error(node.place, message, "write `projection/key: { field: value }`");
        return None;
    };
    let mut documents = Vec::with_capacity(entries.len());
    for (key, fields) in entries {
        documents.extend(reader.at(&key.text, |reader| {
            let document = document_name(reader, &key.text, key.place)?;
            Some(ExpectedDocument { document, expectation: expected_fields(reader, fields)? })
        }));
    }
    Some(documents)
}

fn expected_fields(reader: &mut Reader<'_>, node: &Node) -> Option<Expectation> {
    if node.is_null() {
        return Some(Expectation::Absent);
    }
    let Kind::Map(entries) = &node.kind else {
        let help = "write `{ field: value }`, or `null` for a document that must not exist";
        reader.error(
            node.place,
            format!("expected the fields of a document, found {}", node.describe()),
            help,
        );
        return None;
    };
    let mut fields = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let value = reader.at(&key.text, |reader| reader.literal(value))?;
        fields.push((Spanned::new(key.text.clone(), key.place), value));
    }
    Some(Expectation::Fields(fields))
}

fn parked(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<DocumentName>> {
    let text = reader.text(node, "a document as `projection/key`")?;
    document_name(reader, &text, node.place)
}

fn document_name(reader: &mut Reader<'_>, text: &str, place: Place) -> Option<Spanned<DocumentName>> {
    let split = text.split_once('/').and_then(|(projection, key)| Some((Name::new(projection)?, key)));
    let Some((projection, key)) = split.filter(|(_, key)| !key.is_empty()) else {
        reader.error(place, format!("`{text}` names no document"), "write `projection/key`");
        return None;
    };
    Some(Spanned::new(DocumentName { projection, key: key.to_owned() }, place))
}
