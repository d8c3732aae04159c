//! Parsing under a mask: kept values are cut out and parsed alone, everything between them is passed over.

use std::borrow::Cow;
use std::sync::Arc;

use super::FieldMask;
use super::parse::{MAX_DEPTH, ParseError, parse_slice};
use crate::value::{Decimal, Map, Value};

/// Parses the part of the text that the mask keeps.
pub(super) fn parse(json: &str, mask: &FieldMask) -> Result<Value, ParseError> {
    let mut scanner = Scanner { json, at: 0 };
    scanner.pass_blanks();
    if mask.is_all() || scanner.next() != Some(b'{') {
        return parse_slice(json, json, 0);
    }
    let value = scanner.object(mask, 0)?;
    scanner.pass_blanks();
    match scanner.next() {
        None => Ok(value),
        Some(_) => Err(scanner.error("text behind the value")),
    }
}

struct Scanner<'j> {
    json: &'j str,
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
            Cow::Borrowed(name) => mask.field(name),
            Cow::Owned(name) => mask.field(&name),
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
            _ => {
                let text = self.pass()?;
                leaf(self.json, text, depth + 1)?
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

    fn name(&mut self) -> Result<Cow<'j, str>, ParseError> {
        if self.next() != Some(b'"') {
            return Err(self.error("expected a name in quotes"));
        }
        let quoted = self.pass()?;
        if !quoted.contains('\\') {
            return Ok(Cow::Borrowed(inside_quotes(quoted)));
        }
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| self.error("a name with a bad escape"))
    }

    fn next(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn pass_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.at += 1;
        }
    }

    /// Passes over the value that begins here; returns its text.
    fn pass(&mut self) -> Result<&'j str, ParseError> {
        let begin = self.at;
        match self.next() {
            Some(b'"') => self.pass_string()?,
            Some(b'{' | b'[') => self.pass_nested()?,
            _ => self.pass_word(),
        }
        match self.json.get(begin..self.at) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.error("expected a value")),
        }
    }

    fn pass_string(&mut self) -> Result<(), ParseError> {
        self.at += 1;
        loop {
            let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.error("a string without an end"));
            };
            self.at += found + 1;
            if rest.get(found) == Some(&b'"') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    fn pass_nested(&mut self) -> Result<(), ParseError> {
        let mut open = 0_usize;
        loop {
            match self.next() {
                Some(b'"') => {
                    self.pass_string()?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => open -= 1,
                Some(_) => {}
                None => return Err(self.error("a list or an object without an end")),
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
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

fn inside_quotes(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// A kept value. Numbers need no parser.
fn leaf(json: &str, text: &str, depth: usize) -> Result<Value, ParseError> {
    if let [b'0'..=b'9' | b'-', ..] = text.as_bytes() {
        return match Decimal::parse(text.as_bytes()) {
            Ok(number) => Ok(Value::Number(number)),
            Err(error) => Err(ParseError::at(json, text, 0, &error.to_string())),
        };
    }
    parse_slice(json, text, depth)
}
