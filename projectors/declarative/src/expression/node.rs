//! The tree that is evaluated.

use std::sync::Arc;

use foldstream_model::Value;

use super::function::Function;
use super::names::Root;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Literal(Value),
    Event(EventPart),
    /// a path from a name of the scope
    Path {
        root: Root,
        names: Names,
    },
    /// a path from the variable of a macro, the `up`th from the inside
    Local {
        up: usize,
        names: Names,
    },
    /// a path from something computed
    Field {
        of: Box<Node>,
        names: Names,
    },
    Index {
        of: Box<Node>,
        at: Box<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Choose {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    Equal {
        left: Box<Node>,
        right: Box<Node>,
        negated: bool,
    },
    Order {
        operator: Order,
        left: Box<Node>,
        right: Box<Node>,
    },
    Arithmetic {
        operator: Arithmetic,
        left: Box<Node>,
        right: Box<Node>,
    },
    In {
        item: Box<Node>,
        within: Box<Node>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// whether there is something at the path
    Has {
        of: Box<Node>,
        name: Arc<str>,
    },
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
    Quantify {
        quantifier: Quantifier,
        over: Box<Node>,
        test: Box<Node>,
    },
    /// each element of `over` that passes `test`, as `result`
    Transform {
        over: Box<Node>,
        test: Option<Box<Node>>,
        result: Option<Box<Node>>,
    },
}

pub(super) type Names = Box<[Arc<str>]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventPart {
    StreamId,
    Sequence,
    Id,
    Type,
    SchemaVersion,
    RecordedAt,
    EffectiveAt,
}

impl EventPart {
    pub(super) const ALL: [(&'static str, EventPart); 7] = [
        ("stream_id", EventPart::StreamId),
        ("sequence", EventPart::Sequence),
        ("id", EventPart::Id),
        ("type", EventPart::Type),
        ("schema_version", EventPart::SchemaVersion),
        ("recorded_at", EventPart::RecordedAt),
        ("effective_at", EventPart::EffectiveAt),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    Any,
    All,
    One,
}
