use std::sync::Arc;

use foldstream_model::{Decimal, Map, Text, Value};

use super::Reader;
use crate::{
    settings::{Argument, Expression, Spanned},
    yaml::{Kind, Node},
};

impl Reader<'_> {
    /// A value that must be an expression.
    pub fn expression(&mut self, node: &Node, what: &str) -> Option<Expression> {
        if !node.is_expression() {
            let help = "an expression begins with `=`, as in `=payload.quantity > 0`";
            self.error(node.place, format!("{what} must be an expression"), help);
            return None;
        }
        let Kind::Scalar { text, content, verbatim, .. } = &node.kind else { return None };
        let text = text.strip_prefix('=').unwrap_or(text).trim_end();
        if text.is_empty() {
            self.error(node.place, "the expression is empty", "write something behind the `=`");
            return None;
        }
        if text.replace("$${", "").contains("${") {
            let help = "take what differs from one environment to the next into the events, or into a literal; `$${` \
                        stands for the two characters themselves";
            self.error(node.place, "an expression cannot read the environment", help);
            return None;
        }
        let verbatim = *verbatim && !text.contains("$${");
        Some(Expression { text: text.replace("$${", "${"), place: content.after(1), verbatim })
    }

    pub fn argument(&mut self, node: &Node) -> Option<Argument> {
        if node.is_expression() {
            return self.expression(node, "this").map(Argument::Expression);
        }
        match &node.kind {
            Kind::Scalar { .. } => {
                self.literal_scalar(node).map(|value| Argument::Literal(Spanned::new(value, node.place)))
            }
            Kind::List(items) => {
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, item)| self.at_index(index, |reader| reader.argument(item)))
                    .collect();
                Some(fold_list(Spanned::new(items, node.place)))
            }
            Kind::Map(entries) => {
                let mut read = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    if let Some(value) = self.at(&key.text, |reader| reader.argument(value)) {
                        read.push((Spanned::new(key.text.clone(), key.place), value));
                    }
                }
                Some(fold_map(Spanned::new(read, node.place)))
            }
        }
    }

    /// A value without expressions, such as the payload of a test's event.
    pub fn literal(&mut self, node: &Node) -> Option<Value> {
        match &node.kind {
            Kind::Scalar { .. } if node.is_expression() => {
                let help =
                    "this is data and is taken as it stands; a text that begins with `=` is written `==…`";
                self.error(node.place, "an expression cannot stand here", help);
                None
            }
            Kind::Scalar { .. } => self.literal_scalar(node),
            Kind::List(items) => {
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, item)| self.at_index(index, |reader| reader.literal(item)))
                    .collect();
                Some(Value::List(Arc::new(items)))
            }
            Kind::Map(_) => self.literal_map(node).map(|map| Value::Map(Arc::new(map))),
        }
    }

    pub fn literal_map(&mut self, node: &Node) -> Option<Map> {
        let Kind::Map(entries) = &node.kind else {
            let found = node.describe();
            self.error(
                node.place,
                format!("expected a mapping, found {found}"),
                "write `{ name: value, … }`",
            );
            return None;
        };
        let mut map = Map::new();
        for (key, value) in entries {
            if let Some(value) = self.at(&key.text, |reader| reader.literal(value)) {
                map.insert(Arc::from(key.text.as_str()), value);
            }
        }
        Some(map)
    }

    fn literal_scalar(&mut self, node: &Node) -> Option<Value> {
        let Kind::Scalar { text, plain, .. } = &node.kind else { return None };
        let text = text.strip_prefix("==").map_or_else(|| text.clone(), |rest| format!("={rest}"));
        let found = self.substitute(node, &text)?;
        if !*plain {
            return Some(Value::Text(Text::from(found.text)));
        }
        match plain_value(&found.text) {
            Ok(value) => Some(value),
            Err(ambiguity) => {
                let shown = if found.from_environment { "this value" } else { &format!("`{}`", found.text) };
                self.error(node.place, format!("{shown} {}", ambiguity.what), ambiguity.help);
                None
            }
        }
    }
}

struct Ambiguity {
    what: String,
    help: &'static str,
}

/// What an unquoted text means. Words and notations about which YAML's readers disagree are refused.
fn plain_value(text: &str) -> Result<Value, Ambiguity> {
    match text {
        "" | "~" | "null" => return Ok(Value::Null),
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "yes" | "no" | "on" | "off" | "true" | "false" | "null") {
        return Err(Ambiguity {
            what: "means different things to different readers of YAML".to_owned(),
            help: "write true, false or null in small letters, or put the text in quotes",
        });
    }
    if is_json_number(text) {
        let number = text.parse::<Decimal>().map_err(|error| Ambiguity {
            what: format!("cannot be taken as a number: {error}"),
            help: "put it in quotes if it is a text",
        })?;
        return Ok(Value::Number(number));
    }
    if resembles_number(&lower) {
        return Err(Ambiguity {
            what: "is a number to some readers of YAML and a text to others".to_owned(),
            help: "write a number as JSON does (no leading zeros or `+`, digits on both sides of the point), or put the \
                   text in quotes",
        });
    }
    Ok(Value::Text(Text::from(text)))
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = split_exponent(text);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole_is_fine = all_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    whole_is_fine && fraction.is_none_or(all_digits) && exponent.is_none_or(is_exponent)
}

fn resembles_number(lower: &str) -> bool {
    let text = lower.strip_prefix(['-', '+']).unwrap_or(lower);
    if matches!(text, ".inf" | ".nan") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all_digits(digits);
    }
    let (mantissa, exponent) = split_exponent(text);
    let mantissa_digits = mantissa.replacen('.', "", 1);
    all_digits(&mantissa_digits) && exponent.is_none_or(is_exponent)
}

fn split_exponent(text: &str) -> (&str, Option<&str>) {
    match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    }
}

fn is_exponent(text: &str) -> bool {
    all_digits(text.strip_prefix(['-', '+']).unwrap_or(text))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn fold_list(list: Spanned<Vec<Argument>>) -> Argument {
    let literals: Option<Vec<Value>> = list.value.iter().map(as_literal).collect();
    match literals {
        Some(values) => Argument::Literal(Spanned::new(Value::List(Arc::new(values)), list.place)),
        None => Argument::List(list),
    }
}

fn fold_map(map: Spanned<Vec<(Spanned<String>, Argument)>>) -> Argument {
    let entry =
        |(key, value): &(Spanned<String>, Argument)| Some((Arc::from(key.as_str()), as_literal(value)?));
    let literals: Option<Map> = map.value.iter().map(entry).collect();
    match literals {
        Some(values) => Argument::Literal(Spanned::new(Value::Map(Arc::new(values)), map.place)),
        None => Argument::Map(map),
    }
}

fn as_literal(argument: &Argument) -> Option<Value> {
    if let Argument::Literal(literal) = argument { Some(literal.value.clone()) } else { None }
}
