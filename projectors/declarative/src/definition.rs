//! What decides a projection's bytes, in normal form, and how two of them differ.

mod normal;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use foldstream_config::settings::{Config, OnUnknownType, Projection, Projector};
use foldstream_model::{Error, EventType, Fingerprint, Map, Result, Value};
use xxhash_rust::xxh3::xxh3_128;

/// Raised whenever the engine makes other bytes of the same definition and events.
const ENGINE_SEMANTICS: u64 = 2;

/// A projection's definition in normal form: what decides its documents, and nothing of how it was written down.
///
/// An object of `common` (what holds for every event), `park_unknown_types`, `types` (those the source knows, null for
/// all) and `by_type` (for each type its upcasters, steps and handlers, in the order of the file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition(Map);

/// How a definition stands to an older one of the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    Same,
    /// It handles or ignores types whose events have waited so far; nothing else is different.
    AddsTypes(BTreeSet<EventType>),
    /// What is different, in words; documents made by the two would differ.
    Differs(Vec<String>),
}

impl Definition {
    /// The definition of one of the configuration's projections. `native_code` stands for the code of a native
    /// projector.
    pub fn of(config: &Config, projection: &Projection, native_code: Option<&str>) -> Definition {
        let source = config.sources.get(&projection.source.value);
        let reducer = projection.reducer.as_ref().and_then(|name| config.reducers.get(&name.value));
        let parks = source.is_some_and(|source| source.on_unknown_type.value == OnUnknownType::Park);
        // Types that are ignored whether they are known or not change nothing.
        let types = source.and_then(|source| source.types.as_ref()).filter(|_| parks);
        let mut common = source.map(normal::source).unwrap_or_default();
        common.insert(Arc::from("engine"), Value::from(ENGINE_SEMANTICS));
        common.insert(Arc::from("ordering"), normal::ordering(projection.ordering.value));
        if let Projector::Native { name, options } = &projection.projector {
            common.insert(Arc::from("native"), normal::native(name, options, native_code));
        }
        let known = types.map(|types| {
            let types: BTreeSet<Value> = types.iter().map(|known| Value::from(known.as_str())).collect();
            Value::from(types.into_iter().collect::<Vec<_>>())
        });
        Definition(Map::from_iter([
            (Arc::from("common"), Value::from(common)),
            (Arc::from("park_unknown_types"), Value::from(parks)),
            (Arc::from("types"), known.unwrap_or_default()),
            (Arc::from("by_type"), Value::from(normal::by_type(source, reducer, projection))),
        ]))
    }

    /// The text that is kept to compare later definitions with.
    pub fn to_text(&self) -> String {
        Value::from(self.0.clone()).to_canonical_json()
    }

    /// Reads what [`Definition::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Definition> {
        match Value::parse(text.as_bytes()) {
            Ok(Value::Map(map)) => Ok(Definition(Arc::unwrap_or_clone(map))),
            Ok(other) => {
                Err(Error::internal(format!("a stored definition is {}, not an object", other.kind())))
            }
            Err(error) => Err(Error::internal(format!("a stored definition cannot be read: {error}"))),
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(format!("{:032x}", xxh3_128(self.to_text().as_bytes())))
    }

    /// How this definition stands to an older one, judged on the two alone.
    pub fn compare(&self, older: &Definition) -> Comparison {
        if self == older {
            return Comparison::Same;
        }
        let mut differences = self.common_differences(older);
        let mut added = BTreeSet::new();
        for event_type in self.types_of_either(older) {
            let (new, old) = (self.treatment(&event_type), older.treatment(&event_type));
            if new == old {
                continue;
            }
            if old == Treatment::Waits {
                added.insert(EventType::new(event_type));
            } else {
                differences.push(format!("{event_type}: {}", change(&old, &new)));
            }
        }
        if self.is_true("park_unknown_types") != older.is_true("park_unknown_types") {
            differences.push("on_unknown_type was changed".to_owned());
        } else if self.field("types").is_null() != older.field("types").is_null() {
            differences.push("the source's `types` were added or removed".to_owned());
        }
        if differences.is_empty() { Comparison::AddsTypes(added) } else { Comparison::Differs(differences) }
    }

    fn common_differences(&self, older: &Definition) -> Vec<String> {
        let (new, old) = (self.map("common"), older.map("common"));
        let names: BTreeSet<&Arc<str>> = new.keys().chain(old.keys()).collect();
        let differing = names.into_iter().filter(|name| new.get(*name) != old.get(*name));
        differing.map(|name| format!("{name} was changed")).collect()
    }

    fn types_of_either(&self, older: &Definition) -> BTreeSet<Arc<str>> {
        let known = [self, older].map(|definition| {
            let listed = definition.field("types").as_list().unwrap_or_default();
            let listed = listed.iter().filter_map(|known| known.as_text().map(Arc::from));
            definition.map("by_type").keys().cloned().chain(listed).collect::<BTreeSet<Arc<str>>>()
        });
        known.into_iter().flatten().collect()
    }

    fn treatment(&self, event_type: &str) -> Treatment<'_> {
        if let Some(handling) = self.map("by_type").get(event_type) {
            return Treatment::Handled(handling);
        }
        let listed = self.field("types").as_list();
        let is_known =
            listed.is_none_or(|known| known.iter().any(|known| known.as_text() == Some(event_type)));
        if is_known || !self.is_true("park_unknown_types") { Treatment::Ignored } else { Treatment::Waits }
    }

    fn field(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn is_true(&self, name: &str) -> bool {
        self.field(name).as_bool().unwrap_or_default()
    }

    fn map(&self, name: &str) -> &Map {
        static NOTHING: Map = Map::new_vec();
        self.field(name).as_map().unwrap_or(&NOTHING)
    }
}

/// What a definition does with a type of events.
#[derive(Debug, PartialEq)]
enum Treatment<'d> {
    Handled(&'d Value),
    Ignored,
    /// its streams wait until a definition knows the type
    Waits,
}

fn change(old: &Treatment<'_>, new: &Treatment<'_>) -> String {
    match (old, new) {
        (Treatment::Handled(old), Treatment::Handled(new)) => {
            let parts = ["upcasters", "steps", "handlers"];
            let differing: Vec<&str> =
                parts.into_iter().filter(|part| old.get(part) != new.get(part)).collect();
            format!("its {} were changed", differing.join(" and "))
        }
        (Treatment::Handled(_), _) => "it is no longer handled".to_owned(),
        (_, Treatment::Handled(_)) => "it is handled now, and was ignored".to_owned(),
        _ => "it is no longer known".to_owned(),
    }
}
