//! What items hold, read without the connectors, which would be wrong together with what they write.

use std::fmt::Write as _;

use bytes::Bytes;
use foldstream_model::{
    Document, DocumentKey, Guard, Lease, LeaseKey, ProjectionId, ReadModel, ShardId, WorkerId,
    ports::{Revision, Row, RowKey, StoredDocument, Table},
};
use serde_json::Value;

use super::{
    expressions::Item,
    tables::{Key, text},
};

/// Of everything that is neither a document nor a lease of a shard.
pub const STATE: &str = "state";
/// KCL's.
pub const LEASES: &str = "state-events";
pub const KEY: &str = "id";
/// Documents are in `read-{projection}-{version}`.
pub const DOCUMENTS: &str = "read-{projection}-{version}";
const OWN: &str = "_foldstream";

pub fn table_of(model: &ReadModel) -> String {
    format!("read-{}-{}", model.name, model.version.0)
}

/// The read model that a table has.
pub fn model_of(table: &str) -> Option<ReadModel> {
    let (name, version) = table.strip_prefix("read-")?.rsplit_once('-')?;
    Some(ProjectionId::new(name, version.parse().ok()?))
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.get("N")?.as_str()?.parse().ok()
}

pub fn document_key(item: &Item) -> DocumentKey {
    DocumentKey::new(text(item, KEY).expect("a key"))
}

pub fn document(item: &Item) -> StoredDocument {
    let own = &item[OWN]["M"];
    let guard = Guard::from_json(own["guard"]["S"].as_str().expect("a guard")).expect("a guard");
    if own.get("deleted").is_some() {
        return StoredDocument { guard, document: None };
    }
    let fields = item.iter().filter(|(name, _)| *name != KEY && *name != OWN);
    let mut json = String::new();
    write_map(&mut json, fields);
    let hidden = own["hidden"]["S"].as_str().map(str::as_bytes);
    let document = Document::from_json(json.as_bytes(), hidden).expect("a document");
    StoredDocument { guard, document: Some(document) }
}

fn write_map<'v>(json: &mut String, fields: impl Iterator<Item = (&'v String, &'v Value)>) {
    json.push('{');
    for (at, (name, value)) in fields.enumerate() {
        let _ = write!(json, "{}{}:", if at > 0 { "," } else { "" }, Value::from(name.as_str()));
        write_value(json, value);
    }
    json.push('}');
}

fn write_value(json: &mut String, value: &Value) {
    let (kind, value) = value.as_object().and_then(|typed| typed.iter().next()).expect("a typed value");
    match (kind.as_str(), value) {
        ("NULL", _) => json.push_str("null"),
        ("N", Value::String(digits)) => json.push_str(digits),
        ("S" | "BOOL", value) => drop(write!(json, "{value}")),
        ("L", Value::Array(list)) => {
            json.push('[');
            for (at, value) in list.iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                write_value(json, value);
            }
            json.push(']');
        }
        ("M", Value::Object(map)) => write_map(json, map.iter()),
        _ => panic!("nobody writes such an attribute: {kind}"),
    }
}

pub fn key_of_row(key: &RowKey) -> Key {
    let sort = match key.sort.is_empty() || key.sort.starts_with('\0') {
        true => format!("\0{}", key.sort),
        false => key.sort.clone(),
    };
    (format!("{}/{}", key.table.as_str(), key.partition), sort)
}

pub fn row(key: RowKey, item: &Item) -> Row {
    let revision = Revision(number(item, "revision").expect("a revision"));
    Row { key, revision, body: body(item) }
}

pub fn body(item: &Item) -> Bytes {
    Bytes::copy_from_slice(text(item, "body").expect("a body").as_bytes())
}

/// The sort key of a row.
pub fn sort(item: &Item) -> &str {
    let sort = text(item, "sk").expect("a sort key");
    sort.strip_prefix('\0').unwrap_or(sort)
}

/// The key of a row of one of these tables.
pub fn row_key(item: &Item, tables: &[Table]) -> Option<RowKey> {
    let partition = text(item, "pk")?;
    let of = |table: &Table| Some((*table, partition.strip_prefix(table.as_str())?.strip_prefix('/')?));
    let (table, partition) = tables.iter().find_map(of)?;
    Some(RowKey::new(table, partition, sort(item)))
}

/// None: it is no lease. Its checkpoint is nobody's business here.
pub fn lease(item: &Item) -> Option<Lease> {
    let worker = |name: &str| text(item, name).map(WorkerId::new);
    let key = match text(item, "leaseKey") {
        Some(shard) => LeaseKey::Shard(ShardId::new(shard)),
        None => serde_json::from_str(text(item, "lease")?).expect("a key of a lease"),
    };
    Some(Lease {
        key,
        owner: worker("leaseOwner"),
        from: worker("checkpointOwner"),
        counter: number(item, "leaseCounter")?,
        checkpoint: None,
    })
}
