//! Single parts: texts, whole numbers, instants.

use foldstream_config::settings::{self, EventMapping, Part};
use foldstream_model::{Result, Text, Timestamp, Value};

use super::poison;

/// The parts that are single values.
pub(super) fn parts(mapping: &EventMapping) -> Vec<&Part> {
    let optional = [&mapping.id, &mapping.schema_version, &mapping.recorded_at, &mapping.effective_at];
    let sequence = mapping.sequence.as_ref().map(|sequence| &sequence.part);
    let always = [&mapping.stream_id, &mapping.event_type];
    always.into_iter().chain(sequence).chain(optional.into_iter().flatten()).collect()
}

/// A record, of which the mapped fields are parsed.
pub(super) struct Found<'i> {
    pub item: &'i Value,
}

impl Found<'_> {
    fn value(&self, part: &Part) -> Value {
        let found =
            self.item.as_map().and_then(|fields| part.from.get(fields)).filter(|value| !value.is_null());
        found.or(part.default.as_ref()).cloned().unwrap_or_default()
    }

    /// What `read` makes of a part that is mapped and there.
    pub(super) fn optional<T>(
        &self,
        part: Option<&Part>,
        read: impl FnOnce(&Part) -> Result<T>,
    ) -> Result<Option<T>> {
        part.filter(|part| !self.value(part).is_null()).map(read).transpose()
    }

    /// A text that is not empty, its prefix taken off; a number counts as its digits.
    pub(super) fn text(&self, name: &str, part: &Part) -> Result<Text> {
        let text = match self.value(part) {
            Value::Text(text) => text,
            Value::Number(number) => Text::from(number.to_string()),
            Value::Null => return Err(poison(name, &format!("there is no field {}", part.from))),
            other => {
                return Err(poison(
                    name,
                    &format!("the field {} is {}, not a string", part.from, other.kind()),
                ));
            }
        };
        let rest = match &part.strip_prefix {
            None => return not_empty(name, part, text),
            Some(prefix) => text.strip_prefix(prefix.as_str()),
        };
        match rest {
            Some(rest) => not_empty(name, part, Text::from(rest)),
            None => {
                let prefix = part.strip_prefix.as_deref().unwrap_or_default();
                Err(poison(name, &format!("the field {} does not begin with {prefix:?}", part.from)))
            }
        }
    }

    /// A whole number from 0 on, or its decimal digits.
    pub(super) fn whole(&self, name: &str, part: &Part) -> Result<u64> {
        if part.strip_prefix.is_none()
            && let Value::Number(number) = self.value(part)
            && let Some(whole) = number.to_u64()
        {
            return Ok(whole);
        }
        let text = self.text(name, part)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(|| {
            poison(name, &format!("the field {} is {text:?}, not a whole number from 0 on", part.from))
        })
    }

    /// A time as [`settings::instant`] reads it.
    pub(super) fn instant(&self, name: &str, part: &Part) -> Result<Timestamp> {
        let value = match self.value(part) {
            number @ Value::Number(_) if part.strip_prefix.is_none() => number,
            _ => Value::Text(self.text(name, part)?),
        };
        settings::instant(&value).ok_or_else(|| {
            let shown = value.to_canonical_json();
            poison(name, &format!("the field {} is {shown}, not {}", part.from, settings::INSTANT))
        })
    }
}

fn not_empty(name: &str, part: &Part, text: Text) -> Result<Text> {
    if text.is_empty() { Err(poison(name, &format!("the field {} is empty", part.from))) } else { Ok(text) }
}
