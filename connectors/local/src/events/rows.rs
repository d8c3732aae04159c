//! Events as rows.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{Event, EventId, EventType, Payload, SchemaVersion, Sequence, StreamId, Timestamp};
use rusqlite::Row;

use crate::database::number;

/// What [`event`] reads, of a table named `e`.
pub(crate) const EVENT_COLUMNS: &str = "e.sequence, e.id, e.type, e.schema_version, e.recorded_at, e.effective_at, \
     e.payload, e.metadata";

/// An event from a row that begins with [`EVENT_COLUMNS`].
pub(crate) fn event(row: &Row<'_>, stream_id: StreamId) -> rusqlite::Result<Event> {
    let recorded_at = row.get(4)?;
    let effective_at = row.get::<_, Option<i64>>(5)?.unwrap_or(recorded_at);
    let payload = |column| -> rusqlite::Result<Payload> {
        let json = row.get_ref(column)?.as_str_or_null()?;
        Ok(Payload::new(json.map(|json| Bytes::copy_from_slice(json.as_bytes())).unwrap_or_default()))
    };
    Ok(Event {
        stream_id,
        sequence: Sequence(number(row.get(0)?)),
        id: EventId::new(row.get::<_, Arc<str>>(1)?),
        event_type: EventType::new(row.get::<_, Arc<str>>(2)?),
        schema_version: SchemaVersion(row.get(3)?),
        recorded_at: Timestamp::from_micros(recorded_at),
        effective_at: Timestamp::from_micros(effective_at),
        payload: payload(6)?,
        metadata: payload(7)?,
    })
}
