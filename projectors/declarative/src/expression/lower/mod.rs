//! From CEL's tree to our own: names are resolved, literals become exact, macros are folded back into one node.

mod calls;
mod macros;

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, SelectExpr};
use foldstream_config::diagnostic::nearest;
use foldstream_model::{Decimal, Value};

use super::names::{Names, Root};
use super::node::{EventPart, Node};
use super::syntax::Source;

/// How deep an expression may be nested.
const MAX_NESTING: usize = 100;

/// Something wrong in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// in characters from the beginning of the expression
    pub offset: usize,
    pub message: String,
    pub help: Option<String>,
}

pub(super) fn lower(tree: &IdedExpr, source: &Source<'_>, names: &Names) -> Result<Node, Vec<Mistake>> {
    let mut lowering = Lowering { source, names, locals: Vec::new(), depth: 0, mistakes: Vec::new() };
    let node = lowering.node(tree);
    if lowering.mistakes.is_empty() { Ok(node) } else { Err(lowering.mistakes) }
}

struct Lowering<'s> {
    source: &'s Source<'s>,
    names: &'s Names,
    /// the variables of the macros around, outermost first
    locals: Vec<String>,
    depth: usize,
    mistakes: Vec<Mistake>,
}

/// What a node becomes that has a mistake: the whole tree is thrown away then.
const REFUSED: Node = Node::Literal(Value::Null);

impl Lowering<'_> {
    fn node(&mut self, tree: &IdedExpr) -> Node {
        if self.depth == MAX_NESTING {
            return self.refuse(
                tree.id,
                format!("the expression is nested more than {MAX_NESTING} deep"),
                None,
            );
        }
        self.depth += 1;
        let node = match &tree.expr {
            Expr::Literal(literal) => self.literal(tree.id, literal),
            Expr::Ident(name) => self.name(tree.id, name),
            Expr::Select(select) => self.select(tree.id, select),
            Expr::Call(call) => self.call(tree.id, call),
            Expr::List(list) => Node::List(list.elements.iter().map(|element| self.node(element)).collect()),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(comprehension) => self.comprehension(tree.id, comprehension),
            Expr::Struct(_) | Expr::Unspecified => {
                self.refuse(tree.id, "objects are written { \"name\": value }".to_owned(), None)
            }
        };
        self.depth -= 1;
        node
    }

    fn boxed(&mut self, tree: &IdedExpr) -> Box<Node> {
        Box::new(self.node(tree))
    }

    fn refuse(&mut self, id: u64, message: String, help: Option<String>) -> Node {
        self.mistakes.push(Mistake { offset: self.source.offset_of(id), message, help });
        REFUSED
    }

    fn literal(&mut self, id: u64, literal: &LiteralValue) -> Node {
        Node::Literal(match literal {
            LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
            LiteralValue::Null => Value::Null,
            LiteralValue::String(text) => Value::from(text.inner()),
            LiteralValue::Int(value) => Value::from(*value.inner()),
            LiteralValue::UInt(value) => Value::from(*value.inner()),
            LiteralValue::Double(value) => return self.decimal(id, value.inner().is_sign_negative()),
            LiteralValue::Bytes(_) => {
                let help = Some("write \"…\"".to_owned());
                return self.refuse(id, "there are no byte strings".to_owned(), help);
            }
        })
    }

    /// The digits as they were written, which the parser's float may have lost.
    fn decimal(&mut self, id: u64, negative: bool) -> Node {
        let text = self.source.text_of(id).unwrap_or_default().trim_start_matches(['-', ' ']);
        let digits = if text.starts_with('.') { format!("0{text}") } else { text.to_owned() };
        match digits.parse::<Decimal>() {
            Ok(number) => Node::Literal(Value::Number(if negative { number.negated() } else { number })),
            Err(error) => self.refuse(id, error.to_string(), None),
        }
    }

    fn name(&mut self, id: u64, name: &str) -> Node {
        if let Some(up) = self.local(name) {
            return Node::Local { up, names: Box::default() };
        }
        let Some((_, root)) = Root::NAMED.into_iter().find(|(known, _)| *known == name) else {
            return self.unknown_name(id, name);
        };
        if let Some(why_not) = self.names.refusal(root) {
            return self.refuse(id, format!("`{name}` is not known here: {why_not}"), None);
        }
        if root == Root::Event {
            let help = Some(format!("name one of its parts: {}", event_parts().join(", ")));
            return self.refuse(id, "`event` is no value by itself".to_owned(), help);
        }
        Node::Path { root, names: Box::default() }
    }

    fn local(&self, name: &str) -> Option<usize> {
        self.locals.iter().rev().position(|local| local == name)
    }

    fn unknown_name(&mut self, id: u64, name: &str) -> Node {
        let mut known: Vec<&str> = self.names.known().collect();
        known.extend(self.locals.iter().map(String::as_str));
        let refused = Root::NAMED.into_iter().find_map(|(root_name, root)| {
            let why_not = self.names.refusal(root)?;
            nearest(name, [root_name]).map(|near| format!("`{near}` is not known here: {why_not}"))
        });
        let help = match (nearest(name, known.iter().copied()), refused) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(refused)) => refused,
            (None, None) => format!("known here: {}; a string is written in quotes", known.join(", ")),
        };
        self.refuse(id, format!("there is no `{name}`"), Some(help))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Node {
        let is_event = matches!(&select.operand.expr, Expr::Ident(name) if name == "event");
        if is_event && self.local("event").is_none() && self.names.refusal(Root::Event).is_none() {
            let part = self.event_part(id, &select.field);
            return if select.test { calls::exists(part) } else { part };
        }
        let of = self.node(&select.operand);
        let name = Arc::from(select.field.as_str());
        if select.test { Node::Has { of: Box::new(of), name } } else { field(of, name) }
    }

    fn event_part(&mut self, id: u64, name: &str) -> Node {
        if name == "metadata" {
            return Node::Path { root: Root::Metadata, names: Box::default() };
        }
        if let Some((_, part)) = EventPart::ALL.into_iter().find(|(known, _)| *known == name) {
            return Node::Event(part);
        }
        let help = match nearest(name, event_parts()) {
            Some(near) => format!("did you mean `event.{near}`?"),
            None => {
                format!("its parts are {}; fields of its data are under `payload`", event_parts().join(", "))
            }
        };
        self.refuse(id, format!("there is no `event.{name}`"), Some(help))
    }

    fn map(&mut self, map: &MapExpr) -> Node {
        let mut fields = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { return REFUSED };
            fields.push((self.node(&entry.key), self.node(&entry.value)));
        }
        Node::Map(fields)
    }
}

fn event_parts() -> Vec<&'static str> {
    EventPart::ALL.into_iter().map(|(name, _)| name).chain(["metadata"]).collect()
}

/// One name further on a path.
fn field(of: Node, name: Arc<str>) -> Node {
    let longer = |names: Box<[Arc<str>]>| {
        let mut names = names.into_vec();
        names.push(Arc::clone(&name));
        names.into_boxed_slice()
    };
    match of {
        Node::Path { root, names } => Node::Path { root, names: longer(names) },
        Node::Local { up, names } => Node::Local { up, names: longer(names) },
        Node::Field { of, names } => Node::Field { of, names: longer(names) },
        other => Node::Field { of: Box::new(other), names: Box::new([name]) },
    }
}
