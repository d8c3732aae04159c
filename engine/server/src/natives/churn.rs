//! How much each folder of a git repository changes: an event of a file counts in every folder above its path.

use std::{collections::BTreeSet, sync::Arc};

use foldstream_model::{
    Decimal, Document, DocumentKey, Error, Event, EventType, FieldMask, Map, Path, Result, Value,
    ports::{Projector, Reads, StateCarried, Touch},
};

use crate::demo::path_text;

const TYPES: [&str; 5] = ["FileAdded", "FileChanged", "FileDeleted", "FileRestored", "ModeChanged"];
/// The key of the folder above all; no other folder can be called so.
const ROOT: &str = "/";

const CHANGES: &str = "changes";
const LINES_ADDED: &str = "lines_added";
const LINES_REMOVED: &str = "lines_removed";
const PATH: &str = "path";

/// Documents by folder, `{"changes", "lines_added", "lines_removed"}`. Commutative: all it does is to add.
pub struct Churn {
    types: BTreeSet<EventType>,
    payload: FieldMask,
}

impl Churn {
    pub const CODE_ID: &str = "churn/1";

    pub fn new() -> Self {
        let mut payload = FieldMask::NONE;
        for field in [PATH, LINES_ADDED, LINES_REMOVED] {
            payload.insert(&Path::new([Arc::from(field)]).expect("the fields have names"));
        }
        Self { types: TYPES.into_iter().map(EventType::new).collect(), payload }
    }
}

impl Default for Churn {
    fn default() -> Self {
        Self::new()
    }
}

impl Projector for Churn {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.types
    }

    fn reads(&self, _: &EventType) -> Reads {
        Reads { payload: self.payload.clone(), metadata: FieldMask::NONE }
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        let event = &*carried.event;
        let path = event.payload.value.get(PATH).and_then(Value::as_text);
        let path = path.ok_or_else(|| lacks(event, PATH))?;
        let (added, removed) = (lines(event, LINES_ADDED)?, lines(event, LINES_REMOVED)?);
        for folder in folders_above(path)? {
            let (added, removed) = (added.clone(), removed.clone());
            let change = move |document: &mut Option<Document>| count(document, &added, &removed);
            touches.push(Touch { key: DocumentKey::new(folder), change: Box::new(change) });
        }
        Ok(())
    }
}

fn count(document: &mut Option<Document>, added: &Decimal, removed: &Decimal) -> Result<()> {
    let fields = Arc::make_mut(&mut document.get_or_insert_default().fields);
    add(fields, CHANGES, &Decimal::ONE)?;
    add(fields, LINES_ADDED, added)?;
    add(fields, LINES_REMOVED, removed)
}

fn add(fields: &mut Map, field: &str, number: &Decimal) -> Result<()> {
    let sum = match fields.get(field).and_then(Value::as_number) {
        Some(sum) => sum.checked_add(number),
        None => Ok(number.clone()),
    };
    let sum =
        sum.map_err(|error| Error::poison(format!("{field} cannot be counted any further: {error}")))?;
    fields.insert(Arc::from(field), Value::Number(sum));
    Ok(())
}

fn lines(event: &Event, field: &str) -> Result<Decimal> {
    let lines = event.payload.value.get(field).and_then(Value::as_number);
    lines.cloned().ok_or_else(|| lacks(event, field))
}

fn lacks(event: &Event, field: &str) -> Error {
    Error::poison(format!(
        "no {field} in the payload: stream={} sequence={}",
        event.stream_id, event.sequence
    ))
}

/// Every folder above a path, the root first. Folders are text in the form of paths.
fn folders_above(path: &str) -> Result<Vec<String>> {
    let path = path_text::to_path(path).map_err(|error| Error::poison(error.to_string()))?;
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let folders = ends.filter_map(|end| path.get(..end)).map(path_text::of_path);
    Ok(std::iter::once(ROOT.to_owned()).chain(folders).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use foldstream_model::{EventId, Payload, SchemaVersion, Sequence, StreamId, Timestamp};

    use super::*;

    fn event(payload: &str) -> StateCarried {
        let mut payload = Payload::new(Bytes::copy_from_slice(payload.as_bytes()));
        payload.parse(&Churn::new().reads(&EventType::new("FileAdded")).payload).unwrap();
        let event = Event {
            stream_id: StreamId::new("file/x"),
            sequence: Sequence(1),
            id: EventId::new("e"),
            event_type: EventType::new("FileAdded"),
            schema_version: SchemaVersion(1),
            recorded_at: Timestamp::EPOCH,
            effective_at: Timestamp::EPOCH,
            payload,
            metadata: Payload::default(),
        };
        StateCarried { event: Arc::new(event), before: Value::Null, state: Value::Null }
    }

    #[test]
    fn it_keeps_what_a_projector_promises() {
        let payload = r#"{"path":"src/cli/mod.rs","lines_added":3,"lines_removed":1,"author":"a"}"#;
        foldstream_model::conformance::projector::run(&Churn::new(), &[event(payload)]);
    }

    #[test]
    fn an_event_counts_in_every_folder_above_its_path() {
        let mut touches = Vec::new();
        let payload = r#"{"path":"src/cli/mod.rs","lines_added":3,"lines_removed":1,"author":"a"}"#;
        Churn::new().touch(&event(payload), &mut touches).unwrap();
        assert_eq!(
            touches.iter().map(|touch| touch.key.as_str()).collect::<Vec<_>>(),
            ["/", "src", "src/cli"]
        );
        let mut document = None;
        for _ in 0..2 {
            touches[1].change.apply(&mut document).unwrap();
        }
        let expected = r#"{"changes":2,"lines_added":6,"lines_removed":2}"#;
        assert_eq!(document.unwrap().to_canonical_json(), expected);
    }

    #[test]
    fn folders_of_quoted_paths_are_quoted_only_where_they_must_be() {
        let text = path_text::of_path(b"plain/caf\xe9/x");
        assert_eq!(
            folders_above(&text).unwrap(),
            ["/".to_owned(), "plain".to_owned(), path_text::of_path(b"plain/caf\xe9")]
        );
    }

    #[test]
    fn an_event_without_lines_is_poison() {
        let error = Churn::new().touch(&event(r#"{"path":"a"}"#), &mut Vec::new()).unwrap_err();
        assert!(
            error.message().contains("no lines_added in the payload: stream=file/x sequence=1"),
            "{error}"
        );
    }
}
