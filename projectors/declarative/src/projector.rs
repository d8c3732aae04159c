//! A projector written as handlers.

mod application;
mod handler;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldstream_model::ports::{Projector, Reads, StateCarried, Touch};
use foldstream_model::{DocumentKey, EventType, Result};

use crate::expression::{Expression, Scope};
use crate::operation;
use application::{Application, Prepared};
pub(crate) use handler::{Effect, Handler, Keys, reads};

/// Handlers by the types that they name, each type's in the order of the file.
pub struct DeclaredProjector {
    handlers: BTreeMap<EventType, Vec<Arc<Handler>>>,
    event_types: BTreeSet<EventType>,
    reads: BTreeMap<EventType, Reads>,
}

impl DeclaredProjector {
    pub(crate) fn new(handlers: Vec<(BTreeSet<EventType>, Handler)>) -> DeclaredProjector {
        let mut by_type: BTreeMap<EventType, Vec<Arc<Handler>>> = BTreeMap::new();
        for (types, handler) in handlers {
            let handler = Arc::new(handler);
            for event_type in types {
                by_type.entry(event_type).or_default().push(Arc::clone(&handler));
            }
        }
        let reads = by_type.iter().map(|(event_type, handlers)| {
            let reads = handlers.iter().fold(Reads::NOTHING, |reads, handler| reads.union(&handler.reads()));
            (event_type.clone(), reads)
        });
        DeclaredProjector {
            event_types: by_type.keys().cloned().collect(),
            reads: reads.collect(),
            handlers: by_type,
        }
    }
}

impl Projector for DeclaredProjector {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.event_types
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.reads.get(event_type).cloned().unwrap_or(Reads::NOTHING)
    }

    fn touch(&self, event: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        let Some(handlers) = self.handlers.get(&event.event.event_type) else { return Ok(()) };
        // Most types have one handler, and that one key: nothing is to be put together.
        if let [handler] = handlers.as_slice()
            && let Keys::One(key) = &handler.keys
        {
            return touch_one(handler, key, event, touches);
        }
        let mut touched: Vec<(DocumentKey, Arc<Prepared>)> = Vec::with_capacity(handlers.len());
        for handler in handlers {
            let steps = Cell::new(0);
            let scope = scope(event, &steps);
            let Some(prepared) = Prepared::new(handler, event, &scope) else { continue };
            let prepared = Arc::new(prepared);
            let touch = |key| touched.push((DocumentKey::new(key), Arc::clone(&prepared)));
            handler.keys(&scope, touch).map_err(|fault| handler.poison("key", &fault))?;
        }
        // Stable: what several handlers do to one document stays in the order of the file.
        touched.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut touched = touched.into_iter().peekable();
        while let Some((key, first)) = touched.next() {
            let mut application = Application::new(first);
            while let Some((_, next)) = touched.next_if(|(next, _)| *next == key) {
                application.add(next);
            }
            touches.push(Touch { key, change: Box::new(application) });
        }
        Ok(())
    }
}

fn touch_one(
    handler: &Arc<Handler>,
    key: &Expression,
    event: &StateCarried,
    touches: &mut Vec<Touch>,
) -> Result<()> {
    let steps = Cell::new(0);
    let scope = scope(event, &steps);
    let Some(prepared) = Prepared::new(handler, event, &scope) else { return Ok(()) };
    let key = key.evaluate(&scope).and_then(|key| operation::key(&key));
    let key = DocumentKey::new(key.map_err(|fault| handler.poison("key", &fault))?);
    touches.push(Touch { key, change: Box::new(prepared) });
    Ok(())
}

/// What the expressions of handlers see of an event; the document is added when it is known.
fn scope<'a>(event: &'a StateCarried, steps: &'a Cell<u32>) -> Scope<'a> {
    Scope {
        event: Some(&event.event),
        payload: &event.event.payload.value,
        before: &event.before,
        state: &event.state,
        ..Scope::empty(steps)
    }
}
