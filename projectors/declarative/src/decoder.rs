//! Raw records to events, by a mapping that says where an event's parts are found.

mod part;
mod payload;
mod unpack;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use foldstream_config::settings::EventMapping;
use foldstream_model::ports::Decoder;
use foldstream_model::{
    Error, Event, EventId, EventType, FieldMask, PayloadReads, Record, Result, SchemaVersion, Sequence,
    StreamId, Timestamp, Value,
};
use std::cell::Cell;

use crate::expression::{Expression, Scope};
use part::Found;

/// Reads records that are JSON objects.
pub struct MappedDecoder {
    mapping: EventMapping,
    include: Option<Expression>,
    /// what is parsed of a record; payload and metadata are not, where they can stay as they were written
    mask: FieldMask,
}

/// An event as a record holds it: what the mapping does not name is absent.
#[derive(Debug, Clone)]
pub struct Parts {
    pub stream_id: StreamId,
    pub sequence: Option<Sequence>,
    pub id: Option<EventId>,
    pub event_type: EventType,
    pub schema_version: SchemaVersion,
    pub recorded_at: Option<Timestamp>,
    pub effective_at: Option<Timestamp>,
    /// JSON; empty where there is none
    pub payload: Bytes,
    /// JSON; empty where there is none
    pub metadata: Bytes,
}

impl MappedDecoder {
    /// Takes every item for an event.
    pub fn of_all(mapping: EventMapping) -> MappedDecoder {
        Self::new(mapping, None)
    }

    pub(crate) fn new(mapping: EventMapping, include: Option<Expression>) -> MappedDecoder {
        let mut mask = include.as_ref().map(|include| include.references().item).unwrap_or_default();
        for part in part::parts(&mapping) {
            mask.insert(&part.from);
        }
        for payload in [Some(&mapping.payload), mapping.metadata.as_ref()].into_iter().flatten() {
            if let Some(from) = payload::text_field(payload) {
                mask.insert(from);
            }
        }
        MappedDecoder { mapping, include, mask }
    }

    /// The parts of the event in a record; none if `include` leaves the record out.
    /// `Poison`: it should be an event and is none.
    pub fn parts(&self, record: &Bytes) -> Result<Option<Parts>> {
        let item =
            Value::parse_masked(record, &self.mask).map_err(|error| poison("record", &error.to_string()))?;
        if item.as_map().is_none() {
            return Err(poison("record", &format!("it is {}, not an object", item.kind())));
        }
        if !self.includes(&item)? {
            return Ok(None);
        }
        let mapping = &self.mapping;
        let found = Found { item: &item };
        let sequence =
            mapping.sequence.as_ref().map(|sequence| found.whole("sequence", &sequence.part)).transpose()?;
        let version = mapping
            .schema_version
            .as_ref()
            .map(|version| found.whole("schema_version", version))
            .transpose()?;
        let parts = Parts {
            stream_id: StreamId::new(found.text("stream_id", &mapping.stream_id)?),
            sequence: sequence.map(Sequence),
            id: found.optional(mapping.id.as_ref(), |id| found.text("id", id).map(EventId::new))?,
            event_type: EventType::new(found.text("type", &mapping.event_type)?),
            schema_version: schema_version(version)?,
            recorded_at: found
                .optional(mapping.recorded_at.as_ref(), |part| found.instant("recorded_at", part))?,
            effective_at: found
                .optional(mapping.effective_at.as_ref(), |part| found.instant("effective_at", part))?,
            payload: payload::read(record, &item, mapping, "payload", &mapping.payload)?,
            metadata: match &mapping.metadata {
                Some(metadata) => payload::read(record, &item, mapping, "metadata", metadata)?,
                None => Bytes::new(),
            },
        };
        Ok(Some(parts))
    }

    fn includes(&self, item: &Value) -> Result<bool> {
        let Some(include) = &self.include else { return Ok(true) };
        let steps = Cell::new(0);
        let scope = Scope { item, ..Scope::empty(&steps) };
        include.is_true(&scope).map_err(|fault| poison("include", &fault.to_string()))
    }
}

impl Decoder for MappedDecoder {
    fn decode(&self, record: &Record, _reads: &dyn PayloadReads) -> Result<Option<Event>> {
        let Some(parts) = self.parts(&record.data)? else { return Ok(None) };
        let Some(sequence) = parts.sequence else {
            let message =
                "the source's `event` names no `sequence`, without which events can only be imported";
            return Err(Error::invalid(message));
        };
        let recorded_at = parts.recorded_at.unwrap_or(record.arrived_at);
        let id = parts.id.unwrap_or_else(|| EventId::new(format!("{}/{sequence}", parts.stream_id)));
        Ok(Some(Event {
            stream_id: parts.stream_id,
            sequence,
            id,
            event_type: parts.event_type,
            schema_version: parts.schema_version,
            recorded_at,
            effective_at: parts.effective_at.unwrap_or(recorded_at),
            payload: foldstream_model::Payload::new(parts.payload),
            metadata: foldstream_model::Payload::new(parts.metadata),
        }))
    }
}

fn schema_version(version: Option<u64>) -> Result<SchemaVersion> {
    match version.map(u32::try_from) {
        None => Ok(SchemaVersion::default()),
        Some(Ok(version)) if version > 0 => Ok(SchemaVersion(version)),
        _ => Err(poison("schema_version", "it is not a whole number from 1 on")),
    }
}

fn poison(part: &str, what: &str) -> Error {
    Error::poison(format!("not an event: part={part}: {what}"))
}
