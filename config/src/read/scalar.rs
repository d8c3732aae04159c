use std::{ops::RangeInclusive, time::Duration};

use foldstream_model::{Path, Timestamp};

use super::{
    Reader,
    environment::{Substituted, substitute},
};
use crate::{
    diagnostic::nearest,
    settings::{Name, Spanned},
    yaml::{Kind, Node},
};

const KIB: u64 = 1024;

impl Reader<'_> {
    /// The text of a single value that is no expression, after substitution. `what` completes "expected …".
    pub fn scalar(&mut self, node: &Node, what: &str) -> Option<Substituted> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.error(
                node.place,
                format!("expected {what}, found {}", node.describe()),
                format!("write {what}"),
            );
            return None;
        };
        if node.is_null() {
            self.error(
                node.place,
                format!("expected {what}, found nothing"),
                "write a value, or remove the field",
            );
            return None;
        }
        if node.is_expression() {
            let help = "expressions belong into handlers, reducers, upcasters and `include`; a text that begins with \
                        `=` is written `==…`";
            self.error(node.place, format!("expected {what}, found an expression"), help);
            return None;
        }
        let text = text.strip_prefix("==").map_or_else(|| text.clone(), |rest| format!("={rest}"));
        self.substitute(node, &text)
    }

    pub fn substitute(&mut self, node: &Node, text: &str) -> Option<Substituted> {
        match substitute(text, self.environment) {
            Ok(substituted) => Some(substituted),
            Err(problem) => {
                self.error(node.place, problem.message, problem.help);
                None
            }
        }
    }

    /// Reports that a scalar is not what it should be, without telling what the environment holds.
    fn refuse(&mut self, node: &Node, found: &Substituted, what: &str, help: &str) {
        let shown = if found.from_environment {
            "a value from the environment"
        } else {
            &format!("`{}`", found.text)
        };
        self.error(node.place, format!("expected {what}, found {shown}"), help);
    }

    pub fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let found = self.scalar(node, what)?;
        if found.text.is_empty() {
            self.error(node.place, format!("expected {what}, found an empty text"), format!("write {what}"));
            return None;
        }
        Some(found.text)
    }

    pub fn spanned_text(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        self.text(node, what).map(|text| Spanned::new(text, node.place))
    }

    pub fn name(&mut self, node: &Node, what: &str) -> Option<Spanned<Name>> {
        let text = self.text(node, what)?;
        let name = Name::new(&text);
        if name.is_none() {
            self.error(node.place, format!("`{text}` is no name"), format!("a name is {}", Name::RULE));
        }
        Some(Spanned::new(name?, node.place))
    }

    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        let found = self.scalar(node, "true or false")?;
        match found.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let affirms =
                    matches!(other.to_ascii_lowercase().as_str(), "yes" | "on" | "y" | "true" | "1");
                let denies =
                    matches!(other.to_ascii_lowercase().as_str(), "no" | "off" | "n" | "false" | "0");
                let help = match (affirms, denies) {
                    (true, _) => "write `true`: YAML's readers disagree about the other words",
                    (_, true) => "write `false`: YAML's readers disagree about the other words",
                    _ => "write `true` or `false`",
                };
                self.refuse(node, &found, "true or false", help);
                None
            }
        }
    }

    pub fn integer(&mut self, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        let what = match *most {
            u64::MAX => format!("a whole number of at least {least}"),
            most => format!("a whole number from {least} to {most}"),
        };
        let found = self.scalar(node, &what)?;
        let digits = !found.text.is_empty() && found.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { found.text.parse().ok() } else { None };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let help = if digits { "choose one in that range" } else { "write it in plain digits" };
            self.refuse(node, &found, &what, help);
        }
        number
    }

    pub fn small_integer(&mut self, node: &Node, range: RangeInclusive<u32>) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.integer(node, range).and_then(|number| u32::try_from(number).ok())
    }

    /// One of a closed list of words.
    pub fn choice<T: Clone>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<Spanned<T>> {
        let list = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let found = self.scalar(node, &format!("one of {list}"))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found.text) {
            return Some(Spanned::new(value.clone(), node.place));
        }
        let help = match nearest(&found.text, words.iter().map(|(word, _)| *word)) {
            Some(word) if !found.from_environment => format!("did you mean `{word}`? Possible are: {list}"),
            _ => format!("possible are: {list}"),
        };
        self.refuse(node, &found, &format!("one of {list}"), &help);
        None
    }

    /// One of the kinds of a `what` that there are, or one that later versions have: those are refused by name, and
    /// returned so that their fields are known.
    pub fn kind(
        &mut self,
        node: &Node,
        what: &str,
        kinds: &[&'static str],
        later: &[&'static str],
    ) -> Option<Spanned<&'static str>> {
        let mut named: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let last = named.pop().unwrap_or_default();
        let named = if named.is_empty() { last } else { format!("{} or {last}", named.join(", ")) };
        let found = self.scalar(node, &named)?;
        if let Some(kind) = kinds.iter().find(|kind| **kind == found.text) {
            return Some(Spanned::new(kind, node.place));
        }
        let Some(word) = later.iter().find(|word| **word == found.text) else {
            let help = format!("write {named}, the kinds of {what} that this version has");
            self.refuse(node, &found, &named, &help);
            return None;
        };
        let message = format!("a {what} of kind {word} is not available in this version");
        self.error(node.place, message, format!("use {named}"));
        Some(Spanned::new(word, node.place))
    }

    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let what = "a duration such as 200ms, 5s, 10m, 24h or 7d";
        let found = self.scalar(node, what)?;
        let duration = parse_duration(&found.text);
        if duration.is_none() {
            self.refuse(node, &found, what, "write a whole number and one of the units ms, s, m, h, d");
        }
        duration
    }

    /// A number of bytes, at least `least`.
    pub fn bytes(&mut self, node: &Node, least: u64) -> Option<u64> {
        let what = "a number of bytes such as 65536, 512KiB, 64MiB or 1GiB";
        let found = self.scalar(node, what)?;
        let bytes = parse_bytes(&found.text);
        match bytes {
            None => self.refuse(
                node,
                &found,
                what,
                "write a whole number, with KiB, MiB or GiB behind it or nothing",
            ),
            Some(bytes) if bytes < least => {
                self.refuse(node, &found, &format!("at least {least} bytes"), "less would stop the work");
                return None;
            }
            Some(_) => {}
        }
        bytes
    }

    pub fn timestamp(&mut self, node: &Node) -> Option<Timestamp> {
        let what = "an instant such as 2026-01-31T12:00:00Z";
        let found = self.scalar(node, what)?;
        let instant = Timestamp::parse(&found.text).ok();
        if instant.is_none() {
            self.refuse(node, &found, what, "write it as RFC 3339 has it, with `Z` or an offset at the end");
        }
        instant
    }

    /// Names with dots between them, as keys of operations are.
    pub fn path(&mut self, text: &str, place: crate::Place) -> Option<Spanned<Path>> {
        match text.parse() {
            Ok(path) => Some(Spanned::new(path, place)),
            Err(_) => {
                self.error(
                    place,
                    format!("`{text}` is no path"),
                    "write names with single dots between them",
                );
                None
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" => 1,
        "KiB" => KIB,
        "MiB" => KIB * KIB,
        "GiB" => KIB * KIB * KIB,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}
