use std::time::Duration;

use foldstream_model::Map;

use super::{Fields, Reader, operation, section};
use crate::{
    settings::{Documents, Handler, Name, OnFailure, Ordering, Projection, Projector, Spanned},
    yaml::Node,
};

const ORDERINGS: [(&str, Ordering); 3] = [
    ("per_stream", Ordering::PerStream),
    ("commutative", Ordering::Commutative),
    ("global", Ordering::Global),
];
const ON_FAILURE: [(&str, OnFailure); 3] =
    [("stop", OnFailure::Stop), ("park", OnFailure::Park), ("discard", OnFailure::Discard)];

/// Clocks of writers that are kept by NTP differ by less.
const DEFAULT_LATENESS: Duration = Duration::from_secs(2);

pub(super) fn projection(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Projection> {
    let mut fields = Fields::of(reader, node, "the settings of a projection")?;
    let version = fields.required(reader, "version", |reader, node| {
        reader.small_integer(node, 1..=u32::MAX).map(|version| Spanned::new(version, node.place))
    });
    let source = fields.required(reader, "source", |reader, node| reader.name(node, "the name of a source"));
    let ordering = fields.required(reader, "ordering", |reader, node| reader.choice(node, &ORDERINGS));
    let sink = fields.optional(reader, "sink", |reader, node| reader.name(node, "the name of a sink"));
    let reducer =
        fields.optional(reader, "reducer", |reader, node| reader.name(node, "the name of a reducer"));
    let on_failure = fields.word(reader, "on_failure", &ON_FAILURE);
    let allowed_lateness = allowed_lateness(reader, &mut fields, ordering.as_ref());
    let projector = projector(reader, &mut fields, name);
    fields.finish(reader);
    Some(Projection {
        place: name.place,
        version: version?,
        source: source?,
        ordering: ordering?,
        sink: sink?,
        reducer: reducer?,
        on_failure: on_failure?,
        allowed_lateness: allowed_lateness?,
        projector: projector?,
    })
}

fn allowed_lateness(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    ordering: Option<&Spanned<Ordering>>,
) -> Option<Duration> {
    fields.or(reader, "allowed_lateness", DEFAULT_LATENESS, |reader, node| {
        if ordering.is_some_and(|ordering| ordering.value != Ordering::Global) {
            let help = "remove it, or write `ordering: global`";
            reader.error(node.place, "only a global projection waits for late events", help);
        }
        reader.duration(node)
    })
}

fn projector(reader: &mut Reader<'_>, fields: &mut Fields<'_>, name: &Spanned<Name>) -> Option<Projector> {
    let handlers = fields.optional(reader, "handlers", |r, node| {
        let handlers = section::list(r, node, handler)?;
        if node.is_empty() {
            r.error(
                node.place,
                "there are no handlers",
                "add one that names an event, a key and an operation",
            );
        }
        Some(Projector::Declared(handlers))
    })?;
    let other = fields.optional(reader, "projector", other_projector)?;
    match (handlers, other) {
        (Some(_), Some(_)) => {
            let help = "remove one of the two";
            reader.error(name.place, "a projection has either `handlers` or a `projector`", help);
            None
        }
        (None, None) => {
            let help =
                "add `handlers:`, or `projector: { native: NAME }` for one that is built into the binary";
            reader.error(name.place, "the projection does nothing: it has no `handlers`", help);
            None
        }
        (handlers, other) => handlers.or(other),
    }
}

fn other_projector(reader: &mut Reader<'_>, node: &Node) -> Option<Projector> {
    let mut fields = Fields::of(reader, node, "`{ native: NAME }`")?;
    let native =
        fields.optional(reader, "native", |reader, node| reader.spanned_text(node, "a projector's name"));
    let wasm = fields.optional(reader, "wasm", |reader, node| reader.spanned_text(node, "a module's path"));
    let options = fields.or(reader, "options", Map::new(), Reader::literal_map);
    let place = fields.place();
    fields.finish(reader);
    match (native?, wasm?) {
        (Some(name), None) => Some(Projector::Native { name, options: options? }),
        (None, Some(module)) => Some(Projector::Wasm(module)),
        _ => {
            reader.error(place, "a projector is either `native` or `wasm`", "write `{ native: NAME }`");
            None
        }
    }
}

fn handler(reader: &mut Reader<'_>, node: &Node) -> Option<Handler> {
    let mut fields = Fields::of(reader, node, "a handler")?;
    let events = fields.required(reader, "event", |r, node| section::texts(r, node, "an event type"));
    let documents = documents(reader, &mut fields);
    let when = fields.optional(reader, "when", |reader, node| reader.expression(node, "`when`"));
    let mut operations = operation::operations(reader, &mut fields, "delete_document");
    let pick = operation::pick(reader, &mut fields, operations.as_deref_mut().unwrap_or_default());
    let place = fields.place();
    fields.finish(reader);
    pick?;
    Some(Handler { place, events: events?, documents: documents?, when: when?, operations: operations? })
}

fn documents(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Documents> {
    let one = fields.optional(reader, "key", Reader::argument)?;
    let many = fields.optional(reader, "keys", Reader::argument)?;
    match (one, many) {
        (Some(key), None) => Some(Documents::One(key)),
        (None, Some(keys)) => Some(Documents::Many(keys)),
        (one, _) => {
            let message =
                if one.is_some() { "a handler has either `key` or `keys`" } else { "the `key` is missing" };
            let help = "`key` is the one document that the event touches, such as `=event.stream_id`; `keys` a list of them";
            reader.error(fields.place(), message, help);
            None
        }
    }
}
