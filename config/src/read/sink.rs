use std::collections::BTreeMap;

use super::{Fields, Reader, section, store};
use crate::{
    settings::{IndexKey, Name, Sink, SinkKind, Spanned, TableKey, Tables},
    yaml::{Kind, Node},
};

const KINDS: [&str; 2] = ["local", "dynamodb"];
const LATER_KINDS: [&str; 1] = ["opensearch"];

const DEFAULT_KEY: &str = "key";
const DEFAULT_SEPARATOR: &str = "/";
const MOST_WRITE_UNITS: u32 = 10_000_000;

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
    let default = TableKey { partition: DEFAULT_KEY.to_owned(), sort: None };
    let key = fields.or(reader, "key", default, key);
    let indexes =
        fields.or(reader, "indexes", BTreeMap::new(), |r, node| Some(section::named(r, node, index)));
    let create = fields.or(reader, "create", true, Reader::boolean);
    let max_write_units =
        fields.optional(reader, "max_write_units", |r, node| r.small_integer(node, 1..=MOST_WRITE_UNITS));
    Some(Tables {
        table: table?,
        key: key?,
        indexes: indexes?,
        create: create?,
        max_write_units: max_write_units?,
    })
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
        return attribute(reader, node).map(|partition| TableKey { partition, sort: None });
    }
    let mut fields = Fields::of(reader, node, "an attribute's name, or `{ partition: …, sort: … }`")?;
    let partition = fields.required(reader, "partition", attribute);
    let sort = fields.optional(reader, "sort", attribute);
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
    let partition = fields.required(reader, "partition", attribute);
    let sort = fields.optional(reader, "sort", attribute);
    fields.finish(reader);
    Some(IndexKey { partition: partition?, sort: sort? })
}

/// The reserved one is the engine's.
fn attribute(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.text(node, "an attribute's name")?;
    if name.is_empty() || name == "_foldstream" {
        reader.error(node.place, format!("`{name}` cannot name an attribute"), "choose another name");
        return None;
    }
    Some(name)
}
