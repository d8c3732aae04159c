//! Envelopes as [`Event::to_envelope`] writes them, read in one pass.
//!
//! Nothing is refused here: what is not exactly of that form, and without escapes in the event's own texts, is left to
//! the general way, which knows what is wrong with it.

use bytes::Bytes;

use super::{Event, EventId, EventType, Payload, PayloadReads, SchemaVersion};
use crate::{
    stream::{Sequence, StreamId},
    time::Timestamp,
    value::{FieldMask, Strict, Value, masked_value},
};

#[cfg(test)]
mod tests;

/// The event in an envelope of the canonical form; none where it has another form, or is no envelope.
pub(super) fn read(bytes: &Bytes, reads: &dyn PayloadReads) -> Option<Event> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut fields = Fields { bytes, text, passing: Strict::new(text) };
    let stream_id = StreamId::new(fields.text_of(r#"{"stream_id":"#)?);
    let sequence = Sequence(fields.number_of(r#","sequence":"#)?);
    let id = EventId::new(fields.text_of(r#","id":"#)?);
    let event_type = EventType::new(fields.text_of(r#","type":"#)?);
    let schema_version = SchemaVersion(fields.number_of(r#","schema_version":"#)?.try_into().ok()?);
    let recorded_at = Timestamp::parse(fields.text_of(r#","recorded_at":"#)?).ok()?;
    let effective_at = match fields.passing.skip(r#","effective_at":"#) {
        true => Timestamp::parse(fields.text()?).ok()?,
        false => recorded_at,
    };
    let payload = fields.json_of(r#","payload":"#, reads.of(&event_type))?;
    let metadata = fields.json_of(r#","metadata":"#, None)?;
    let is_whole = fields.passing.skip("}") && fields.passing.is_at_end();
    is_whole.then_some(Event {
        stream_id,
        sequence,
        id,
        event_type,
        schema_version,
        recorded_at,
        effective_at,
        payload,
        metadata,
    })
}

struct Fields<'e> {
    bytes: &'e Bytes,
    text: &'e str,
    passing: Strict<'e>,
}

impl<'e> Fields<'e> {
    fn text_of(&mut self, name: &str) -> Option<&'e str> {
        if self.passing.skip(name) { self.text() } else { None }
    }

    fn text(&mut self) -> Option<&'e str> {
        let begin = self.passing.at();
        match self.passing.string()? {
            true => None,
            false => self.text.get(begin + 1..self.passing.at() - 1),
        }
    }

    fn number_of(&mut self, name: &str) -> Option<u64> {
        if !self.passing.skip(name) {
            return None;
        }
        let begin = self.passing.at();
        self.passing.digits();
        let digits = self.text.get(begin..self.passing.at())?;
        digits.parse().ok().filter(|number| *number > 0 && !digits.starts_with('0'))
    }

    /// Empty where the field is not there.
    fn json_of(&mut self, name: &str, reads: Option<&FieldMask>) -> Option<Payload> {
        if !self.passing.skip(name) {
            return Some(Payload::default());
        }
        let begin = self.passing.at();
        let value = match reads.filter(|mask| **mask != FieldMask::NONE) {
            Some(mask) => masked_value(&mut self.passing, mask, 0)?,
            None => self.passing.value().map(|()| Value::Null)?,
        };
        let json = begin..self.passing.at();
        let is_there = self.text.get(json.clone()) != Some("null");
        is_there.then(|| Payload { value, ..Payload::new(self.bytes.slice(json)) })
    }
}
