use foldstream_model::Path;

use super::{Fields, Reader, section};
use crate::{
    settings::{Change, ChangeKind, Name, Operation, Pick, PickKind, Reducer, Spanned, Step, UpcasterChange},
    yaml::{Key, Kind, Node},
};

/// The operations that change one path each, as they are named in the file.
const CHANGES: [&str; 11] = [
    "set",
    "unset",
    "merge_map",
    "add",
    "min",
    "max",
    "append",
    "put_entry",
    "delete_entry",
    "add_to_set",
    "delete_from_set",
];

pub(super) fn reducer(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Reducer> {
    section::list(reader, node, step).map(|steps| Reducer { place: name.place, steps })
}

fn step(reader: &mut Reader<'_>, node: &Node) -> Option<Step> {
    let mut fields = Fields::of(reader, node, "a step of a reducer")?;
    let events = fields.required(reader, "event", |r, node| section::texts(r, node, "an event type"));
    let operations = operations(reader, &mut fields, "delete_state");
    let place = fields.place();
    fields.finish(reader);
    Some(Step { place, events: events?, operations: operations? })
}

/// The operations of a handler or step; `delete` is what the one that deletes is called there.
pub(super) fn operations(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    delete: &'static str,
) -> Option<Vec<Operation>> {
    let deletion = fields.take(delete);
    let changes = changes(reader, fields);
    let place = fields.place();
    let Some((key, node)) = deletion else {
        if changes.as_ref().is_some_and(Vec::is_empty) {
            reader.error(
                place,
                "nothing is done here",
                format!("add an operation: {}, {delete}", CHANGES.join(", ")),
            );
            return None;
        }
        return changes.map(|changes| changes.into_iter().map(Operation::Change).collect());
    };
    if !reader.at(delete, |reader| reader.boolean(node))? {
        reader.error(
            node.place,
            format!("`{delete}` can only be true"),
            "remove it if nothing is to be deleted",
        );
    }
    if let Some(change) = changes?.first() {
        let message = format!("`{delete}` leaves nothing for other operations to change");
        reader.error(change.path.place, message, "put them into a handler or step of other events");
    }
    Some(vec![Operation::Delete(key.place)])
}

/// The changes of an upcaster: those of a reducer, and `rename`.
pub(super) fn upcaster_changes(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
) -> Option<Vec<UpcasterChange>> {
    let mut names = CHANGES.to_vec();
    names.push("rename");
    let mut read = Some(Vec::new());
    for (key, node) in fields.all_of(&names) {
        let changes = reader.at(&key.text, |reader| match key.text.as_str() {
            "rename" => renames(reader, node),
            _ => change(reader, key, node)
                .map(|changes| changes.into_iter().map(UpcasterChange::Change).collect()),
        });
        read = join(read, changes);
    }
    if read.as_ref().is_some_and(Vec::is_empty) {
        reader.error(
            fields.place(),
            "nothing is done here",
            format!("add an operation: {}", names.join(", ")),
        );
    }
    read
}

fn renames(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<UpcasterChange>> {
    paths(reader, node, |reader, from, node| {
        let to = reader.text(node, "the new path")?;
        Some(UpcasterChange::Rename { from, to: reader.path(&to, node.place)? })
    })
}

fn changes(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Vec<Change>> {
    let mut read = Some(Vec::new());
    for (key, node) in fields.all_of(&CHANGES) {
        let changes = reader.at(&key.text, |reader| change(reader, key, node));
        read = join(read, changes);
    }
    refuse_double_paths(reader, read.as_deref().unwrap_or_default());
    read
}

fn join<T>(read: Option<Vec<T>>, more: Option<Vec<T>>) -> Option<Vec<T>> {
    let mut read = read?;
    read.extend(more?);
    Some(read)
}

fn refuse_double_paths(reader: &mut Reader<'_>, changes: &[Change]) {
    for (index, change) in changes.iter().enumerate() {
        let same = |earlier: &&Change| earlier.path.value == change.path.value;
        if let Some(earlier) = changes.iter().take(index).find(same) {
            let message =
                format!("`{}` is already changed on line {}", change.path.value, earlier.path.place.line);
            reader.error(change.path.place, message, "one handler or step changes a path once: join the two");
        }
    }
}

/// One operation of the file, which may name several paths.
fn change(reader: &mut Reader<'_>, key: &Key, node: &Node) -> Option<Vec<Change>> {
    if key.text == "unset" {
        let texts = section::texts(reader, node, "a path")?;
        let unset = |text: Spanned<String>| {
            reader.path(&text, text.place).map(|path| Change { path, kind: ChangeKind::Unset })
        };
        return texts.into_iter().map(unset).collect();
    }
    paths(reader, node, |reader, path, node| {
        let kind = match key.text.as_str() {
            "put_entry" => put_entry(reader, node)?,
            "set" => ChangeKind::Set { value: reader.argument(node)?, pick: None },
            "merge_map" => ChangeKind::MergeMap { map: reader.argument(node)? },
            "add" => ChangeKind::Add { value: reader.argument(node)? },
            "min" => ChangeKind::Min { value: reader.argument(node)? },
            "max" => ChangeKind::Max { value: reader.argument(node)? },
            "append" => ChangeKind::Append { value: reader.argument(node)? },
            "delete_entry" => ChangeKind::DeleteEntry { key: reader.argument(node)? },
            "add_to_set" => ChangeKind::AddToSet { value: reader.argument(node)? },
            _ => ChangeKind::DeleteFromSet { value: reader.argument(node)? },
        };
        Some(Change { path, kind })
    })
}

fn put_entry(reader: &mut Reader<'_>, node: &Node) -> Option<ChangeKind> {
    let mut fields = Fields::of(reader, node, "`{ key: …, value: … }`")?;
    let key = fields.required(reader, "key", Reader::argument);
    let value = fields.required(reader, "value", Reader::argument);
    fields.finish(reader);
    Some(ChangeKind::PutEntry { key: key?, value: value? })
}

/// `{ path: …, path: … }`, at least one.
fn paths<T>(
    reader: &mut Reader<'_>,
    node: &Node,
    mut read: impl FnMut(&mut Reader<'_>, Spanned<Path>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    let entries = match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => entries,
        _ => {
            let found = if matches!(node.kind, Kind::Map(_)) { "an empty one" } else { node.describe() };
            let help = "write `{ path: value }`, a path being names with dots between them";
            reader.error(node.place, format!("expected a mapping from paths to values, found {found}"), help);
            return None;
        }
    };
    let mut all = Some(Vec::with_capacity(entries.len()));
    for (key, value) in entries {
        let item = reader.at(&key.text, |reader| {
            let path = reader.path(&key.text, key.place)?;
            read(reader, path, value)
        });
        all = join(all, item.map(|item| vec![item]));
    }
    all
}

/// Reads `latest_by` or `earliest_by` and gives it to every `set` of the handler.
pub(super) fn pick(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    operations: &mut [Operation],
) -> Option<()> {
    let latest = picked_by(reader, fields, "latest_by", PickKind::Latest)?;
    let earliest = picked_by(reader, fields, "earliest_by", PickKind::Earliest)?;
    if let (Some(_), Some(second)) = (&latest, &earliest) {
        let help = "write two handlers for the event, each with its own `set`";
        reader.error(second.place, "a handler has one of `latest_by` and `earliest_by`", help);
    }
    let Some(pick) = latest.or(earliest) else { return Some(()) };
    let mut found = false;
    for operation in operations {
        if let Operation::Change(Change { kind: ChangeKind::Set { pick: place, .. }, .. }) = operation {
            *place = Some(pick.clone());
            found = true;
        }
    }
    if !found {
        reader.error(pick.place, "there is no `set` here to choose for", "add a `set`, or remove this field");
    }
    Some(())
}

fn picked_by(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    field: &'static str,
    kind: PickKind,
) -> Option<Option<Pick>> {
    fields.optional(reader, field, |reader, node| {
        let by = reader.expression(node, &format!("`{field}`"))?;
        Some(Pick { place: node.place, kind, by })
    })
}
