//! Expressions, and values that hold some.

use foldstream_config::settings::{self, Argument};
use foldstream_model::Value;

use super::report::Report;
use crate::expression::{Expression, Names};

impl Report {
    /// An expression; every mistake in it is reported, and null stands for it.
    pub(super) fn expression(&mut self, written: &settings::Expression, names: &Names) -> Expression {
        match Expression::compile(&written.text, names) {
            Ok(expression) => expression,
            Err(mistakes) => {
                for mistake in mistakes {
                    let place = written.place_of(mistake.offset);
                    // Quoting or folding can make the column unknowable.
                    let message = if place == written.place && mistake.offset > 0 {
                        format!("{} (at character {} of the expression)", mistake.message, mistake.offset + 1)
                    } else {
                        mistake.message
                    };
                    self.error(place, message, mistake.help);
                }
                Expression::literal(Value::Null)
            }
        }
    }

    pub(super) fn argument(&mut self, written: &Argument, names: &Names) -> Expression {
        match written {
            Argument::Expression(expression) => self.expression(expression, names),
            Argument::Literal(literal) => {
                self.literal(literal.place, &literal.value);
                Expression::literal(literal.value.clone())
            }
            Argument::List(items) => {
                let mut compiled = Vec::with_capacity(items.value.len());
                for (index, item) in items.value.iter().enumerate() {
                    compiled.push(self.at(&format!("[{index}]"), |report| report.argument(item, names)));
                }
                Expression::list(compiled)
            }
            Argument::Map(fields) => {
                let mut compiled = Vec::with_capacity(fields.value.len());
                for (name, value) in &fields.value {
                    let value = self.at(&name.value, |report| report.argument(value, names));
                    compiled.push((name.value.clone(), value));
                }
                Expression::map(compiled)
            }
        }
    }

    fn literal(&mut self, place: foldstream_config::Place, value: &Value) {
        if let Err(fault) = crate::operation::check_storable(value) {
            self.error(place, fault.to_string(), None);
        }
    }
}
