use schemars::JsonSchema;

use super::{Argument, Named, OneOrMany, Whole};

/// Operations on documents, on states, and on payloads that are lifted. Keys are paths: names with dots
/// between them.
#[derive(JsonSchema)]
pub struct Changes {
    /// `{ path: value }`
    set: Option<Named<Argument>>,
    /// `path` or `[path, …]`
    unset: Option<OneOrMany>,
    /// `{ path: map }`: sets each entry of the map under the path.
    merge_map: Option<Named<Argument>>,
    /// `{ path: number }`; an absent field starts at 0.
    add: Option<Named<Argument>>,
    /// `{ path: value }`: keeps the least; skips null.
    min: Option<Named<Argument>>,
    /// `{ path: value }`: keeps the greatest; skips null.
    max: Option<Named<Argument>>,
    /// `{ path: value }`: the value becomes the last element of the list.
    append: Option<Named<Argument>>,
    /// `{ path: { key: …, value: … } }`
    put_entry: Option<Named<NewEntry>>,
    /// `{ path: key }`
    delete_entry: Option<Named<Argument>>,
    /// `{ path: value }`; of a list, each element.
    add_to_set: Option<Named<Argument>>,
    /// `{ path: value }`; of a list, each element.
    delete_from_set: Option<Named<Argument>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NewEntry {
    key: Argument,
    value: Argument,
}

/// Lifts events of a type from schema version `from` to the next one; the operations change the payload.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Upcaster {
    /// The event type.
    event: String,
    /// The schema version that is lifted.
    from: Whole,
    /// `{ old path: new path }`
    rename: Option<Named<String>>,
    #[schemars(flatten)]
    changes: Changes,
}

/// What a reducer does with events of these types.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Step {
    /// One or more event types.
    event: OneOrMany,
    #[schemars(flatten)]
    changes: Changes,
    /// Begins anew.
    #[schemars(extend("const" = true))]
    delete_state: Option<bool>,
}
