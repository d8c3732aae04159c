//! The parser expands `exists`, `all`, `exists_one`, `map` and `filter` into a general loop; each is recognised by
//! the loop's beginning and step, and becomes one node.

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::Lowering;
use crate::expression::node::{Node, Quantifier};

/// What a macro was before its expansion.
enum Macro<'t> {
    Quantify { quantifier: Quantifier, test: &'t IdedExpr },
    Transform { test: Option<&'t IdedExpr>, result: &'t IdedExpr },
}

impl Lowering<'_> {
    pub(super) fn comprehension(&mut self, id: u64, tree: &ComprehensionExpr) -> Node {
        let Some(found) = recognise(tree) else {
            return self.refuse(id, "this macro is not supported".to_owned(), None);
        };
        let over = self.boxed(&tree.iter_range);
        self.locals.push(tree.iter_var.clone());
        let node = match found {
            Macro::Quantify { quantifier, test } => {
                Node::Quantify { quantifier, over, test: self.boxed(test) }
            }
            Macro::Transform { test, result } => {
                let is_element = matches!(&result.expr, Expr::Ident(name) if *name == tree.iter_var);
                let test = test.map(|test| self.boxed(test));
                let result = (!is_element).then(|| self.boxed(result));
                Node::Transform { over, test, result }
            }
        };
        self.locals.pop();
        node
    }
}

fn recognise(tree: &ComprehensionExpr) -> Option<Macro<'_>> {
    if tree.iter_var2.is_some() {
        return None;
    }
    let (name, step) = call(&tree.loop_step)?;
    match (&tree.accu_init.expr, step) {
        (Expr::Literal(LiteralValue::Boolean(begin)), [_, test]) => {
            let quantifier = if *begin.inner() { Quantifier::All } else { Quantifier::Any };
            Some(Macro::Quantify { quantifier, test })
        }
        (Expr::Literal(LiteralValue::Int(_)), [test, ..]) => {
            Some(Macro::Quantify { quantifier: Quantifier::One, test })
        }
        (Expr::List(_), [test, appended, _]) if name == operators::CONDITIONAL => {
            Some(Macro::Transform { test: Some(test), result: appended_element(appended)? })
        }
        (Expr::List(_), _) => {
            Some(Macro::Transform { test: None, result: appended_element(&tree.loop_step)? })
        }
        _ => None,
    }
}

/// The `x` of `result + [x]`.
fn appended_element(tree: &IdedExpr) -> Option<&IdedExpr> {
    match call(tree)? {
        (operators::ADD, [_, list]) => match &list.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        _ => None,
    }
}

fn call(tree: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    match &tree.expr {
        Expr::Call(call) => Some((&call.func_name, &call.args)),
        _ => None,
    }
}
