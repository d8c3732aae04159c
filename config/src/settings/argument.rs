use foldstream_model::Value;

use super::Spanned;
use crate::diagnostic::Place;

/// The text of an expression as written, without the leading `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    pub text: String,
    /// The place of the first character of `text`.
    pub place: Place,
    /// Whether `text` stands in the file character by character on one line, so that an offset in it is a
    /// column.
    pub(crate) verbatim: bool,
}

impl Expression {
    /// Where in the file the character at this offset of `text` (counted in characters) stands; the beginning
    /// of the expression where quoting or folding makes that unknowable.
    pub fn place_of(&self, offset: usize) -> Place {
        if self.verbatim { self.place.after(offset) } else { self.place }
    }
}

/// A value that may be an expression, or hold some: whatever an operation, a key or a condition is given.
/// What holds no expression at all is a `Literal`, however deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    Expression(Expression),
    Literal(Spanned<Value>),
    List(Spanned<Vec<Argument>>),
    /// In the order of the file, keys unique. Keys are literals, and no paths.
    Map(Spanned<Vec<(Spanned<String>, Argument)>>),
}

impl Argument {
    pub fn place(&self) -> Place {
        match self {
            Self::Expression(expression) => expression.place,
            Self::Literal(literal) => literal.place,
            Self::List(list) => list.place,
            Self::Map(map) => map.place,
        }
    }
}
