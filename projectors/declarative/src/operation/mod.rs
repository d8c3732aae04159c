//! What is done to the fields of a document, a state or a payload.

mod apply;
mod key;
mod storable;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use foldstream_model::{EventId, Map, Path, Value};

use crate::expression::{Expression, Fault, References, Root, Scope};

pub(crate) use apply::rename;
pub(crate) use key::{key, keys};

/// One change of one path.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub path: Path,
    pub kind: Kind,
    pub arguments: Vec<Expression>,
    pub reads_document: bool,
}

/// What is done; beside each kind the arguments that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// value
    Set,
    /// value, by
    SetLatest,
    /// value, by
    SetEarliest,
    Unset,
    /// map
    MergeMap,
    /// number
    Add,
    /// value
    Min,
    /// value
    Max,
    /// value
    Append,
    /// key, value
    PutEntry,
    /// key
    DeleteEntry,
    /// value, or a list of them
    AddToSet,
    /// value, or a list of them
    DeleteFromSet,
}

impl Kind {
    /// The name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Set => "set",
            Kind::SetLatest => "set with latest_by",
            Kind::SetEarliest => "set with earliest_by",
            Kind::Unset => "unset",
            Kind::MergeMap => "merge_map",
            Kind::Add => "add",
            Kind::Min => "min",
            Kind::Max => "max",
            Kind::Append => "append",
            Kind::PutEntry => "put_entry",
            Kind::DeleteEntry => "delete_entry",
            Kind::AddToSet => "add_to_set",
            Kind::DeleteFromSet => "delete_from_set",
        }
    }
}

/// Whether a document can hold this literal.
pub(crate) fn check_storable(literal: &Value) -> Result<(), Fault> {
    storable::check(literal, 1)
}

/// The values of an operation's arguments, checked to be storable; null where the kind takes fewer than two.
pub(crate) type Arguments = [Value; 2];

/// What operations change: the fields that readers see, and what must be remembered beside them.
pub(crate) struct Target<'t> {
    pub fields: &'t mut Arc<Map>,
    pub hidden: &'t mut Arc<Map>,
}

impl Operation {
    pub(crate) fn new(path: Path, kind: Kind, arguments: Vec<Expression>) -> Operation {
        let reads_document = arguments.iter().any(|argument| argument.references().uses(Root::Document));
        Operation { path, kind, arguments, reads_document }
    }

    pub(crate) fn references(&self) -> References {
        let mut references = References::default();
        for argument in &self.arguments {
            references.merge(&argument.references());
        }
        references
    }

    /// The values of the arguments in this scope.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Arguments, Fault> {
        let mut values = Arguments::default();
        for (value, argument) in values.iter_mut().zip(&self.arguments) {
            *value = argument.evaluate(scope)?.into_owned();
            storable::check(value, self.path.names().len() + 1)?;
        }
        Ok(values)
    }

    /// Whether it leaves something where nothing was before.
    pub(crate) fn makes_something(&self, arguments: &Arguments) -> bool {
        let [first, _] = arguments;
        match (self.kind, first) {
            (Kind::Unset | Kind::DeleteEntry | Kind::DeleteFromSet, _) => false,
            (Kind::Min | Kind::Max | Kind::MergeMap | Kind::AddToSet, Value::Null) => false,
            (Kind::AddToSet, Value::List(items)) => items.iter().any(|item| !item.is_null()),
            _ => true,
        }
    }

    /// Changes the target. `event_id` decides ties of `latest_by` and `earliest_by`.
    pub(crate) fn apply(
        &self,
        arguments: &Arguments,
        event_id: Option<&EventId>,
        target: &mut Target<'_>,
    ) -> Result<(), Fault> {
        apply::apply(self, arguments, event_id, target)
    }
}
