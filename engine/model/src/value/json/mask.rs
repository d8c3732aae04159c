//! Which fields a reader needs.

use std::sync::Arc;

use crate::value::{Path, Value};

/// The part of a JSON object that a reader needs: everything, or a tree of named fields.
///
/// The names are interned: objects parsed under a mask share the mask's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMask(Mask);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mask {
    All,
    /// sorted by name
    Fields(Vec<(Arc<str>, FieldMask)>),
}

/// Keeps nothing.
impl Default for FieldMask {
    fn default() -> Self {
        FieldMask::NONE
    }
}

/// The most names that are compared one by one.
const LISTED: usize = 12;

impl FieldMask {
    /// A mask that keeps everything.
    pub const ALL: FieldMask = FieldMask(Mask::All);
    /// A mask that keeps no field.
    pub const NONE: FieldMask = FieldMask(Mask::Fields(Vec::new()));

    pub fn is_all(&self) -> bool {
        matches!(self.0, Mask::All)
    }

    /// Keeps the value at this path too, whole.
    pub fn insert(&mut self, path: &Path) {
        let mut mask = self;
        for name in path.names() {
            let Mask::Fields(fields) = &mut mask.0 else { return };
            let index = fields.binary_search_by(|(field, _)| field.cmp(name)).unwrap_or_else(|index| {
                fields.insert(index, (Arc::clone(name), FieldMask::NONE));
                index
            });
            mask = &mut fields[index].1;
        }
        *mask = FieldMask::ALL;
    }

    /// What either keeps.
    pub fn union(&self, other: &FieldMask) -> FieldMask {
        let (Mask::Fields(left), Mask::Fields(right)) = (&self.0, &other.0) else {
            return FieldMask::ALL;
        };
        let mut fields = left.clone();
        for (name, mask) in right {
            match fields.binary_search_by(|(field, _)| field.cmp(name)) {
                Ok(index) => fields[index].1 = fields[index].1.union(mask),
                Err(index) => fields.insert(index, (Arc::clone(name), mask.clone())),
            }
        }
        FieldMask(Mask::Fields(fields))
    }

    /// What is kept of a value: of an object the named fields, everything else whole.
    pub fn pruned(&self, value: &Value) -> Value {
        let (Mask::Fields(fields), Value::Map(map)) = (&self.0, value) else {
            return value.clone();
        };
        let kept = fields.iter().filter_map(|(name, mask)| {
            let value = map.get(name)?;
            Some((Arc::clone(name), mask.pruned(value)))
        });
        Value::Map(Arc::new(kept.collect()))
    }

    /// The interned name and the mask of a field, if it is kept and this mask is not `ALL`.
    pub(super) fn field(&self, name: &[u8]) -> Option<(&Arc<str>, &FieldMask)> {
        let Mask::Fields(fields) = &self.0 else { return None };
        // Names mostly differ in length already: in a short list, comparing all of them is faster than searching.
        if fields.len() <= LISTED {
            return fields
                .iter()
                .find(|(field, _)| field.as_bytes() == name)
                .map(|(name, mask)| (name, mask));
        }
        let index = fields.binary_search_by(|(field, _)| field.as_bytes().cmp(name)).ok()?;
        fields.get(index).map(|(name, mask)| (name, mask))
    }
}
