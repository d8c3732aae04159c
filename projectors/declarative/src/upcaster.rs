//! Upcasters written as changes of the payload.

use std::cell::Cell;
use std::sync::Arc;

use foldstream_model::ports::Upcaster;
use foldstream_model::{Error, EventType, Path, Result, SchemaVersion, Value};

use crate::expression::{Fault, Scope};
use crate::operation::{self, Operation, Target};

/// Lifts the payload of one type by one version.
pub struct DeclaredUpcaster {
    /// where it stands, for messages: `source=shop upcaster=foldstream.yaml:18`
    pub(crate) label: String,
    pub(crate) event_type: EventType,
    pub(crate) from: SchemaVersion,
    pub(crate) changes: Vec<Lift>,
}

#[derive(Debug)]
pub(crate) enum Lift {
    Change(Operation),
    Rename { from: Path, to: Path },
}

impl Upcaster for DeclaredUpcaster {
    fn lifts(&self) -> (&EventType, SchemaVersion) {
        (&self.event_type, self.from)
    }

    /// Expressions see the payload as it was before this upcaster.
    fn upcast(&self, payload: Value) -> Result<Value> {
        let mut lifted = match &payload {
            Value::Null => Arc::default(),
            Value::Map(fields) => Arc::clone(fields),
            other => {
                let message = format!("{}: the payload is {}, not an object", self.label, other.kind());
                return Err(Error::poison(message));
            }
        };
        let steps = Cell::new(0);
        let scope = Scope { payload: &payload, ..Scope::empty(&steps) };
        for change in &self.changes {
            let lifting: Result<(), Fault> = match change {
                Lift::Rename { from, to } => operation::rename(from, to, &mut lifted),
                Lift::Change(operation) => operation.evaluate(&scope).and_then(|arguments| {
                    let mut target = Target { fields: &mut lifted, hidden: &mut Arc::default() };
                    operation.apply(&arguments, None, &mut target)
                }),
            };
            lifting.map_err(|fault| Error::poison(format!("{}: {fault}", self.label)))?;
        }
        Ok(Value::Map(lifted))
    }
}
