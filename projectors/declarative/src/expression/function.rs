//! The closed list of functions.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Exists,
    Coalesce,
    Size,
    String,
    Number,
    Abs,
    Floor,
    Ceil,
    Round,
    Divide,
    Min,
    Max,
    Sum,
    Pad,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
    UpperAscii,
    Trim,
    Replace,
    Substring,
    Split,
    Join,
    Timestamp,
    Date,
    Epoch,
}

/// How a function is written: `size(x)`, `x.trim()`, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Free,
    Method,
    Either,
}

/// The receiver of a method counts as its first argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature {
    pub name: &'static str,
    pub function: Function,
    pub form: Form,
    pub least: usize,
    pub most: usize,
}

const fn free(name: &'static str, function: Function, least: usize, most: usize) -> Signature {
    Signature { name, function, form: Form::Free, least, most }
}

const fn method(name: &'static str, function: Function, least: usize, most: usize) -> Signature {
    Signature { name, function, form: Form::Method, least, most }
}

const MANY: usize = 32;

pub(super) const SIGNATURES: &[Signature] = &[
    free("exists", Function::Exists, 1, 1),
    free("coalesce", Function::Coalesce, 1, MANY),
    Signature { name: "size", function: Function::Size, form: Form::Either, least: 1, most: 1 },
    free("string", Function::String, 1, 1),
    free("number", Function::Number, 1, 1),
    free("abs", Function::Abs, 1, 1),
    free("floor", Function::Floor, 1, 1),
    free("ceil", Function::Ceil, 1, 1),
    free("round", Function::Round, 2, 2),
    free("divide", Function::Divide, 3, 3),
    free("min", Function::Min, 1, MANY),
    free("max", Function::Max, 1, MANY),
    free("sum", Function::Sum, 1, 1),
    free("pad", Function::Pad, 2, 2),
    method("startsWith", Function::StartsWith, 2, 2),
    method("endsWith", Function::EndsWith, 2, 2),
    method("contains", Function::Contains, 2, 2),
    method("lowerAscii", Function::LowerAscii, 1, 1),
    method("upperAscii", Function::UpperAscii, 1, 1),
    method("trim", Function::Trim, 1, 1),
    method("replace", Function::Replace, 3, 3),
    method("substring", Function::Substring, 2, 3),
    method("split", Function::Split, 2, 2),
    method("join", Function::Join, 2, 2),
    free("timestamp", Function::Timestamp, 1, 1),
    free("date", Function::Date, 1, 1),
    free("epoch", Function::Epoch, 1, 1),
];

/// Names that the parser expands itself.
pub(super) const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "map", "filter"];

pub(super) fn find(name: &str, is_method: bool) -> Option<&'static Signature> {
    let wrong = if is_method { Form::Free } else { Form::Method };
    SIGNATURES.iter().find(|signature| signature.name == name && signature.form != wrong)
}

impl Signature {
    /// `text.substring(…)`, for messages.
    pub(super) fn shape(&self) -> String {
        match self.form {
            Form::Method => format!("x.{}(…)", self.name),
            Form::Free | Form::Either => format!("{}(…)", self.name),
        }
    }
}
