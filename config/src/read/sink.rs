use std::{collections::BTreeMap, time::Duration};

use super::{Fields, Reader, section, store};
use crate::{
    diagnostic::Place,
    settings::{IndexKey, KeyAttribute, KeyType, Name, Sink, SinkKind, Spanned, TableKey, Tables},
    yaml::{Kind, Node},
};

const KINDS: [&str; 2] = ["local", "dynamodb"];
const LATER_KINDS: [&str; 1] = ["opensearch"];

const KEY_TYPES: [(&str, KeyType); 2] = [("string", KeyType::String), ("number", KeyType::Number)];
const DEFAULT_KEY: &str = "key";
const RESERVED: [&str; 2] = ["_foldstream", "_foldstream_expires"];
const DEFAULT_SEPARATOR: &str = "/";
const MOST_WRITE_UNITS: u32 = 10_000_000;
const MOST_TAGS: usize = 50;
const MOST_KEY_CHARACTERS: usize = 128;
const MOST_VALUE_CHARACTERS: usize = 256;
const LEAST_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn sink(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Sink> {
    let mut fields = Fields::of(reader, node, "the settings of a sink")?;
    let word = fields.required(reader, "kind", |r, node| r.kind(node, "sink", &KINDS, &LATER_KINDS))?;
    let kind = match word.value {
        "dynamodb" => tables(reader, &mut fields).map(|tables| SinkKind::Dynamodb(Box::new(tables))),
        "opensearch" => {
            fields_of_opensearch(reader, &mut fields);
            None
        }
        _ => Some(SinkKind::Local),
    };
    fields.finish(reader);
    Some(Sink { place: name.place, kind: Spanned::new(kind?, word.place) })
}

/// What is there is checked; what is missing is no mistake, as the kind can not be had anyway.
fn fields_of_opensearch(reader: &mut Reader<'_>, fields: &mut Fields<'_>) {
    for (field, what) in [("domain", "a domain's name"), ("index", "an index's name"), ("alias", "an alias")]
    {
        fields.optional(reader, field, |reader, node| reader.text(node, what));
    }
}

fn tables(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Tables> {
    let table = fields.required(reader, "table", table);
    let partition = KeyAttribute { name: DEFAULT_KEY.to_owned(), holds: KeyType::String };
    let default = TableKey { partition, sort: None };
    let key = fields.or(reader, "key", default, key);
    let indexes =
        fields.or(reader, "indexes", BTreeMap::new(), |r, node| Some(section::named(r, node, index)));
    let create = fields.or(reader, "create", true, Reader::boolean);
    let max_write_units =
        fields.optional(reader, "max_write_units", |r, node| r.small_integer(node, 1..=MOST_WRITE_UNITS));
    let tags = fields.or(reader, "tags", BTreeMap::new(), tags);
    let point_in_time_recovery = fields.or(reader, "point_in_time_recovery", false, Reader::boolean);
    let deletion_protection = fields.or(reader, "deletion_protection", false, Reader::boolean);
    let purge_deleted_after = fields.optional(reader, "purge_deleted_after", purge_deleted_after);
    let (key, indexes) = (key?, indexes?);
    refuse_two_types(reader, fields.place(), &key, &indexes);
    Some(Tables {
        table: table?,
        key,
        indexes,
        create: create?,
        max_write_units: max_write_units?,
        tags: tags?,
        point_in_time_recovery: point_in_time_recovery?,
        deletion_protection: deletion_protection?,
        purge_deleted_after: purge_deleted_after?,
    })
}

/// The limits are those of AWS: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Tagging.html>.
fn tags(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    let Kind::Map(entries) = &node.kind else {
        let message = format!("expected a mapping from tags to their values, found {}", node.describe());
        reader.error(node.place, message, "write it as `tags: { team: shop }`");
        return None;
    };
    let mut tags = BTreeMap::new();
    for (key, value) in entries {
        let value = reader.at(&key.text, |reader| reader.text(value, "a tag's value"))?;
        let (key_length, value_length) = (key.text.chars().count(), value.chars().count());
        if !(1..=MOST_KEY_CHARACTERS).contains(&key_length) || value_length > MOST_VALUE_CHARACTERS {
            let help = "a tag's key has 1 to 128 characters, its value 256 at most";
            reader.error(key.place, format!("`{}` is no tag that AWS takes", key.text), help);
        } else if key.text.to_lowercase().starts_with("aws:") {
            reader.error(key.place, "tags that begin with `aws:` are those of AWS", "choose another key");
        }
        tags.insert(key.text.clone(), value);
    }
    if tags.len() > MOST_TAGS {
        reader.error(node.place, format!("there are {} tags", tags.len()), "a table has 50 at most");
    }
    Some(tags)
}

/// What is delivered again in the meantime must find what is left of the document.
fn purge_deleted_after(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let kept = reader.duration(node)?;
    if kept < LEAST_KEPT {
        let message = "what is left of a deleted document is kept for a day at least";
        let help = "it keeps an event that is delivered late, or again, from bringing the document back: write days, such as `30d`";
        reader.error(node.place, message, help);
        return None;
    }
    Some(kept)
}

/// A name with `{projection}` and `{version}` in it, both: otherwise two read models would share a table.
fn table(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<String>> {
    let name = reader.spanned_text(node, "a table's name")?;
    for part in ["{projection}", "{version}"] {
        if !name.value.contains(part) {
            let help = "each version of a projection has a table of its own: write it as \"shop-{projection}-v{version}\"";
            reader.error(node.place, format!("the table's name has no `{part}` in it"), help);
            return None;
        }
    }
    if !store::is_table(&name.value.replace("{projection}", "p").replace("{version}", "1")) {
        let help = "letters, digits, `_`, `-` or `.`, and the two places";
        reader.error(node.place, format!("`{}` cannot name a table", name.value), help);
        return None;
    }
    Some(name)
}

fn key(reader: &mut Reader<'_>, node: &Node) -> Option<TableKey> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        return key_attribute(reader, node).map(|partition| TableKey { partition, sort: None });
    }
    let mut fields = Fields::of(reader, node, "an attribute's name, or `{ partition: …, sort: … }`")?;
    let partition = fields.required(reader, "partition", key_attribute);
    let sort = fields.optional(reader, "sort", key_attribute);
    let separator = fields.or(reader, "separator", DEFAULT_SEPARATOR.to_owned(), |r, node| {
        let text = r.text(node, "the text that divides the two in a document's key")?;
        if text.is_empty() {
            r.error(
                node.place,
                "the separator is empty",
                "write a text that no partition key has in it, such as `/`",
            );
            return None;
        }
        Some(text)
    });
    fields.finish(reader);
    let (sort, separator) = (sort?, separator?);
    Some(TableKey { partition: partition?, sort: sort.map(|sort| (sort, separator)) })
}

fn index(reader: &mut Reader<'_>, _: &Spanned<Name>, node: &Node) -> Option<IndexKey> {
    let mut fields = Fields::of(reader, node, "the key of an index, `{ partition: …, sort: … }`")?;
    let partition = fields.required(reader, "partition", key_attribute);
    let sort = fields.optional(reader, "sort", key_attribute);
    fields.finish(reader);
    Some(IndexKey { partition: partition?, sort: sort? })
}

/// The name of one that holds strings, or `{ attribute: …, type: … }`.
fn key_attribute(reader: &mut Reader<'_>, node: &Node) -> Option<KeyAttribute> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        return attribute(reader, node).map(|name| KeyAttribute { name, holds: KeyType::String });
    }
    let mut fields = Fields::of(reader, node, "an attribute's name, or `{ attribute: …, type: number }`")?;
    let name = fields.required(reader, "attribute", attribute);
    let holds = fields.word(reader, "type", &KEY_TYPES);
    fields.finish(reader);
    Some(KeyAttribute { name: name?, holds: holds?.value })
}

/// A table knows one type of each attribute, whatever keys it is in.
fn refuse_two_types(
    reader: &mut Reader<'_>,
    place: Place,
    key: &TableKey,
    indexes: &BTreeMap<Name, IndexKey>,
) {
    let mut types: BTreeMap<&str, KeyType> = BTreeMap::new();
    for attribute in key.attributes().chain(indexes.values().flat_map(IndexKey::attributes)) {
        let known = *types.entry(&attribute.name).or_insert(attribute.holds);
        if known != attribute.holds {
            let message = format!("`{}` is a string in one key and a number in another", attribute.name);
            reader.error(place, message, "an attribute has one type: give both keys the same one");
        }
    }
}

/// The reserved ones are the engine's.
fn attribute(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.text(node, "an attribute's name")?;
    if name.is_empty() || RESERVED.contains(&name.as_str()) {
        reader.error(node.place, format!("`{name}` cannot name an attribute"), "choose another name");
        return None;
    }
    Some(name)
}
