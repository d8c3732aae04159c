//! Which documents an event touches, and what is done to them.

use foldstream_model::ports::Reads;
use foldstream_model::{Error, Text};

use crate::expression::{Expression, Fault, References, Scope};
use crate::operation::{self, Operation};

/// One entry of `handlers:`, compiled.
#[derive(Debug)]
pub(crate) struct Handler {
    /// where it stands, for messages: `projection=orders handler=foldstream.yaml:52`
    pub label: String,
    pub keys: Keys,
    pub when: Option<Expression>,
    pub when_reads_document: bool,
    pub effect: Effect,
}

#[derive(Debug)]
pub(crate) enum Keys {
    One(Expression),
    Many(Expression),
}

#[derive(Debug)]
pub(crate) enum Effect {
    Delete,
    Change(Vec<Operation>),
}

impl Effect {
    pub(crate) fn operations(&self) -> &[Operation] {
        match self {
            Effect::Delete => &[],
            Effect::Change(operations) => operations,
        }
    }
}

impl Handler {
    /// Hands out the key of each document that is touched, each once.
    pub(super) fn keys(&self, scope: &Scope<'_>, mut touched: impl FnMut(Text)) -> Result<(), Fault> {
        match &self.keys {
            Keys::One(key) => touched(operation::key(&*key.evaluate(scope)?)?),
            Keys::Many(keys) => operation::keys(&*keys.evaluate(scope)?)?.into_iter().for_each(touched),
        }
        Ok(())
    }

    pub(super) fn operations(&self) -> &[Operation] {
        self.effect.operations()
    }

    pub(super) fn reads(&self) -> Reads {
        let (Keys::One(key) | Keys::Many(key)) = &self.keys;
        let mut references = key.references();
        for part in self.when.iter().map(Expression::references) {
            references.merge(&part);
        }
        for operation in self.operations() {
            references.merge(&operation.references());
        }
        reads(references)
    }

    pub(super) fn poison(&self, part: &str, fault: &Fault) -> Error {
        Error::poison(format!("{} {part}: {fault}", self.label))
    }
}

pub(crate) fn reads(references: References) -> Reads {
    Reads { payload: references.payload, metadata: references.metadata }
}
