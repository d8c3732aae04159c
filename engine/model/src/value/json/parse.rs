//! Parsing, strict: UTF-8, no duplicate names, no trailing text, a bounded depth.

use std::sync::Arc;

use jiter::{Jiter, JiterError, Peek};

use super::{FieldMask, masked};
use crate::value::{Decimal, Map, Text, Value};

/// How deep lists and objects may be nested: deeper values would exhaust the stack where they are walked.
pub const MAX_DEPTH: usize = 128;

/// Why a text is no JSON value that can be taken, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct ParseError {
    pub message: String,
    /// from 1
    pub line: usize,
    /// in bytes, from 1
    pub column: usize,
}

impl Value {
    /// Reads one JSON value.
    ///
    /// Refuses text that is not UTF-8, a name that comes twice in one object, nesting beyond [`MAX_DEPTH`], numbers
    /// beyond [`Decimal::WORKING_DIGITS`], and anything after the value.
    pub fn parse(json: &[u8]) -> Result<Value, ParseError> {
        Value::parse_masked(json, &FieldMask::ALL)
    }

    /// Reads the part of one JSON value that the mask keeps: what [`FieldMask::pruned`] would leave of the whole.
    ///
    /// What is passed over is not checked: whoever takes JSON in has done that once, as [`crate::Event::from_envelope`]
    /// does. Text that is no JSON gives an error or some value, but no harm.
    pub fn parse_masked(json: &[u8], mask: &FieldMask) -> Result<Value, ParseError> {
        masked::parse(json, mask)
    }
}

/// A part of `json` as text.
pub(super) fn text<'j>(json: &[u8], part: &'j [u8]) -> Result<&'j str, ParseError> {
    std::str::from_utf8(part)
        .map_err(|error| ParseError::at(json, part, error.valid_up_to(), "text that is not UTF-8"))
}

/// Parses the whole of `text`, a slice of `json`; `depth` lists and objects are around it.
pub(super) fn parse_slice(json: &[u8], text: &str, depth: usize) -> Result<Value, ParseError> {
    let mut parser = Parser { json, text, input: Jiter::new(text.as_bytes()) };
    let peek = parser.input.peek().map_err(|error| parser.syntax(&error))?;
    let value = parser.value(peek, depth)?;
    parser.input.finish().map_err(|error| parser.syntax(&error))?;
    Ok(value)
}

struct Parser<'j> {
    json: &'j [u8],
    text: &'j str,
    input: Jiter<'j>,
}

impl Parser<'_> {
    fn value(&mut self, peek: Peek, depth: usize) -> Result<Value, ParseError> {
        match peek {
            Peek::Null => self.input.known_null().map(|()| Value::Null).map_err(|error| self.syntax(&error)),
            Peek::True | Peek::False => {
                self.input.known_bool(peek).map(Value::Bool).map_err(|error| self.syntax(&error))
            }
            Peek::String => {
                let text = self.input.known_str().map(Text::from);
                text.map(Value::Text).map_err(|error| self.syntax(&error))
            }
            Peek::Array => self.list(depth),
            Peek::Object => self.object(depth),
            _ => self.number(peek),
        }
    }

    fn number(&mut self, peek: Peek) -> Result<Value, ParseError> {
        let number = self.input.known_number_bytes(peek).map(Decimal::parse);
        match number {
            Ok(Ok(number)) => Ok(Value::Number(number)),
            Ok(Err(error)) => Err(self.here(&error.to_string())),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.check_depth(depth)?;
        let mut items = Vec::new();
        let mut next = self.input.known_array().map_err(|error| self.syntax(&error))?;
        while let Some(peek) = next {
            items.push(self.value(peek, depth + 1)?);
            next = self.input.array_step().map_err(|error| self.syntax(&error))?;
        }
        Ok(Value::List(Arc::new(items)))
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.check_depth(depth)?;
        let mut fields: Vec<(Arc<str>, Value)> = Vec::new();
        let mut name = self.input.known_object().map(|name| name.map(Arc::<str>::from));
        while let Some(field) = name.map_err(|error| self.syntax(&error))? {
            let peek = self.input.peek().map_err(|error| self.syntax(&error))?;
            fields.push((field, self.value(peek, depth + 1)?));
            name = self.input.next_key().map(|name| name.map(Arc::from));
        }
        // Sorted at once: one by one, names that fall would take time by the square of their number.
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some([(name, _), _]) = fields.array_windows().find(|[(one, _), (next, _)]| one == next) {
            return Err(self.here(&format!("the name {name:?} twice in one object")));
        }
        Ok(Value::Map(Arc::new(Map::from_sorted_store_unchecked(fields))))
    }

    fn check_depth(&self, depth: usize) -> Result<(), ParseError> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        Err(self.here(&format!("lists and objects nested more than {MAX_DEPTH} deep")))
    }

    fn here(&self, message: &str) -> ParseError {
        ParseError::at(self.json, self.text.as_bytes(), self.input.current_index(), message)
    }

    fn syntax(&self, error: &JiterError) -> ParseError {
        ParseError::at(self.json, self.text.as_bytes(), error.index, &error.error_type.to_string())
    }
}

impl ParseError {
    /// At a byte of `text`, which is a slice of `json`.
    pub(super) fn at(json: &[u8], text: &[u8], index: usize, message: &str) -> ParseError {
        let begin = (text.as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
        ParseError::at_index(json, begin + index, message)
    }

    fn at_index(json: &[u8], index: usize, message: &str) -> ParseError {
        let before = json.get(..index).unwrap_or(json);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        ParseError { message: message.to_owned(), line, column }
    }
}
