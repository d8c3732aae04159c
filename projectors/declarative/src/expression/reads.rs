//! What an expression refers to: which fields must be parsed, and which names it depends on.

use std::collections::BTreeSet;

use foldstream_model::{FieldMask, Path};

use super::names::Root;
use super::node::Node;

/// The names that an expression uses, and the fields of payload, metadata and item that it reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct References {
    roots: BTreeSet<Root>,
    pub payload: FieldMask,
    pub metadata: FieldMask,
    pub item: FieldMask,
}

impl References {
    pub(super) fn of(node: &Node) -> References {
        let mut references = References::default();
        references.visit(node);
        references
    }

    pub(crate) fn uses(&self, root: Root) -> bool {
        self.roots.contains(&root)
    }

    /// What either refers to.
    pub(crate) fn merge(&mut self, other: &References) {
        self.roots.extend(&other.roots);
        self.payload = self.payload.union(&other.payload);
        self.metadata = self.metadata.union(&other.metadata);
        self.item = self.item.union(&other.item);
    }

    fn path(&mut self, root: Root, names: &[std::sync::Arc<str>]) {
        self.roots.insert(root);
        let mask = match root {
            Root::Payload => &mut self.payload,
            Root::Metadata => &mut self.metadata,
            Root::Item => &mut self.item,
            _ => return,
        };
        match Path::new(names.iter().cloned()) {
            Some(path) => mask.insert(&path),
            None => *mask = FieldMask::ALL,
        }
    }

    fn visit(&mut self, node: &Node) {
        match node {
            Node::Literal(_) | Node::Local { .. } => {}
            Node::Event(_) => {
                self.roots.insert(Root::Event);
            }
            Node::Path { root, names } => self.path(*root, names),
            Node::Has { of, name } => match &**of {
                Node::Path { root, names } => {
                    let names: Vec<_> = names.iter().chain([name]).cloned().collect();
                    self.path(*root, &names);
                }
                other => self.visit(other),
            },
            Node::Field { of, .. } | Node::Not(of) | Node::Negate(of) => self.visit(of),
            Node::Index { of: left, at: right }
            | Node::And(left, right)
            | Node::Or(left, right)
            | Node::Equal { left, right, .. }
            | Node::Order { left, right, .. }
            | Node::Arithmetic { left, right, .. }
            | Node::In { item: left, within: right }
            | Node::Quantify { over: left, test: right, .. } => self.all([&**left, &**right]),
            Node::Choose { condition, then, otherwise } => self.all([&**condition, &**then, &**otherwise]),
            Node::List(nodes) | Node::Call { arguments: nodes, .. } => self.all(nodes),
            Node::Map(fields) => fields.iter().for_each(|(name, value)| self.all([name, value])),
            Node::Transform { over, test, result } => {
                self.visit(over);
                self.all(test.iter().chain(result).map(|node| &**node));
            }
        }
    }

    fn all<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        nodes.into_iter().for_each(|node| self.visit(node));
    }
}
