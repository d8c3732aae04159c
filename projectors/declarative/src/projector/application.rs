//! What the handlers of one event do to one document, together.

use std::cell::Cell;
use std::sync::Arc;

use foldstream_model::ports::{Change, StateCarried};
use foldstream_model::{Document, EventId, Result, Value};

use super::handler::{Effect, Handler};
use super::scope;
use crate::expression::{Fault, Scope};
use crate::operation::{Arguments, Operation, Target};

/// A handler that the event meets, with all that could be evaluated before the document was known.
pub(super) struct Prepared {
    handler: Arc<Handler>,
    when: When,
    /// one for each operation
    arguments: Vec<Argued>,
    /// kept only if something has to be evaluated when the document is known
    event: Option<Box<StateCarried>>,
    event_id: EventId,
}

enum When {
    Holds,
    /// it reads the document
    Later,
    Failed(Fault),
}

enum Argued {
    Ready(Arguments),
    /// some argument reads the document
    Later,
    Failed(Fault),
}

impl Prepared {
    /// None if the handler's condition says already that it does nothing.
    pub(super) fn new(handler: &Arc<Handler>, event: &StateCarried, scope: &Scope<'_>) -> Option<Prepared> {
        let when = match &handler.when {
            None => When::Holds,
            Some(_) if handler.when_reads_document => When::Later,
            Some(when) => match when.is_true(scope) {
                Ok(true) => When::Holds,
                Ok(false) => return None,
                Err(fault) => When::Failed(fault),
            },
        };
        let argue = |operation: &Operation| {
            if operation.reads_document {
                return Argued::Later;
            }
            operation.evaluate(scope).map_or_else(Argued::Failed, Argued::Ready)
        };
        let arguments: Vec<Argued> = handler.operations().iter().map(argue).collect();
        let later =
            matches!(when, When::Later) || arguments.iter().any(|argued| matches!(argued, Argued::Later));
        Some(Prepared {
            handler: Arc::clone(handler),
            when,
            arguments,
            event: later.then(|| Box::new(event.clone())),
            event_id: event.event.id.clone(),
        })
    }

    /// `before` is the document as it was before the event.
    fn operate_all(&self, before: &Value, document: &mut Option<Document>) -> Result<()> {
        if !self.holds(before)? {
            return Ok(());
        }
        if matches!(self.handler.effect, Effect::Delete) {
            *document = None;
            return Ok(());
        }
        for (operation, argued) in self.handler.operations().iter().zip(&self.arguments) {
            self.operate(operation, argued, before, document).map_err(|fault| {
                self.handler
                    .poison(&format!("operation={} path={}", operation.kind.name(), operation.path), &fault)
            })?;
        }
        Ok(())
    }

    fn holds(&self, before: &Value) -> Result<bool> {
        let held = match (&self.when, &self.handler.when) {
            (When::Later, Some(when)) => self.with_document(before, |scope| when.is_true(scope)),
            (When::Failed(fault), _) => Err(fault.clone()),
            _ => Ok(true),
        };
        held.map_err(|fault| self.handler.poison("when", &fault))
    }

    fn operate(
        &self,
        operation: &Operation,
        argued: &Argued,
        before: &Value,
        document: &mut Option<Document>,
    ) -> Result<(), Fault> {
        let late;
        let arguments = match argued {
            Argued::Ready(arguments) => arguments,
            Argued::Failed(fault) => return Err(fault.clone()),
            Argued::Later => {
                late = self.with_document(before, |scope| operation.evaluate(scope))?;
                &late
            }
        };
        if document.is_none() && !operation.makes_something(arguments) {
            return Ok(());
        }
        let Document { fields, hidden } = document.get_or_insert_default();
        operation.apply(arguments, Some(&self.event_id), &mut Target { fields, hidden })
    }

    fn with_document<T>(
        &self,
        document: &Value,
        evaluate: impl FnOnce(&Scope<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let steps = Cell::new(0);
        match &self.event {
            Some(event) => evaluate(&Scope { document, ..scope(event, &steps) }),
            None => evaluate(&Scope { document, ..Scope::empty(&steps) }),
        }
    }
}

/// The document as it was before the event, if a handler reads it.
fn before(document: &Option<Document>, is_read: bool) -> Value {
    match document {
        Some(document) if is_read => Value::Map(Arc::clone(&document.fields)),
        _ => Value::Null,
    }
}

/// The one handler that an event meets on one document.
impl Change for Prepared {
    fn apply(&self, document: &mut Option<Document>) -> Result<()> {
        let before = before(document, self.event.is_some());
        self.operate_all(&before, document)
    }
}

/// All handlers that an event meets on one document: one application, in the order of the file.
pub(super) struct Application {
    first: Arc<Prepared>,
    others: Vec<Arc<Prepared>>,
}

impl Application {
    pub(super) fn new(first: Arc<Prepared>) -> Application {
        Application { first, others: Vec::new() }
    }

    pub(super) fn add(&mut self, next: Arc<Prepared>) {
        self.others.push(next);
    }

    fn handlers(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Change for Application {
    fn apply(&self, document: &mut Option<Document>) -> Result<()> {
        let before = before(document, self.handlers().any(|prepared| prepared.event.is_some()));
        self.handlers().try_for_each(|prepared| prepared.operate_all(&before, document))
    }
}
