//! Changes of paths.

use foldstream_config::Place;
use foldstream_config::settings::{self, Argument, Change, ChangeKind, PickKind};
use foldstream_model::Value;

use super::report::Report;
use crate::expression::Names;
use crate::operation::{Kind, Operation};
use crate::projector::Effect;

impl Report {
    /// The operations of a handler or step.
    pub(super) fn effect(&mut self, operations: &[settings::Operation], names: &Names) -> Effect {
        let mut changes = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                settings::Operation::Delete(_) => return Effect::Delete,
                settings::Operation::Change(change) => changes.push(self.change(change, names)),
            }
        }
        self.refuse_covered_paths(operations);
        Effect::Change(changes)
    }

    pub(super) fn change(&mut self, change: &Change, names: &Names) -> Operation {
        let path = change.path.value.clone();
        let kind = kind(&change.kind);
        let field = format!("{}.{path}", kind.name().split(' ').next().unwrap_or_default());
        let arguments = self.at(&field, |report| {
            report.check_literals(&change.kind);
            arguments(&change.kind)
                .into_iter()
                .map(|argument| report.argument(argument, names))
                .collect::<Vec<_>>()
        });
        let by = match &change.kind {
            ChangeKind::Set { pick: Some(pick), .. } => {
                let field = if pick.kind == PickKind::Latest { "latest_by" } else { "earliest_by" };
                Some(self.at(field, |report| report.expression(&pick.by, names)))
            }
            _ => None,
        };
        Operation::new(path, kind, arguments.into_iter().chain(by).collect())
    }

    /// What one operation writes must not lie inside what another one writes.
    fn refuse_covered_paths(&mut self, operations: &[settings::Operation]) {
        let paths: Vec<_> = operations
            .iter()
            .filter_map(|operation| match operation {
                settings::Operation::Change(change) => Some(&change.path),
                settings::Operation::Delete(_) => None,
            })
            .collect();
        for (index, path) in paths.iter().enumerate() {
            let earlier = paths.iter().take(index);
            let around = earlier.into_iter().find(|other| {
                other.value != path.value && (other.covers(&path.value) || path.covers(&other.value))
            });
            if let Some(other) = around {
                let message =
                    format!("the path {} and the path {} lie inside each other", other.value, path.value);
                let help = "change one of them, or write the other into another handler of the same events";
                self.error(path.place, message, Some(help.to_owned()));
            }
        }
    }

    fn check_literals(&mut self, kind: &ChangeKind) {
        let wrong = match kind {
            ChangeKind::Add { value } => {
                literal(value).filter(|(_, value)| !matches!(value, Value::Number(_)))
            }
            ChangeKind::Min { value } | ChangeKind::Max { value } => {
                literal(value).filter(|(_, value)| !matches!(value, Value::Number(_) | Value::Text(_)))
            }
            ChangeKind::MergeMap { map } => literal(map).filter(|(_, value)| !matches!(value, Value::Map(_))),
            ChangeKind::PutEntry { key, .. } | ChangeKind::DeleteEntry { key } => {
                literal(key).filter(|(_, key)| crate::operation::key(key).is_err())
            }
            _ => None,
        };
        let Some((place, value)) = wrong else { return };
        let (name, wanted) = match kind {
            ChangeKind::Add { .. } => ("add", "a number"),
            ChangeKind::MergeMap { .. } => ("merge_map", "an object"),
            ChangeKind::Min { .. } | ChangeKind::Max { .. } => ("min and max", "a number or a string"),
            _ => ("the key of an entry", "a string that is not empty"),
        };
        let help = match value {
            Value::Text(text) => Some(format!("an expression begins with `=`: ={text}")),
            _ => None,
        };
        self.error(place, format!("{name} takes {wanted}, not {}", value.kind()), help);
    }
}

fn literal(argument: &Argument) -> Option<(Place, &Value)> {
    match argument {
        Argument::Literal(literal) => Some((literal.place, &literal.value)),
        _ => None,
    }
}

pub(crate) fn kind(kind: &ChangeKind) -> Kind {
    match kind {
        ChangeKind::Set { pick: None, .. } => Kind::Set,
        ChangeKind::Set { pick: Some(pick), .. } => match pick.kind {
            PickKind::Latest => Kind::SetLatest,
            PickKind::Earliest => Kind::SetEarliest,
        },
        ChangeKind::Unset => Kind::Unset,
        ChangeKind::MergeMap { .. } => Kind::MergeMap,
        ChangeKind::Add { .. } => Kind::Add,
        ChangeKind::Min { .. } => Kind::Min,
        ChangeKind::Max { .. } => Kind::Max,
        ChangeKind::Append { .. } => Kind::Append,
        ChangeKind::PutEntry { .. } => Kind::PutEntry,
        ChangeKind::DeleteEntry { .. } => Kind::DeleteEntry,
        ChangeKind::AddToSet { .. } => Kind::AddToSet,
        ChangeKind::DeleteFromSet { .. } => Kind::DeleteFromSet,
    }
}

/// The arguments as they are written, without what a pick goes by.
pub(crate) fn arguments(kind: &ChangeKind) -> Vec<&Argument> {
    match kind {
        ChangeKind::Unset => Vec::new(),
        ChangeKind::MergeMap { map: value }
        | ChangeKind::Set { value, .. }
        | ChangeKind::Add { value }
        | ChangeKind::Min { value }
        | ChangeKind::Max { value }
        | ChangeKind::Append { value }
        | ChangeKind::AddToSet { value }
        | ChangeKind::DeleteFromSet { value }
        | ChangeKind::DeleteEntry { key: value } => vec![value],
        ChangeKind::PutEntry { key, value } => vec![key, value],
    }
}
