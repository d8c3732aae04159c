//! Operators and functions.

use cel::common::ast::{CallExpr, IdedExpr, operators};
use foldstream_config::diagnostic::nearest;
use foldstream_model::Value;

use super::{Lowering, Mistake, REFUSED, field};
use crate::expression::function::{self, Function, MACROS, SIGNATURES, Signature};
use crate::expression::node::{Arithmetic, Node, Order};

pub(super) fn exists(node: Node) -> Node {
    Node::Call { function: Function::Exists, arguments: vec![node] }
}

impl Lowering<'_> {
    pub(super) fn call(&mut self, id: u64, call: &CallExpr) -> Node {
        match call.args.as_slice() {
            _ if call.target.is_some() => self.function(id, call),
            [operand] => match call.func_name.as_str() {
                operators::LOGICAL_NOT => Node::Not(self.boxed(operand)),
                operators::NEGATE => Node::Negate(self.boxed(operand)),
                _ => self.function(id, call),
            },
            [left, right] => match self.binary(id, &call.func_name, left, right) {
                Some(node) => node,
                None => self.function(id, call),
            },
            [condition, then, otherwise] if call.func_name == operators::CONDITIONAL => Node::Choose {
                condition: self.boxed(condition),
                then: self.boxed(then),
                otherwise: self.boxed(otherwise),
            },
            _ => self.function(id, call),
        }
    }

    fn binary(&mut self, id: u64, name: &str, left: &IdedExpr, right: &IdedExpr) -> Option<Node> {
        if name == operators::MODULO {
            let help = Some("x - floor(x / y) * y, where the quotient is exact".to_owned());
            return Some(self.refuse(id, "there is no operator `%`".to_owned(), help));
        }
        if name == operators::INDEX {
            return Some(self.index(left, right));
        }
        if !matches!(name.as_bytes(), [b'_', .., b'_'] | [b'@', ..]) {
            return None;
        }
        let (left, right) = (self.boxed(left), self.boxed(right));
        let order = |operator, left, right| Node::Order { operator, left, right };
        let arithmetic = |operator, left, right| Node::Arithmetic { operator, left, right };
        Some(match name {
            operators::LOGICAL_AND => Node::And(left, right),
            operators::LOGICAL_OR => Node::Or(left, right),
            operators::EQUALS => Node::Equal { left, right, negated: false },
            operators::NOT_EQUALS => Node::Equal { left, right, negated: true },
            operators::LESS => order(Order::Less, left, right),
            operators::LESS_EQUALS => order(Order::LessOrEqual, left, right),
            operators::GREATER => order(Order::Greater, left, right),
            operators::GREATER_EQUALS => order(Order::GreaterOrEqual, left, right),
            operators::ADD => arithmetic(Arithmetic::Add, left, right),
            operators::SUBSTRACT => arithmetic(Arithmetic::Subtract, left, right),
            operators::MULTIPLY => arithmetic(Arithmetic::Multiply, left, right),
            operators::DIVIDE => arithmetic(Arithmetic::Divide, left, right),
            operators::IN => Node::In { item: left, within: right },
            _ => self.refuse(id, format!("there is no operator `{}`", name.trim_matches('_')), None),
        })
    }

    fn index(&mut self, of: &IdedExpr, at: &IdedExpr) -> Node {
        let (of, at) = (self.node(of), self.node(at));
        match at {
            Node::Literal(Value::Text(name)) => field(of, name.into()),
            at => Node::Index { of: Box::new(of), at: Box::new(at) },
        }
    }

    fn function(&mut self, id: u64, call: &CallExpr) -> Node {
        let is_method = call.target.is_some();
        let Some(signature) = function::find(&call.func_name, is_method) else {
            return self.unknown_function(id, &call.func_name, is_method);
        };
        let given = call.args.len() + usize::from(is_method);
        if !(signature.least..=signature.most).contains(&given) {
            return self.wrong_count(id, signature, given, is_method);
        }
        let arguments =
            call.target.as_deref().into_iter().chain(&call.args).map(|tree| self.node(tree)).collect();
        Node::Call { function: signature.function, arguments }
    }

    fn wrong_count(&mut self, id: u64, signature: &Signature, given: usize, is_method: bool) -> Node {
        let own = usize::from(is_method);
        let (least, most, given) = (signature.least - own, signature.most - own, given - own);
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let arguments = if (least, most) == (1, 1) { "argument" } else { "arguments" };
        let message = format!("`{}` takes {wanted} {arguments}, not {given}", signature.shape());
        self.refuse_call(id, signature.name, message, None)
    }

    fn unknown_function(&mut self, id: u64, name: &str, is_method: bool) -> Node {
        let other_form =
            function::find(name, !is_method).map(|signature| format!("write {}", signature.shape()));
        let macros = MACROS.contains(&name).then(|| match name {
            "has" => "write has(payload.name), with a path".to_owned(),
            _ => format!("write list.{name}(i, …), with a variable and an expression"),
        });
        let names = SIGNATURES.iter().map(|signature| signature.name).chain(MACROS.iter().copied());
        let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        let help = other_form.or(macros).or(near);
        self.refuse_call(id, name, format!("there is no function `{name}`"), help)
    }

    /// Points at the name, not at the bracket behind it.
    fn refuse_call(&mut self, id: u64, name: &str, message: String, help: Option<String>) -> Node {
        self.mistakes.push(Mistake { offset: self.source.offset_of_call(id, name), message, help });
        REFUSED
    }
}
