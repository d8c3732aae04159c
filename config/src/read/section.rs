//! Mappings from names to settings of one kind, and lists of them.

use std::collections::BTreeMap;

use super::Reader;
use crate::{
    settings::{Name, Spanned},
    yaml::{Kind, Node},
};

/// `{ shop: …, … }`. A section without a value is an empty one.
pub(super) fn named<'e, T>(
    reader: &mut Reader<'e>,
    node: &Node,
    mut read: impl FnMut(&mut Reader<'e>, &Spanned<Name>, &Node) -> Option<T>,
) -> BTreeMap<Name, T> {
    let mut section = BTreeMap::new();
    if node.is_null() {
        return section;
    }
    let Kind::Map(entries) = &node.kind else {
        let message = format!("expected a mapping from names to settings, found {}", node.describe());
        reader.error(node.place, message, "write a name, a colon, and the settings indented below it");
        return section;
    };
    for (key, value) in entries {
        let Some(name) = Name::new(&key.text) else {
            reader.error(
                key.place,
                format!("`{}` is no name", key.text),
                format!("a name is {}", Name::RULE),
            );
            continue;
        };
        let name = Spanned::new(name, key.place);
        if let Some(read) = reader.at(&key.text, |reader| read(reader, &name, value)) {
            section.insert(name.value, read);
        }
    }
    section
}

/// The names of a section as they stand in the file, whether or not their settings could be read.
pub(super) fn names(root: &Node, section: &str) -> Vec<Name> {
    let Kind::Map(sections) = &root.kind else { return Vec::new() };
    match sections.iter().find(|(key, _)| key.text == section).map(|(_, node)| &node.kind) {
        Some(Kind::Map(entries)) => entries.iter().filter_map(|(key, _)| Name::new(&key.text)).collect(),
        _ => Vec::new(),
    }
}

/// A list of things of one kind; those that are refused are left out. A list without a value is an empty one.
pub(super) fn list<'e, T>(
    reader: &mut Reader<'e>,
    node: &Node,
    mut read: impl FnMut(&mut Reader<'e>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    if node.is_null() {
        return Some(Vec::new());
    }
    let Kind::List(items) = &node.kind else {
        reader.error(
            node.place,
            format!("expected a list, found {}", node.describe()),
            "begin each entry with `- `",
        );
        return None;
    };
    let items = items.iter().enumerate();
    Some(items.filter_map(|(index, item)| reader.at_index(index, |reader| read(reader, item))).collect())
}

/// One text, or a list of them without doubles, at least one. `what` completes "expected …".
pub(super) fn texts(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Vec<Spanned<String>>> {
    let Kind::List(items) = &node.kind else {
        return reader.spanned_text(node, what).map(|text| vec![text]);
    };
    if items.is_empty() {
        reader.error(node.place, "the list is empty", format!("name {what}"));
        return None;
    }
    let texts = list(reader, node, |reader, item| reader.spanned_text(item, what))?;
    for (index, text) in texts.iter().enumerate() {
        if texts.iter().take(index).any(|earlier| earlier.value == text.value) {
            reader.error(text.place, format!("`{}` is named twice", text.value), "remove one of the two");
        }
    }
    Some(texts)
}
