//! Changes of a table's items as records: what DynamoDB writes into a Kinesis stream by itself, and a relay does.
//!
//! A record is JSON with `eventName` and, under `dynamodb`, the item's images in DynamoDB's own JSON.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds_gettingstarted.html>

mod plain;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{Error, Event, PayloadReads, Record, Result, Timestamp, ports::Decoder};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What to do about an item that is an event and was changed, or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The event stays as it was when it was inserted.
    Ignore,
    /// Whoever did it has broken a promise: the record is set aside.
    Park,
}

/// What a relay calls a record that says only that it lives, and up to when it has relayed all changes.
pub const HEARTBEAT: &str = "HEARTBEAT";
/// Under which key heartbeats are put.
pub const HEARTBEAT_KEY: &str = "foldstream-heartbeat";

/// Reads an inserted item as a record of its own, in plain JSON. A record that is no change of an item is handed on as
/// it is.
pub struct ChangeDecoder {
    items: Arc<dyn Decoder>,
    on_modify: OnChange,
    on_remove: OnChange,
}

impl ChangeDecoder {
    /// `items` reads an item in plain JSON: which of them are events, and where their parts are.
    pub fn new(items: Arc<dyn Decoder>, on_modify: OnChange, on_remove: OnChange) -> Self {
        Self { items, on_modify, on_remove }
    }

    /// Of a change of an item that is an event. An item that is none is nobody's business.
    fn changed(
        &self,
        on_change: OnChange,
        record: &Record,
        image: Option<&RawValue>,
    ) -> Result<Option<Event>> {
        if on_change == OnChange::Ignore {
            return Ok(None);
        }
        let what = match image {
            Some(image) => match self.items.decode(&inner(record, image, None)?, &())? {
                Some(event) => format!("stream={} sequence={}", event.stream_id, event.sequence.0),
                None => return Ok(None),
            },
            None => format!("partition_key={}", record.partition_key),
        };
        Err(Error::poison(format!("an event's item was changed or removed in its table: {what}")))
    }
}

impl Decoder for ChangeDecoder {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        let change: Change<'_> = serde_json::from_slice(&record.data)
            .map_err(|error| Error::poison(format!("not a JSON object: {error}")))?;
        let (Some(name), Some(images)) = (change.event_name.as_deref(), change.dynamodb) else {
            return self.items.decode(record, reads);
        };
        match name {
            "INSERT" => {
                let Some(image) = images.new_image else {
                    return Err(Error::poison(
                        "the stream of the table does not hold new images: set its view type to NEW_IMAGE or NEW_AND_OLD_IMAGES",
                    ));
                };
                self.items.decode(&inner(record, image, images.created_at())?, reads)
            }
            "MODIFY" => self.changed(self.on_modify, record, images.new_image),
            // Time to live and archiving remove events that were taken long ago.
            "REMOVE" => self.changed(self.on_remove, record, images.old_image),
            HEARTBEAT => Ok(None),
            other => Err(Error::poison(format!(
                "a change of an item that is none of INSERT, MODIFY, REMOVE: eventName={other}"
            ))),
        }
    }

    fn heartbeat(&self, record: &Record) -> Option<Timestamp> {
        if &*record.partition_key != HEARTBEAT_KEY {
            return None;
        }
        let change: Change<'_> = serde_json::from_slice(&record.data).ok()?;
        let is_heartbeat = change.event_name.as_deref() == Some(HEARTBEAT);
        change.dynamodb.filter(|_| is_heartbeat)?.created_at()
    }
}

/// A change of an item, as far as it is looked at.
#[derive(Deserialize)]
struct Change<'r> {
    #[serde(rename = "eventName", borrow)]
    event_name: Option<std::borrow::Cow<'r, str>>,
    #[serde(borrow)]
    dynamodb: Option<Images<'r>>,
}

#[derive(Deserialize)]
struct Images<'r> {
    #[serde(rename = "NewImage", borrow)]
    new_image: Option<&'r RawValue>,
    #[serde(rename = "OldImage", borrow)]
    old_image: Option<&'r RawValue>,
    #[serde(rename = "ApproximateCreationDateTime")]
    created_at: Option<i64>,
    #[serde(rename = "ApproximateCreationDateTimePrecision", borrow)]
    precision: Option<std::borrow::Cow<'r, str>>,
}

impl Images<'_> {
    fn created_at(&self) -> Option<Timestamp> {
        let factor = match self.precision.as_deref() {
            Some("MICROSECOND") => 1,
            Some("MILLISECOND") | None => 1_000,
            Some(_) => return None,
        };
        Some(Timestamp::from_micros(self.created_at?.checked_mul(factor)?))
    }
}

/// An image as a record of its own.
fn inner(record: &Record, image: &RawValue, created_at: Option<Timestamp>) -> Result<Record> {
    let data =
        plain::json(image).map_err(|error| Error::poison(format!("not an item of DynamoDB: {error}")))?;
    Ok(Record {
        data: Bytes::from(data),
        arrived_at: created_at.unwrap_or(record.arrived_at),
        ..record.clone()
    })
}
