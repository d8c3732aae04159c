//! A reducer written as steps.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldstream_model::ports::{Reads, Reducer};
use foldstream_model::{Error, Event, EventType, Map, Result, Value};

use crate::expression::{References, Scope};
use crate::operation::{Operation, Target};
use crate::projector::{Effect, reads};

/// Steps by the types that they name, each type's in the order of the file.
pub struct DeclaredReducer {
    steps: BTreeMap<EventType, Vec<Arc<Step>>>,
    event_types: BTreeSet<EventType>,
    reads: BTreeMap<EventType, Reads>,
}

/// What is done to the state.
#[derive(Debug)]
pub(crate) struct Step {
    /// where it stands, for messages: `reducer=order step=foldstream.yaml:31`
    pub label: String,
    pub effect: Effect,
}

impl DeclaredReducer {
    pub(crate) fn new(steps: Vec<(BTreeSet<EventType>, Step)>) -> DeclaredReducer {
        let mut by_type: BTreeMap<EventType, Vec<Arc<Step>>> = BTreeMap::new();
        for (types, step) in steps {
            let step = Arc::new(step);
            for event_type in types {
                by_type.entry(event_type).or_default().push(Arc::clone(&step));
            }
        }
        DeclaredReducer {
            event_types: by_type.keys().cloned().collect(),
            reads: by_type.iter().map(|(event_type, steps)| (event_type.clone(), reads_of(steps))).collect(),
            steps: by_type,
        }
    }
}

fn reads_of(steps: &[Arc<Step>]) -> Reads {
    let mut references = References::default();
    for operation in steps.iter().flat_map(|step| step.effect.operations()) {
        references.merge(&operation.references());
    }
    reads(references)
}

impl Reducer for DeclaredReducer {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.event_types
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.reads.get(event_type).cloned().unwrap_or(Reads::NOTHING)
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        let Some(steps) = self.steps.get(&event.event_type) else { return Ok(before.clone()) };
        let mut state = match before {
            Value::Map(fields) => Some(Arc::clone(fields)),
            _ => None,
        };
        for step in steps {
            match &step.effect {
                Effect::Delete => state = None,
                Effect::Change(operations) => change(&step.label, operations, event, before, &mut state)?,
            }
        }
        Ok(state.map(Value::Map).unwrap_or_default())
    }
}

fn change(
    label: &str,
    operations: &[Operation],
    event: &Event,
    before: &Value,
    state: &mut Option<Arc<Map>>,
) -> Result<()> {
    let steps = Cell::new(0);
    let scope = Scope { event: Some(event), payload: &event.payload.value, before, ..Scope::empty(&steps) };
    for operation in operations {
        let poison = |fault| {
            Error::poison(format!(
                "{label} operation={} path={}: {fault}",
                operation.kind.name(),
                operation.path
            ))
        };
        let arguments = operation.evaluate(&scope).map_err(poison)?;
        if state.is_none() && !operation.makes_something(&arguments) {
            continue;
        }
        let mut hidden = Arc::default();
        let mut target = Target { fields: state.get_or_insert_default(), hidden: &mut hidden };
        operation.apply(&arguments, None, &mut target).map_err(poison)?;
    }
    Ok(())
}
