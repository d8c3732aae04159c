//! What is sent when there is nothing to send, so that a reader can tell a table at rest from a relay that is gone.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::Timestamp;
use serde_json::json;

use crate::change::HEARTBEAT;

pub(super) const PARTITION_KEY: &str = "foldstream-heartbeat";

/// A record in the form of a change, of no item.
pub(super) fn record(relay: &str, now: Timestamp) -> (Arc<str>, Bytes) {
    let record = json!({
        "eventName": HEARTBEAT,
        "eventSource": "foldstream:relay",
        "relay": relay,
        "dynamodb": {
            "ApproximateCreationDateTime": now.micros() / 1_000,
            "ApproximateCreationDateTimePrecision": "MILLISECOND",
        },
    });
    (PARTITION_KEY.into(), record.to_string().into())
}
