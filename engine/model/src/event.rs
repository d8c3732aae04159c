//! Events: facts of streams.

mod canonical;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    stream::{Sequence, StreamId},
    time::Timestamp,
    value::{FieldMask, Value},
};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($crate::Text);

        impl $name {
            pub fn new(text: impl Into<$crate::Text>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, shared.
            pub fn text(&self) -> &$crate::Text {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use name;

name!(
    /// What names one event for ever; ties are broken by it.
    EventId
);
name!(
    /// The type of an event, `OrderPlaced`.
    EventType
);

/// The version of an event's schema; upcasters lift lower ones. 1 where nothing says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(pub u32);

impl Default for SchemaVersion {
    fn default() -> Self {
        Self(1)
    }
}

/// JSON as it was written, and those of its fields that somebody reads.
#[derive(Clone, Default)]
pub struct Payload {
    /// The bytes as they were stored; empty where there is none.
    pub raw: Bytes,
    /// What [`Payload::parse`] took out of them; null before.
    pub value: Value,
    /// Why nobody can read it: poison for whoever has to.
    pub unreadable: Option<Box<Error>>,
}

impl Payload {
    pub fn new(raw: Bytes) -> Self {
        Self { raw, value: Value::Null, unreadable: None }
    }

    /// Nobody can read it, for this reason.
    pub fn set_unreadable(&mut self, why: Error) {
        self.value = Value::Null;
        self.unreadable = Some(Box::new(why));
    }

    /// Poison when nobody can read it.
    pub fn refuse_unreadable(&self) -> Result<()> {
        match &self.unreadable {
            Some(why) => Err(Error::clone(why)),
            None => Ok(()),
        }
    }

    /// Reads the fields that the mask names; with an empty mask the bytes are not looked at. Poison when they are no
    /// JSON that the value model can hold.
    pub fn parse(&mut self, mask: &FieldMask) -> Result<()> {
        if self.raw.is_empty() || *mask == FieldMask::NONE {
            return Ok(());
        }
        match Value::parse_masked(&self.raw, mask) {
            Ok(value) => self.value = value,
            Err(error) => return Err(Error::poison(error.to_string())),
        }
        Ok(())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

/// Says of an event, while it is decoded, which fields of its payload will be read.
pub trait PayloadReads {
    /// None: nobody knows yet, or nobody reads any.
    fn of(&self, event_type: &EventType) -> Option<&FieldMask>;
}

/// Payloads stay as they are.
impl PayloadReads for () {
    fn of(&self, _event_type: &EventType) -> Option<&FieldMask> {
        None
    }
}

/// A fact of one stream.
#[derive(Debug, Clone)]
pub struct Event {
    pub stream_id: StreamId,
    pub sequence: Sequence,
    pub id: EventId,
    pub event_type: EventType,
    pub schema_version: SchemaVersion,
    /// When it was stored.
    pub recorded_at: Timestamp,
    /// When it was true; `recorded_at` unless something says otherwise.
    pub effective_at: Timestamp,
    pub payload: Payload,
    pub metadata: Payload,
}

impl Event {
    /// What it weighs in the bounds on bytes in flight.
    pub fn size_in_bytes(&self) -> usize {
        size_of::<Self>() + self.payload.raw.len() + self.metadata.raw.len() + self.stream_id.as_str().len()
    }

    /// The envelope: the form in which the embedded event store, its log, journals and cuts keep an event.
    ///
    /// `{"stream_id", "sequence", "id", "type", "schema_version", "recorded_at", "effective_at", "payload", "metadata"}`;
    /// an absent payload or metadata is left out, and so is an `effective_at` that equals `recorded_at`.
    pub fn to_envelope(&self) -> Result<Vec<u8>> {
        let raw = |payload: &'_ Payload| -> Result<Option<Box<RawValue>>> {
            if payload.raw.is_empty() {
                return Ok(None);
            }
            match serde_json::from_slice(&payload.raw) {
                Ok(raw) => Ok(Some(raw)),
                Err(error) => {
                    Err(Error::invalid(format!("payload is not JSON: event={} ({error})", self.id)))
                }
            }
        };
        let (payload, metadata) = (raw(&self.payload)?, raw(&self.metadata)?);
        let envelope = Envelope {
            stream_id: self.stream_id.as_str().into(),
            sequence: self.sequence,
            id: self.id.as_str().into(),
            event_type: self.event_type.as_str().into(),
            schema_version: self.schema_version,
            recorded_at: self.recorded_at,
            effective_at: (self.effective_at != self.recorded_at).then_some(self.effective_at),
            payload: payload.as_deref(),
            metadata: metadata.as_deref(),
        };
        serde_json::to_vec(&envelope).map_err(|error| Error::internal(error.to_string()))
    }

    /// Reads an envelope; payload and metadata stay slices of `bytes`. Poison when it is no envelope.
    pub fn from_envelope(bytes: &Bytes) -> Result<Self> {
        Self::read_envelope(bytes, &())
    }

    /// Reads an envelope and, where that takes no second look at it, what will be read of its payload; otherwise that is
    /// left to [`Payload::parse`], as are mistakes in it.
    pub fn read_envelope(bytes: &Bytes, reads: &dyn PayloadReads) -> Result<Self> {
        canonical::read(bytes, reads).map_or_else(|| Self::from_any_envelope(bytes), Ok)
    }

    fn from_any_envelope(bytes: &Bytes) -> Result<Self> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(bytes).map_err(|error| Error::poison(format!("not an event: {error}")))?;
        let slice = |raw: Option<&RawValue>| {
            Payload::new(raw.map(|raw| bytes.slice_ref(raw.get().as_bytes())).unwrap_or_default())
        };
        Ok(Self {
            payload: slice(envelope.payload),
            metadata: slice(envelope.metadata),
            stream_id: StreamId::new(&*envelope.stream_id),
            sequence: envelope.sequence,
            id: EventId::new(&*envelope.id),
            event_type: EventType::new(&*envelope.event_type),
            schema_version: envelope.schema_version,
            recorded_at: envelope.recorded_at,
            effective_at: envelope.effective_at.unwrap_or(envelope.recorded_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    stream_id: std::borrow::Cow<'a, str>,
    sequence: Sequence,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    event_type: std::borrow::Cow<'a, str>,
    #[serde(default)]
    schema_version: SchemaVersion,
    recorded_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effective_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_back_as_it_was() {
        let event = Event {
            stream_id: StreamId::new("o-\"1\""),
            sequence: Sequence(3),
            id: EventId::new("e"),
            event_type: EventType::new("OrderPlaced"),
            schema_version: SchemaVersion(2),
            recorded_at: Timestamp::from_seconds(5),
            effective_at: Timestamp::from_seconds(4),
            payload: Payload::new(Bytes::from_static(b"{\"price\":4.50}")),
            metadata: Payload::default(),
        };
        let bytes = Bytes::from(event.to_envelope().unwrap());
        assert_eq!(format!("{:?}", Event::from_envelope(&bytes).unwrap()), format!("{event:?}"));
    }

    #[test]
    fn what_is_no_envelope_is_poison() {
        let error = Event::from_envelope(&Bytes::from_static(b"{\"stream_id\":1}")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Poison);
    }
}
