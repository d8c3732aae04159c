//! The operations themselves.

use std::cmp::Ordering;
use std::sync::Arc;

use foldstream_model::value::PathError;
use foldstream_model::{Decimal, EventId, Map, Path, Value};

use super::key::key;
use super::{Arguments, Kind, Operation, Target};
use crate::expression::Fault;

impl From<PathError> for Fault {
    fn from(error: PathError) -> Self {
        Fault::new(error.to_string())
    }
}

pub(super) fn apply(
    operation: &Operation,
    arguments: &Arguments,
    event_id: Option<&EventId>,
    target: &mut Target<'_>,
) -> Result<(), Fault> {
    if !operation.makes_something(arguments) && operation.path.get(target.fields).is_none_or(Value::is_null) {
        return Ok(());
    }
    let (path, kind) = (&operation.path, operation.kind);
    let [first, second] = arguments;
    match kind {
        Kind::Set => {
            forget_picks(path, target);
            path.set(Arc::make_mut(target.fields), first.clone())?;
        }
        Kind::SetLatest | Kind::SetEarliest => pick(operation, first, second, event_id, target)?,
        Kind::Unset => {
            forget_picks(path, target);
            path.remove(Arc::make_mut(target.fields))?;
        }
        _ => {
            let place = path.place(Arc::make_mut(target.fields))?;
            change(kind, first, second, place)?;
        }
    }
    Ok(())
}

/// The operations that look at what is at the place; null where there was nothing.
fn change(kind: Kind, first: &Value, second: &Value, place: &mut Value) -> Result<(), Fault> {
    match kind {
        Kind::Add => *place = Value::Number(sum(place, first)?),
        Kind::Min => keep(place, first, Ordering::Less)?,
        Kind::Max => keep(place, first, Ordering::Greater)?,
        Kind::Append => list(place)?.push(first.clone()),
        Kind::MergeMap => merge(place, first)?,
        Kind::PutEntry => {
            map(place)?.insert(key(first)?.into(), second.clone());
        }
        Kind::DeleteEntry => {
            map(place)?.remove(key(first)?.as_str());
        }
        Kind::AddToSet => {
            let set = sorted(list(place)?);
            for element in elements(first) {
                if let Err(index) = set.binary_search(element) {
                    set.insert(index, element.clone());
                }
            }
        }
        Kind::DeleteFromSet => {
            let gone = elements(first);
            list(place)?.retain(|element| !gone.contains(&element));
        }
        Kind::Set | Kind::SetLatest | Kind::SetEarliest | Kind::Unset => {
            return Err(Fault::new("it does not look at what is there"));
        }
    }
    Ok(())
}

fn merge(place: &mut Value, entries: &Value) -> Result<(), Fault> {
    match entries {
        Value::Null => Ok(()),
        Value::Map(entries) => {
            map(place)?.extend(entries.iter().map(|(name, value)| (Arc::clone(name), value.clone())));
            Ok(())
        }
        other => Err(Fault::new(format!("it takes an object, not {}", other.kind()))),
    }
}

fn sum(present: &Value, value: &Value) -> Result<Decimal, Fault> {
    let Value::Number(value) = value else {
        return Err(Fault::new(format!("it takes a number, not {}", value.kind())));
    };
    let sum = match present {
        Value::Null => value.clone(),
        Value::Number(present) => present.checked_add(value)?,
        other => return Err(Fault::new(format!("there is {}, not a number", other.kind()))),
    };
    sum.fits_document()?;
    Ok(sum)
}

/// Keeps the value that stands in this order to the present one. Numbers come before strings, so that what is kept does
/// not depend on the order of the events.
fn keep(present: &mut Value, value: &Value, wanted: Ordering) -> Result<(), Fault> {
    match value {
        Value::Null => return Ok(()),
        Value::Number(_) | Value::Text(_) => {}
        other => return Err(Fault::new(format!("it takes a number or a string, not {}", other.kind()))),
    }
    match present {
        Value::Null => *present = value.clone(),
        Value::Number(_) | Value::Text(_) if value.cmp(present) == wanted => *present = value.clone(),
        Value::Number(_) | Value::Text(_) => {}
        other => return Err(Fault::new(format!("there is {}, not a number or a string", other.kind()))),
    }
    Ok(())
}

fn list(place: &mut Value) -> Result<&mut Vec<Value>, Fault> {
    if place.is_null() {
        *place = Value::List(Arc::default());
    }
    match place {
        Value::List(items) => Ok(Arc::make_mut(items)),
        other => Err(Fault::new(format!("there is {}, not a list", other.kind()))),
    }
}

fn map(place: &mut Value) -> Result<&mut Map, Fault> {
    if place.is_null() {
        *place = Value::Map(Arc::default());
    }
    match place {
        Value::Map(map) => Ok(Arc::make_mut(map)),
        other => Err(Fault::new(format!("there is {}, not an object", other.kind()))),
    }
}

/// A list that another operation made may be no set yet.
fn sorted(list: &mut Vec<Value>) -> &mut Vec<Value> {
    if !list.is_sorted_by(|left, right| left < right) {
        list.sort();
        list.dedup();
    }
    list
}

/// What a set gets or loses: the elements of a list, or the value itself; null is nothing.
fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::List(items) => items.iter().filter(|item| !item.is_null()).collect(),
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// Sets the value if this event comes behind (before) the one that set the present value, by `by`, then by event id.
fn pick(
    operation: &Operation,
    value: &Value,
    by: &Value,
    event_id: Option<&EventId>,
    target: &mut Target<'_>,
) -> Result<(), Fault> {
    if !matches!(by, Value::Number(_) | Value::Text(_)) {
        let message = format!(
            "{} {}: it goes by a number or a string, not {}",
            operation.kind.name(),
            operation.path,
            by.kind()
        );
        return Err(Fault::new(message));
    }
    let id = event_id.map_or(Value::Null, |id| Value::Text(id.text().clone()));
    let rank = Value::from(vec![by.clone(), id]);
    let name = pick_name(&operation.path);
    let loses = target.hidden.get(name.as_str()).is_some_and(|present| match operation.kind {
        Kind::SetLatest => rank < *present,
        _ => rank > *present,
    });
    if loses {
        return Ok(());
    }
    operation.path.set(Arc::make_mut(target.fields), value.clone())?;
    Arc::make_mut(target.hidden).insert(Arc::from(name), rank);
    Ok(())
}

/// Where the rank of a picked path is remembered: names joined by dots, dots in names escaped.
fn pick_name(path: &Path) -> String {
    let names: Vec<String> =
        path.names().iter().map(|name| name.replace('\\', "\\\\").replace('.', "\\.")).collect();
    names.join(".")
}

/// What is set or removed outright no longer depends on which event picked it.
fn forget_picks(path: &Path, target: &mut Target<'_>) {
    if target.hidden.is_empty() {
        return;
    }
    let name = pick_name(path);
    let below = format!("{name}.");
    Arc::make_mut(target.hidden).retain(|picked, _| **picked != name && !picked.starts_with(&below));
}

/// Moves a value, if there is one.
pub(crate) fn rename(from: &Path, to: &Path, fields: &mut Arc<Map>) -> Result<(), Fault> {
    if from.get(fields).is_none() {
        return Ok(());
    }
    let fields = Arc::make_mut(fields);
    if let Some(value) = from.remove(fields)? {
        to.set(fields, value)?;
    }
    Ok(())
}
