//! The numbers of a worker.

use std::time::Duration;

/// Numbers only; what does the work is in [`crate::assembly`]. Each says what it trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Sequential tasks of each projection. More use more cores, and make the writes of a flush smaller.
    pub lanes: usize,
    /// Records of one read. More cost memory and latency, fewer cost round trips.
    pub batch_records: usize,
    /// Bytes of one read.
    pub batch_bytes: usize,
    /// Bytes of events that the process holds at once. More hide pauses of a sink, fewer bound memory.
    pub bytes_in_flight: usize,
    /// Bytes that one shard may be read ahead of what is settled.
    pub read_ahead_bytes: usize,
    /// Bytes of early events that a line keeps in memory while they wait for a missing one. What is beyond waits in the
    /// checkpoint store, and costs the memory of two names each, some 300 bytes, until its gap is closed. More spare the
    /// writes and reads of those rows.
    pub early_bytes: usize,
    /// Early events that wait in one shard, in memory or not; with more of them its projections stop. More bear a longer
    /// loss in the source, and cost memory and larger checkpoints meanwhile.
    pub early_events: usize,
    /// How long changes of documents are gathered before they are written. Longer writes a busy document less often,
    /// and shows it later. Zero writes as soon as the write before is done.
    pub flush_interval: Duration,
    /// Documents of one write. More are faster, and are repeated together when a write fails.
    pub flush_documents: usize,
    /// Bytes of documents that a projection's lanes keep, and of states that a reading keeps, to avoid reading back.
    pub cache_bytes: usize,
    /// How often checkpoints are written. Longer writes less, and repeats more after a crash.
    pub checkpoint_interval: Duration,
    /// How long a read waits at the end of a shard before it returns with nothing.
    pub poll_interval: Duration,
    /// How often decisions of operators are looked for.
    pub control_interval: Duration,
    /// How often a source is asked for new shards, besides whenever one has ended. Longer asks less, and sees later what
    /// was added beside shards that are still open.
    pub discovery_interval: Duration,
    /// How often cuts and journal entries are removed that nobody needs any more. Shorter keeps the store smaller, and
    /// reads it more often.
    pub trim_interval: Duration,
    /// How often a source is asked for how long it still keeps what has not settled. Shorter sees sooner that this is too short,
    /// and takes two or three calls of what a shard gives each time.
    pub keeping_interval: Duration,
    /// For how long a shard stays with a worker that says nothing. Shorter hands the work of a crashed worker on sooner,
    /// and writes more often that all others are there. It is to be the same for a whole fleet.
    pub lease_duration: Duration,
    /// For how long nobody renews the leases of another application before it counts as stopped and is taken over. Longer is sure
    /// of applications whose leases last longer, as those are renewed at least three times while they last; shorter waits less,
    /// once.
    pub takeover_patience: Duration,
    /// For how long a worker that has taken over from one that ended without leaving tries what it does, with a durable mark
    /// before it, to find what ends processes. Longer finds it where it takes longer to happen again, and is slower for
    /// longer after a crash. Zero never tries.
    pub trial: Duration,
    /// How long one projection may hold up the others of a shard before it goes on by itself, and how long a stop takes
    /// at most while something hangs. Longer reads less again, shorter lets a hang be felt less.
    pub patience: Duration,
    /// How many events may be parked of a projection before it stops. More let it go on for longer past a mistake in it,
    /// and make its redrive longer.
    pub parked_events: usize,
    /// How long a gap lasts before the event store is asked for what is missing.
    pub gap_patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lanes: 4,
            batch_records: 500,
            batch_bytes: 4 << 20,
            bytes_in_flight: 64 << 20,
            read_ahead_bytes: 16 << 20,
            early_bytes: 8 << 20,
            early_events: 100_000,
            flush_interval: Duration::from_millis(20),
            flush_documents: 1_000,
            cache_bytes: 64 << 20,
            checkpoint_interval: Duration::from_secs(1),
            poll_interval: Duration::from_millis(200),
            control_interval: Duration::from_millis(500),
            discovery_interval: Duration::from_secs(30),
            trim_interval: Duration::from_secs(60),
            keeping_interval: Duration::from_secs(60),
            lease_duration: Duration::from_secs(4),
            takeover_patience: Duration::from_secs(20),
            trial: Duration::from_secs(60),
            patience: Duration::from_secs(5),
            parked_events: 10_000,
            gap_patience: Duration::from_millis(500),
        }
    }
}
