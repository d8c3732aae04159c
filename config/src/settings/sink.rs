use super::Spanned;
use crate::diagnostic::Place;

/// Where documents are written. A projection without a sink writes into the embedded document store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    pub place: Place,
    pub kind: Spanned<SinkKind>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// The embedded document store.
    Local,
}
