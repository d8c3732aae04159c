use std::time::Duration;

use foldstream_model::Map;

use super::{Argument, Expression, Name, Operation, Spanned};
use crate::diagnostic::Place;

/// A read model at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub place: Place,
    /// At least 1.
    pub version: Spanned<u32>,
    /// A source of this file.
    pub source: Spanned<Name>,
    pub ordering: Spanned<Ordering>,
    /// A sink of this file; none: the embedded document store.
    pub sink: Option<Spanned<Name>>,
    /// A reducer of this file.
    pub reducer: Option<Spanned<Name>>,
    pub on_failure: Spanned<OnFailure>,
    /// By how much an event's recorded-at may trail those of events already read elsewhere. Only under
    /// `global`: more waits longer before events become visible, less records more of them as late.
    pub allowed_lateness: Duration,
    pub projector: Projector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    PerStream,
    Commutative,
    Global,
}

/// What happens at an event that cannot be projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The projection stops in that shard, before the event.
    Stop,
    Park,
    Discard,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Projector {
    /// In the order of the file; at least one.
    Declared(Vec<Handler>),
    /// A projector in Rust that the binary has registered under this name.
    Native { name: Spanned<String>, options: Map },
    /// A WebAssembly module at this path.
    Wasm(Spanned<String>),
}

/// Which events touch which documents, and what is done to these.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    pub place: Place,
    /// At least one type.
    pub events: Vec<Spanned<String>>,
    pub documents: Documents,
    pub when: Option<Expression>,
    /// In the order of the file; at least one; no path twice.
    pub operations: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Documents {
    /// `key: …`
    One(Argument),
    /// `keys: …`: a list of keys; doubles count once, none touches nothing.
    Many(Argument),
}
