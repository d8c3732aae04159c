//! How a relay works.

use std::time::Duration;

/// Settings of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayOptions {
    /// Under which its rows and leases are kept. All relays of one name share the shards of one table.
    pub name: String,
    /// The Kinesis stream that changes are put into: its name, or its ARN.
    pub stream: String,
    /// How long a shard's stream is left alone at its tip: shorter sees changes sooner. One that is shorter than the source's
    /// time between calls changes nothing.
    pub rest: Duration,
    /// How many calls may be on their way. More carry more records in the time of one answer; of one aggregate there is never
    /// more than one.
    pub calls: usize,
    /// How many bytes may be read and not acknowledged before reading waits; each shard may have a call's answer, 1 MB,
    /// beyond that. More lets other aggregates go on for longer beside one that has many changes.
    pub buffer_bytes: usize,
    /// The largest record, its partition key included, that the stream takes: as it was set there.
    /// <https://docs.aws.amazon.com/streams/latest/dev/large-records.html>
    pub record_bytes: usize,
    /// How often a heartbeat is sent. More often tells sooner that a relay is gone, by a record each.
    pub heartbeat: Duration,
    /// After this time without a sign of life another relay takes the shards of one that is gone. Shorter takes over sooner,
    /// and repeats more when a relay only paused.
    pub lease: Duration,
}

impl RelayOptions {
    pub fn new(name: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            stream: stream.into(),
            rest: Duration::from_millis(250),
            calls: 8,
            buffer_bytes: 32 << 20,
            record_bytes: 1 << 20,
            heartbeat: Duration::from_secs(10),
            lease: Duration::from_secs(20),
        }
    }
}
