//! Parsing under a mask: kept values are cut out and parsed alone, everything between them is passed over.

use std::sync::Arc;

use super::FieldMask;
use super::parse::{MAX_DEPTH, ParseError, parse_slice, text};
use super::strict::equal_to;
use crate::value::{Decimal, Map, Value};

/// Parses the part of the text that the mask keeps.
pub(super) fn parse(json: &[u8], mask: &FieldMask) -> Result<Value, ParseError> {
    let mut scanner = Scanner { json, at: 0 };
    scanner.pass_blanks();
    if mask.is_all() || scanner.next() != Some(b'{') {
        return parse_slice(json, text(json, json)?, 0);
    }
    let value = scanner.object(mask, 0)?;
    scanner.pass_blanks();
    match scanner.next() {
        None => Ok(value),
        Some(_) => Err(scanner.error("text behind the value")),
    }
}

/// A field's name as it stands between its quotes.
enum Name<'j> {
    Plain(&'j [u8]),
    Unescaped(String),
}

struct Scanner<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Scanner<'j> {
    /// The kept fields of the object that begins here.
    fn object(&mut self, mask: &FieldMask, depth: usize) -> Result<Value, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(&format!("lists and objects nested more than {MAX_DEPTH} deep")));
        }
        let mut map = Map::new();
        self.at += 1;
        self.pass_blanks();
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(Arc::new(map)));
        }
        loop {
            self.field(mask, depth, &mut map)?;
            self.pass_blanks();
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.error("expected `,` or `}`")),
            }
            self.pass_blanks();
        }
        self.at += 1;
        Ok(Value::Map(Arc::new(map)))
    }

    fn field(&mut self, mask: &FieldMask, depth: usize, map: &mut Map) -> Result<(), ParseError> {
        let begin = self.at;
        let kept = match self.name()? {
            Name::Plain(name) => mask.field(name),
            Name::Unescaped(name) => mask.field(name.as_bytes()),
        };
        self.pass_blanks();
        if self.next() != Some(b':') {
            return Err(self.error("expected `:`"));
        }
        self.at += 1;
        self.pass_blanks();
        let Some((name, mask)) = kept else { return self.pass().map(|_| ()) };
        let value = match self.next() {
            Some(b'{') if !mask.is_all() => self.object(mask, depth + 1)?,
            Some(b'"') => self.text()?,
            _ => {
                let part = self.pass()?;
                leaf(self.json, part, depth + 1)?
            }
        };
        match map.insert(Arc::clone(name), value) {
            None => Ok(()),
            Some(_) => {
                self.at = begin;
                Err(self.error(&format!("the name {name:?} twice in one object")))
            }
        }
    }

    fn name(&mut self) -> Result<Name<'j>, ParseError> {
        if self.next() != Some(b'"') {
            return Err(self.error("expected a name in quotes"));
        }
        let begin = self.at;
        let escaped = self.pass_string()?;
        let quoted = self.json.get(begin..self.at).unwrap_or_default();
        if !escaped {
            return Ok(Name::Plain(inside_quotes(quoted)));
        }
        serde_json::from_slice(quoted)
            .map(Name::Unescaped)
            .map_err(|_| self.error("a name with a bad escape"))
    }

    /// A kept string. One without escapes needs no parser.
    fn text(&mut self) -> Result<Value, ParseError> {
        let begin = self.at;
        let escaped = self.pass_string()?;
        let part = self.json.get(begin..self.at).unwrap_or_default();
        let inside = inside_quotes(part);
        if escaped || inside.iter().any(u8::is_ascii_control) {
            return parse_slice(self.json, text(self.json, part)?, 0);
        }
        Ok(Value::Text(text(self.json, inside)?.into()))
    }

    fn next(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn pass_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.at += 1;
        }
    }

    /// Passes over the value that begins here; returns its text.
    fn pass(&mut self) -> Result<&'j [u8], ParseError> {
        let begin = self.at;
        match self.next() {
            Some(b'"') => {
                self.pass_string()?;
            }
            Some(b'{' | b'[') => self.pass_nested()?,
            _ => self.pass_word(),
        }
        match self.json.get(begin..self.at) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.error("expected a value")),
        }
    }

    /// Passes over a string; returns whether it has escapes.
    fn pass_string(&mut self) -> Result<bool, ParseError> {
        let (end, escaped) =
            end_of_string(self.json, self.at).ok_or_else(|| self.error("a string without an end"))?;
        self.at = end;
        Ok(escaped)
    }

    fn pass_nested(&mut self) -> Result<(), ParseError> {
        let bytes = self.json;
        let (mut at, mut open) = (self.at, 0_usize);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => match end_of_string(bytes, at - 1) {
                    Some((end, _)) => at = end,
                    None => break,
                },
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            if open == 0 {
                self.at = at;
                return Ok(());
            }
        }
        Err(self.error("a list or an object without an end"))
    }

    /// A number, true, false or null.
    fn pass_word(&mut self) {
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'-' | b'+' | b'.' | b'E') = self.next() {
            self.at += 1;
        }
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError::at(self.json, self.json, self.at, message)
    }
}

/// Where the string that begins here ends, and whether it has escapes.
fn end_of_string(bytes: &[u8], begin: usize) -> Option<(usize, bool)> {
    let mut escaped = false;
    let mut at = begin + 1;
    loop {
        at = quote_or_backslash(bytes, at)?;
        if bytes.get(at) == Some(&b'"') {
            return Some((at + 1, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// The first quote or backslash from here on, eight bytes at a time: the lowest bit that is set is right.
fn quote_or_backslash(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let found = equal_to(word, b'"') | equal_to(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|found| at + found)
}

fn inside_quotes(quoted: &[u8]) -> &[u8] {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// A kept value. Numbers need no parser.
fn leaf(json: &[u8], part: &[u8], depth: usize) -> Result<Value, ParseError> {
    if let [b'0'..=b'9' | b'-', ..] = part {
        return match Decimal::parse(part) {
            Ok(number) => Ok(Value::Number(number)),
            Err(error) => Err(ParseError::at(json, part, 0, &error.to_string())),
        };
    }
    parse_slice(json, text(json, part)?, depth)
}
