//! Writing YAML that is read back as it was meant.

use foldstream_model::Value;

/// A text as a scalar, in quotes unless it is a plain word.
pub(super) fn text(text: &str) -> String {
    if is_plain_word(text) { text.to_owned() } else { quoted(text) }
}

/// A text that is data and no expression: `=` and `${` are escaped.
pub(super) fn data(value: &str) -> String {
    let escaped = value.replace("${", "$${");
    let escaped = if value.starts_with('=') { format!("={escaped}") } else { escaped };
    text(&escaped)
}

/// A key that is data: `${` is escaped.
pub(super) fn key(name: &str) -> String {
    text(&name.replace("${", "$${"))
}

/// An expression without its `=`, in quotes where YAML could end it too early.
pub(super) fn expression(code: &str) -> String {
    let is_plain =
        code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '(' | ')' | '+' | ' '));
    if is_plain { format!("={code}") } else { format!("'={}'", code.replace('\'', "''")) }
}

/// A value on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(value) => data(value),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => flow_map(map.iter().map(|(name, value)| (&**name, value))),
    }
}

pub(super) fn flow_map<'v>(entries: impl Iterator<Item = (&'v str, &'v Value)>) -> String {
    let entries: Vec<String> =
        entries.map(|(name, value)| format!("{}: {}", key(name), flow(value))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A word that no reader of YAML takes for anything but a text.
fn is_plain_word(text: &str) -> bool {
    let ambiguous = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !ambiguous.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
