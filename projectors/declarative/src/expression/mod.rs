//! Expressions: CEL's syntax over exact values, compiled once into a tree of our own.
//!
//! Evaluation has neither clock nor chance, and does not allocate for paths, literals and comparisons. It takes at most a
//! million steps: an element that is visited, compared or copied is one, and so are 128 bytes of text that are read or made.
//! More of them are poison.
//!
//! # Names
//! `event.stream_id`, `event.sequence`, `event.id`, `event.type`, `event.schema_version`, `event.recorded_at`,
//! `event.effective_at` (timestamps as text in one form, `2026-11-21T17:00:00.000000Z`, which sorts as time does),
//! `event.metadata`; `payload`; `before` and `state` of a reducer; `document` as it was before the event; `item` in
//! `include`. A path into nothing is null; a path into what is neither nothing nor an object is an error.
//!
//! # Operators
//! | operator | takes |
//! |---|---|
//! | `.name`, ``.`odd name` ``, `["name"]`, `[0]` | objects and lists; null where there is nothing |
//! | `==`, `!=` | anything; values of two kinds are unequal |
//! | `<`, `<=`, `>`, `>=` | two numbers or two strings |
//! | `+` | two numbers, two strings, two lists |
//! | `-`, `*`, `/` | numbers; a quotient must be exact, see `divide` |
//! | `&&`, `\|\|`, `!`, `? :` | booleans, from left to right, the right side only when it matters |
//! | `in` | an element of a list, a name of an object; nothing is in null |
//! | `[…]`, `{…}` | build lists and objects |
//!
//! # Functions
//! | function | gives |
//! |---|---|
//! | `has(path)`, `exists(x)` | whether there is something: `exists(document)` |
//! | `coalesce(x, y, …)` | the first that is not null |
//! | `size(x)` | characters, elements or entries; 0 of null |
//! | `string(x)`, `number(text)` | a number, boolean or string as string; a string of digits as number |
//! | `abs(x)`, `floor(x)`, `ceil(x)`, `round(x, places)`, `divide(x, y, places)` | numbers; rounded half to even |
//! | `min(x, y, …)`, `max(x, y, …)`, `sum(list)` | numbers or strings; a sum of numbers |
//! | `pad(x, width)` | a whole number with zeros in front, so that text sorts as the number does |
//! | `text.startsWith(t)`, `.endsWith(t)`, `.contains(t)` | booleans |
//! | `text.lowerAscii()`, `.upperAscii()`, `.trim()`, `.replace(from, to)` | strings |
//! | `text.substring(from)`, `.substring(from, to)` | the characters from `from` (the first is 0) up to before `to` |
//! | `text.split(separator)`, `list.join(separator)` | a list of strings; a string |
//! | `timestamp(text)`, `date(text)`, `epoch(text)` | RFC 3339 text in the one form; its day in UTC; its seconds since 1970 |
//! | `list.exists(i, test)`, `.all(i, test)`, `.exists_one(i, test)` | booleans; of an object, over its names |
//! | `list.filter(i, test)`, `.map(i, x)`, `.map(i, test, x)` | lists; null counts as empty |

mod call;
mod evaluate;
mod function;
mod lower;
mod names;
mod node;
mod reads;
mod syntax;

pub(crate) use evaluate::{Fault, Scope};
pub(crate) use lower::Mistake;
pub(crate) use names::{Names, Root};
pub(crate) use reads::References;

use std::borrow::Cow;

use foldstream_model::Value;
use node::Node;

/// The longest text of an expression, in bytes.
const MAX_LENGTH: usize = 4_096;

/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    node: Node,
}

impl Expression {
    /// Compiles a text in which these names are known. Every mistake in it is returned.
    pub(crate) fn compile(text: &str, names: &Names) -> Result<Expression, Vec<Mistake>> {
        let (tree, source) = syntax::parse(text)?;
        lower::lower(&tree, &source, names).map(|node| Expression { node })
    }

    pub(crate) fn literal(value: Value) -> Expression {
        Expression { node: Node::Literal(value) }
    }

    pub(crate) fn list(items: Vec<Expression>) -> Expression {
        Expression { node: Node::List(items.into_iter().map(|item| item.node).collect()) }
    }

    /// An object of these fields; no name comes twice.
    pub(crate) fn map(fields: Vec<(String, Expression)>) -> Expression {
        let entry = |(name, value): (String, Expression)| (Node::Literal(Value::from(name)), value.node);
        Expression { node: Node::Map(fields.into_iter().map(entry).collect()) }
    }

    /// The value in this scope. A fault says what was wrong in the words of the expression.
    pub(crate) fn evaluate<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, Value>, Fault> {
        self.node.evaluate(scope)
    }

    /// The value as a condition.
    pub(crate) fn is_true(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        self.node.boolean(scope)
    }

    /// What it refers to.
    pub(crate) fn references(&self) -> References {
        References::of(&self.node)
    }

    /// Where the id of the stream stands in this key: the length of the list and the place in it, both 0 for the id by
    /// itself; none if the key does not hold it.
    pub(crate) fn stream_id_place(&self) -> Option<(usize, usize)> {
        let stream_id = Node::Event(node::EventPart::StreamId);
        match &self.node {
            Node::List(items) => Some((items.len(), items.iter().position(|item| *item == stream_id)?)),
            node => (*node == stream_id).then_some((0, 0)),
        }
    }
}

#[cfg(test)]
mod tests;
