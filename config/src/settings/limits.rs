use std::time::Duration;

/// The numbers of `limits:`; each says what it trades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sequential tasks that project and write. More use more cores, and make the writes of a flush smaller.
    pub lanes: u32,
    /// Records of one read of a shard. More cost memory and latency, fewer cost round trips.
    pub batch_records: u32,
    /// Bytes of payload that the process holds at once, over all shards. More hide pauses of a sink, fewer
    /// bound memory.
    pub bytes_in_flight: u64,
    /// Bytes that one shard may be read ahead of what is in the documents. More feed lanes that work at different
    /// speeds, fewer keep one shard from taking the whole of `bytes_in_flight`.
    pub read_ahead_bytes: u64,
    /// Bytes of early events that a line keeps in memory while they wait for a missing one. What is beyond waits in the
    /// checkpoint store, and costs the memory of two names each, some 300 bytes, until its gap is closed.
    pub early_bytes: u64,
    /// How long changes of documents are gathered before they are written. Longer writes a busy document less
    /// often, and shows it later. Zero writes at once.
    pub flush_interval: Duration,
    /// Documents of one write. More are faster, and are repeated together when a write fails.
    pub flush_documents: u32,
    /// How often progress is saved. Longer writes less, and repeats more after a crash.
    pub checkpoint_interval: Duration,
    /// Bytes of documents and states that lanes keep to avoid reading them back.
    pub cache_bytes: u64,
    /// How many events may be parked of a projection before it stops. More let it go on for longer past a mistake in
    /// it, and make its redrive longer.
    pub parked_events: u32,
    /// How long to wait before a source at its end is asked again. Longer costs less at rest, and shows
    /// events later.
    pub poll_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lanes: 4,
            batch_records: 500,
            bytes_in_flight: 64 << 20,
            read_ahead_bytes: 16 << 20,
            early_bytes: 8 << 20,
            flush_interval: Duration::from_millis(20),
            flush_documents: 1_000,
            checkpoint_interval: Duration::from_secs(1),
            cache_bytes: 64 << 20,
            parked_events: 10_000,
            poll_interval: Duration::from_millis(100),
        }
    }
}
