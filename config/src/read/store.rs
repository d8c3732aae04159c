use super::{Fields, Reader};
use crate::{settings::Store, yaml::Node};

pub(super) const DEFAULT_TABLE: &str = "foldstream";

pub(super) fn store(reader: &mut Reader<'_>, node: &Node) -> Option<Store> {
    let mut fields = Fields::of(reader, node, "where the engine keeps what it knows")?;
    let kind =
        fields.required(reader, "kind", |r, node| r.kind(node, "store", &["local", "dynamodb"], &[]))?;
    let store = match kind.value {
        "dynamodb" => {
            let table = fields.or(reader, "table", DEFAULT_TABLE.to_owned(), table);
            Store::Dynamodb { table: table? }
        }
        _ => Store::Local,
    };
    fields.finish(reader);
    Some(store)
}

/// The name of a DynamoDB table.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
pub(super) fn table(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.text(node, "a table's name")?;
    if is_table(&name) {
        return Some(name);
    }
    let help = "3 to 255 letters, digits, `_`, `-` or `.`";
    reader.error(node.place, format!("`{name}` cannot name a table"), help);
    None
}

pub(super) fn is_table(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (3..=255).contains(&name.len()) && name.chars().all(legal)
}
