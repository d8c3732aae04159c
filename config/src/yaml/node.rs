use crate::diagnostic::Place;

/// A value of the file, not yet typed.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar {
        text: String,
        /// Written without quotes, so that it may be a number, a boolean or null.
        plain: bool,
        /// Where the text itself begins, behind a quote.
        content: Place,
        /// The text stands in the file as it is, on one line.
        verbatim: bool,
    },
    List(Vec<Node>),
    /// In the order of the file, keys unique.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub text: String,
    pub place: Place,
}

impl Node {
    /// What a message calls it.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { text, plain: true, .. } if text.is_empty() => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// A key without a value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// A list or mapping of nothing, or nothing at all.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Scalar { .. } => self.is_null(),
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
        }
    }

    pub fn is_expression(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, .. } if text.starts_with('=') && !text.starts_with("=="))
    }
}
