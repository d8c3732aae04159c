//! What is sent beside changes, so that a reader can tell a table at rest from a relay that is gone, and how old what it reads
//! is since it was stored.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::Timestamp;
use serde_json::json;

use crate::change::{HEARTBEAT, HEARTBEAT_KEY};

/// A record in the form of a change, of no item: every change that this relay is to move and that was made before
/// `complete_until` is in the stream.
pub(super) fn record(relay: &str, complete_until: Timestamp) -> (Arc<str>, Bytes) {
    let record = json!({
        "eventName": HEARTBEAT,
        "eventSource": "foldstream:relay",
        "relay": relay,
        "dynamodb": {
            "ApproximateCreationDateTime": complete_until.micros() / 1_000,
            "ApproximateCreationDateTimePrecision": "MILLISECOND",
        },
    });
    (HEARTBEAT_KEY.into(), record.to_string().into())
}
