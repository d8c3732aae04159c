//! Settings in normal form: without places, names of files, and blanks in expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldstream_config::settings::{
    Argument, Change, ChangeKind, Documents, EventMapping, Expression, Handler, Operation, Ordering, Part,
    PayloadPart, PickKind, Projection, Projector, Reducer, Source, Upcaster, UpcasterChange,
};
use foldstream_model::{Map, Path, Text, Value};

use crate::compile::{arguments, kind};

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::from(fields.into_iter().map(|(name, value)| (Arc::from(name), value)).collect::<Map>())
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::from(values.collect::<Vec<_>>())
}

/// A word of a closed set, as the settings name it.
fn word(choice: &impl std::fmt::Debug) -> Value {
    Value::from(format!("{choice:?}"))
}

fn optional<T>(value: Option<&T>, normal: impl FnOnce(&T) -> Value) -> Value {
    value.map(normal).unwrap_or_default()
}

fn path(path: &Path) -> Value {
    list(path.names().iter().map(|name| Value::Text(Text::from(Arc::clone(name)))))
}

pub(super) fn ordering(ordering: Ordering) -> Value {
    word(&ordering)
}

pub(super) fn native(name: &str, options: &Map, code: Option<&str>) -> Value {
    let code = code.map(Value::from).unwrap_or_default();
    object([("name", Value::from(name)), ("options", Value::from(options.clone())), ("code", code)])
}

/// What of a source holds for every event.
pub(super) fn source(source: &Source) -> Map {
    Map::from_iter([
        (Arc::from("include"), optional(source.include.as_ref(), expression)),
        (Arc::from("event"), mapping(&source.event)),
        (Arc::from("on_modify"), word(&source.on_modify.value)),
        (Arc::from("on_remove"), word(&source.on_remove.value)),
        (Arc::from("on_newer_schema"), word(&source.on_newer_schema.value)),
    ])
}

fn mapping(mapping: &EventMapping) -> Value {
    let sequence = optional(mapping.sequence.as_ref(), |sequence| {
        let (first, gaps) = (Value::from(sequence.first), word(&sequence.gaps));
        object([("part", part(&sequence.part)), ("first", first), ("gaps", gaps)])
    });
    object([
        ("stream_id", part(&mapping.stream_id)),
        ("sequence", sequence),
        ("id", optional(mapping.id.as_ref(), part)),
        ("type", part(&mapping.event_type)),
        ("schema_version", optional(mapping.schema_version.as_ref(), part)),
        ("recorded_at", optional(mapping.recorded_at.as_ref(), part)),
        ("effective_at", optional(mapping.effective_at.as_ref(), part)),
        ("payload", payload(&mapping.payload)),
        ("metadata", optional(mapping.metadata.as_ref(), payload)),
    ])
}

fn part(part: &Part) -> Value {
    let prefix = part.strip_prefix.as_deref().map(Value::from).unwrap_or_default();
    let default = part.default.clone().unwrap_or_default();
    object([("from", path(&part.from)), ("strip_prefix", prefix), ("default", default)])
}

fn payload(part: &PayloadPart) -> Value {
    object([("from", optional(part.from.as_ref(), path)), ("encoding", word(&part.encoding))])
}

/// For each type what is done with its events: an object of `upcasters`, `steps` and `handlers`.
pub(super) fn by_type(source: Option<&Source>, reducer: Option<&Reducer>, projection: &Projection) -> Map {
    let mut types: BTreeMap<&str, [Vec<Value>; 3]> = BTreeMap::new();
    for upcaster in source.iter().flat_map(|source| &source.upcasters) {
        types.entry(&upcaster.event.value).or_default()[0].push(normal_upcaster(upcaster));
    }
    for step in reducer.iter().flat_map(|reducer| &reducer.steps) {
        for event_type in &step.events {
            types.entry(&event_type.value).or_default()[1].push(operations(&step.operations));
        }
    }
    if let Projector::Declared(handlers) = &projection.projector {
        for handler in handlers {
            for event_type in &handler.events {
                types.entry(&event_type.value).or_default()[2].push(normal_handler(handler));
            }
        }
    }
    let normal = types.into_iter().map(|(event_type, [upcasters, steps, handlers])| {
        let treatment = object([
            ("upcasters", Value::from(upcasters)),
            ("steps", Value::from(steps)),
            ("handlers", Value::from(handlers)),
        ]);
        (Arc::from(event_type), treatment)
    });
    normal.collect()
}

fn normal_upcaster(upcaster: &Upcaster) -> Value {
    let changes = upcaster.changes.iter().map(|lift| match lift {
        UpcasterChange::Change(lifting) => change(lifting),
        UpcasterChange::Rename { from, to } => object([("rename", path(from)), ("to", path(to))]),
    });
    object([("from", Value::from(u64::from(upcaster.from.value))), ("changes", list(changes))])
}

fn normal_handler(handler: &Handler) -> Value {
    let (key, many) = match &handler.documents {
        Documents::One(key) => (key, false),
        Documents::Many(keys) => (keys, true),
    };
    object([
        ("key", argument(key)),
        ("many", Value::from(many)),
        ("when", optional(handler.when.as_ref(), expression)),
        ("operations", operations(&handler.operations)),
    ])
}

fn operations(operations: &[Operation]) -> Value {
    list(operations.iter().map(|operation| match operation {
        Operation::Delete(_) => Value::from("delete"),
        Operation::Change(written) => change(written),
    }))
}

fn change(change: &Change) -> Value {
    let by = match &change.kind {
        ChangeKind::Set { pick: Some(pick), .. } => {
            let which = if pick.kind == PickKind::Latest { "latest" } else { "earliest" };
            object([(which, expression(&pick.by))])
        }
        _ => Value::Null,
    };
    object([
        ("operation", Value::from(kind(&change.kind).name())),
        ("path", path(&change.path)),
        ("arguments", list(arguments(&change.kind).into_iter().map(argument))),
        ("by", by),
    ])
}

fn argument(written: &Argument) -> Value {
    match written {
        Argument::Expression(written) => expression(written),
        Argument::Literal(literal) => object([("literal", literal.value.clone())]),
        Argument::List(items) => object([("list", list(items.iter().map(argument)))]),
        Argument::Map(fields) => {
            let field = |(name, value): &(foldstream_config::settings::Spanned<String>, Argument)| {
                Value::from(vec![Value::from(name.as_str()), argument(value)])
            };
            object([("map", list(fields.iter().map(field)))])
        }
    }
}

fn expression(expression: &Expression) -> Value {
    object([("expression", Value::from(without_blanks(&expression.text)))])
}

/// The text without the blanks that mean nothing: outside of strings, and not between two words.
pub(super) fn without_blanks(text: &str) -> String {
    // Strings with rules of their own are rare: such a text is compared as it stands.
    if ["\"\"\"", "'''", "r\"", "r'", "R\"", "R'"].iter().any(|opening| text.contains(opening)) {
        return text.trim().to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut quote = None;
    let mut escaped = false;
    let mut blank = false;
    for character in text.chars() {
        if let Some(open) = quote {
            kept.push(character);
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == open => quote = None,
                _ => {}
            }
            continue;
        }
        if character.is_whitespace() {
            blank = true;
            continue;
        }
        if blank && is_word(character) && kept.chars().last().is_some_and(is_word) {
            kept.push(' ');
        }
        blank = false;
        kept.push(character);
        if matches!(character, '"' | '\'' | '`') {
            quote = Some(character);
        }
    }
    kept
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
