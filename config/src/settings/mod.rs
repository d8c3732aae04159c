//! What a configuration file says, as types. Reading is [`crate::read`]'s work; these only hold what was
//! read, with every default filled in, every `${VAR}` substituted, and the place of everything that a later
//! check may complain about.

mod argument;
mod name;
mod store;
mod source;
mod event;
mod instant;
mod sink;
mod operation;
mod projection;
mod limits;
mod test_case;

use std::collections::BTreeMap;

use crate::diagnostic::{Place, SourceFile};

pub use argument::{Argument, Expression};
pub use event::{Encoding, EventMapping, Gaps, Part, PayloadPart, SequencePart};
pub use instant::{INSTANT, instant};
pub use limits::Limits;
pub use name::{Name, Spanned};
pub use operation::{Change, ChangeKind, Operation, Pick, PickKind, Step};
pub use projection::{Documents, Handler, OnFailure, Ordering, Projection, Projector};
pub use sink::{IndexKey, KeyAttribute, KeyType, Sink, SinkKind, TableKey, Tables};
pub use source::{
    CommitOrder, EventTable, OnModify, OnNewerSchema, OnRemove, OnUnknownType, Reading, Source, SourceKind,
    Start, Upcaster, UpcasterChange,
};
pub use store::Store;
pub use test_case::{DocumentName, Expectation, ExpectedDocument, GivenEvent, TestCase};

/// The value of `config_version` that this crate reads.
pub const CONFIG_VERSION: u32 = 1;

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from, so that later checks can show its lines.
    pub file: SourceFile,
    pub store: Store,
    pub sources: BTreeMap<Name, Source>,
    pub sinks: BTreeMap<Name, Sink>,
    pub reducers: BTreeMap<Name, Reducer>,
    pub projections: BTreeMap<Name, Projection>,
    pub limits: Limits,
    pub tests: Vec<TestCase>,
}

/// What folds a stream: an event passes through all steps that name its type, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Reducer {
    pub place: Place,
    pub steps: Vec<Step>,
}
