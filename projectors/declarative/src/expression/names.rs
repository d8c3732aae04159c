//! Which names an expression may use where it stands.

use std::collections::BTreeMap;

/// A name that the scope of an expression can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    Event,
    /// `event.metadata`
    Metadata,
    Payload,
    Before,
    State,
    Document,
    Item,
}

impl Root {
    /// All names that stand alone.
    pub(super) const NAMED: [(&'static str, Root); 6] = [
        ("event", Root::Event),
        ("payload", Root::Payload),
        ("before", Root::Before),
        ("state", Root::State),
        ("document", Root::Document),
        ("item", Root::Item),
    ];
}

/// The names that are known at a place, and why the others are not.
#[derive(Debug, Clone)]
pub(crate) struct Names(BTreeMap<Root, Option<&'static str>>);

impl Names {
    /// No name but these.
    pub(crate) fn only(known: &[Root], why_not: &'static str) -> Names {
        let named = Root::NAMED.into_iter().map(|(_, root)| root);
        Names(named.map(|root| (root, (!known.contains(&root)).then_some(why_not))).collect())
    }

    #[must_use]
    pub(crate) fn without(mut self, root: Root, why_not: &'static str) -> Names {
        self.0.insert(root, Some(why_not));
        self
    }

    /// Why the name is not known here; none if it is.
    pub(super) fn refusal(&self, root: Root) -> Option<&'static str> {
        self.0.get(&root).copied().flatten()
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        Root::NAMED.into_iter().filter(|(_, root)| self.refusal(*root).is_none()).map(|(name, _)| name)
    }
}
