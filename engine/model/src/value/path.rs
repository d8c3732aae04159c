//! Dotted paths into objects.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Map, Value};

/// A place inside an object: `customer.address.city`. Names are not empty and hold no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<[Arc<str>]>);

/// Why a path could not be read or followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("{0:?} is not a path: names are separated by single dots, like customer.name")]
    Malformed(String),
    #[error("the path {path} passes through {at}, which is {found} and not an object")]
    ThroughNonMap { path: Path, at: String, found: &'static str },
}

impl Path {
    /// A path of names; `None` if there are none, or one is empty.
    pub fn new<I: IntoIterator<Item = Arc<str>>>(names: I) -> Option<Path> {
        let names: Arc<[Arc<str>]> = names.into_iter().collect();
        if names.is_empty() || names.iter().any(|name| name.is_empty()) { None } else { Some(Path(names)) }
    }

    pub fn names(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Whether `other` is this path or lies below it.
    pub fn covers(&self, other: &Path) -> bool {
        other.0.starts_with(&self.0)
    }

    pub fn get<'m>(&self, map: &'m Map) -> Option<&'m Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(map.get(first)?, |value, name| value.get(name))
    }

    /// The place itself, made (as null, with the objects on the way) where it is absent. A null on the way counts
    /// as absent.
    pub fn place<'m>(&self, map: &'m mut Map) -> Result<&'m mut Value, PathError> {
        let mut map = map;
        let (last, parents) = self.0.split_last().expect("a path has at least one name");
        for (depth, name) in parents.iter().enumerate() {
            let value = map.entry(Arc::clone(name)).or_default();
            if value.is_null() {
                *value = Value::Map(Arc::default());
            }
            map = match value {
                Value::Map(inner) => Arc::make_mut(inner),
                other => return Err(self.through(depth, other)),
            };
        }
        Ok(map.entry(Arc::clone(last)).or_default())
    }

    pub fn set(&self, map: &mut Map, value: Value) -> Result<(), PathError> {
        *self.place(map)? = value;
        Ok(())
    }

    /// Takes the value away; the objects on the way stay. Nothing happens where nothing is.
    pub fn remove(&self, map: &mut Map) -> Result<Option<Value>, PathError> {
        let mut map = map;
        let (last, parents) = self.0.split_last().expect("a path has at least one name");
        for (depth, name) in parents.iter().enumerate() {
            map = match map.get_mut(name) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Map(inner)) => Arc::make_mut(inner),
                Some(other) => return Err(self.through(depth, other)),
            };
        }
        Ok(map.remove(last))
    }

    fn through(&self, depth: usize, found: &Value) -> PathError {
        let at = self.0.iter().take(depth + 1).map(|name| &**name).collect::<Vec<_>>().join(".");
        PathError::ThroughNonMap { path: self.clone(), at, found: found.kind() }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Path::new(text.split('.').map(Arc::from)).ok_or_else(|| PathError::Malformed(text.to_owned()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
