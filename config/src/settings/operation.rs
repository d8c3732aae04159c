use foldstream_model::Path;

use super::{Argument, Expression, Spanned};
use crate::diagnostic::Place;

/// What a reducer does with events of these types; `delete_state: true` is an [`Operation::Delete`].
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub place: Place,
    /// At least one type.
    pub events: Vec<Spanned<String>>,
    /// In the order of the file; no path twice.
    pub operations: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Change(Change),
    /// `delete_document: true` of a handler, `delete_state: true` of a reducer. The only operation of its
    /// handler or step.
    Delete(Place),
}

/// One change of one path of a map: the document, the state, or the payload that an upcaster lifts.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Names with dots between them.
    pub path: Spanned<Path>,
    pub kind: ChangeKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// `set: { path: value }`
    Set { value: Argument, pick: Option<Pick> },
    /// `unset: path` or `unset: [path, …]`
    Unset,
    /// `merge_map: { path: map }`: each entry of the map is set under the path.
    MergeMap { map: Argument },
    /// `add: { path: number }`
    Add { value: Argument },
    /// `min: { path: value }`
    Min { value: Argument },
    /// `max: { path: value }`
    Max { value: Argument },
    /// `append: { path: value }`: the value becomes the last element of the list.
    Append { value: Argument },
    /// `put_entry: { path: { key: …, value: … } }`
    PutEntry { key: Argument, value: Argument },
    /// `delete_entry: { path: key }`
    DeleteEntry { key: Argument },
    /// `add_to_set: { path: value }`; of a list, each element.
    AddToSet { value: Argument },
    /// `delete_from_set: { path: value }`; of a list, each element.
    DeleteFromSet { value: Argument },
}

/// `latest_by: =…` or `earliest_by: =…` beside the `set` of a handler: each of its paths keeps the value of
/// the event for which `by` is the greatest (the least); ties are decided by the event's id.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    pub place: Place,
    pub kind: PickKind,
    pub by: Expression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickKind {
    Latest,
    Earliest,
}
