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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    Expression(Expression),
    Scalar(Spanned<Scalar>),
    List(Spanned<Vec<Argument>>),
    /// In the order of the file, keys unique. Keys are literals, and no paths.
    Map(Spanned<Vec<(Spanned<String>, Argument)>>),
}

impl Argument {
    pub fn place(&self) -> Place {
        match self {
            Self::Expression(expression) => expression.place,
            Self::Scalar(scalar) => scalar.place,
            Self::List(list) => list.place,
            Self::Map(map) => map.place,
        }
    }
}

/// A literal that is no collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    Null,
    Bool(bool),
    /// A number in JSON's notation, digits as written: `4.50`, `-3`, `1e-7`.
    Number(String),
    Text(String),
}

/// A value without expressions: data of tests, options of native projectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Scalar(Scalar),
    List(Vec<Literal>),
    /// In the order of the file, keys unique.
    Map(Vec<(String, Literal)>),
}
