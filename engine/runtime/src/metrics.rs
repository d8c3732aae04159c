//! The names, labels and label values of everything that the line records.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::invariants::Held;

const RECORDS_READ: &str = "foldstream_records_read_total";
const EVENTS_RELEASED: &str = "foldstream_events_released_total";
const EVENTS_EARLY: &str = "foldstream_events_early_total";
const EVENTS_DUPLICATE: &str = "foldstream_events_duplicate_total";
const EVENTS_UNKNOWN_TYPE: &str = "foldstream_events_unknown_type_total";
const EVENTS_NEWER_SCHEMA: &str = "foldstream_events_newer_schema_total";
const TOUCHES: &str = "foldstream_touches_total";
const DOCUMENTS_WRITTEN: &str = "foldstream_documents_written_total";
const DOCUMENT_CONFLICTS: &str = "foldstream_document_conflicts_total";
const WRITE_SECONDS: &str = "foldstream_document_write_seconds";
const LAG_SECONDS: &str = "foldstream_projection_lag_seconds";
const HEARTBEAT_AGE_SECONDS: &str = "foldstream_heartbeat_age_seconds";
const RELAY_LAG_SECONDS: &str = "foldstream_relay_lag_seconds";
const RELAY_SHARDS: &str = "foldstream_relay_shards";
const RELAY_RECORDS: &str = "foldstream_relay_records_total";
const RELAY_THROTTLED: &str = "foldstream_relay_throttled_total";
const RETENTION_LEFT_SECONDS: &str = "foldstream_retention_left_seconds";
const PROJECTION_STOPPED: &str = "foldstream_projection_stopped";
const BYTES_IN_FLIGHT: &str = "foldstream_bytes_in_flight";
const GAPS: &str = "foldstream_gaps";
const CUT_ROWS_REMOVED: &str = "foldstream_cut_rows_removed_total";
const ENTRIES_REMOVED: &str = "foldstream_journal_entries_removed_total";
const LEASES_HELD: &str = "foldstream_leases_held";
const LEASES_UNCLAIMED: &str = "foldstream_leases_unclaimed";
const PARKED: &str = "foldstream_events_parked_total";
const PARKED_NOW: &str = "foldstream_events_parked";
const DISCARDED: &str = "foldstream_events_discarded_total";
const LATE: &str = "foldstream_events_late_total";
const GUILTY: &str = "foldstream_guilty_calls_total";
pub const VIOLATIONS: &str = "foldstream_invariant_violations_total";

const SOURCE: &str = "source";
const SHARD: &str = "shard";
const PROJECTION: &str = "projection";
const READER: &str = "reader";
const EVENT_TYPE: &str = "type";
const INVARIANT: &str = "invariant";
const WHAT: &str = "what";

/// Which of a metric's values, under all of its labels, an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    Highest,
    Lowest,
    Sum,
}

/// What alarms are about.
pub const FOR_ALARMS: [(&str, Unit, Together); 8] = [
    (LAG_SECONDS, Unit::Seconds, Together::Highest),
    (RETENTION_LEFT_SECONDS, Unit::Seconds, Together::Lowest),
    (HEARTBEAT_AGE_SECONDS, Unit::Seconds, Together::Highest),
    (PROJECTION_STOPPED, Unit::Count, Together::Sum),
    (PARKED_NOW, Unit::Count, Together::Sum),
    (LEASES_HELD, Unit::Count, Together::Sum),
    (LEASES_UNCLAIMED, Unit::Count, Together::Sum),
    (RELAY_LAG_SECONDS, Unit::Seconds, Together::Highest),
];

/// Says of each what it counts, for whoever scrapes them.
pub fn describe() {
    describe_counters();
    describe_gauges();
}

fn describe_counters() {
    let count = Unit::Count;
    describe_counter!(RECORDS_READ, count, "Records read from shards, by the reader that read them");
    describe_counter!(
        EVENTS_RELEASED,
        count,
        "Events passed on to projections in the order of their streams"
    );
    describe_counter!(
        EVENTS_EARLY,
        count,
        "Events that came before an earlier one of their stream, and wait for it"
    );
    describe_counter!(EVENTS_DUPLICATE, count, "Events that had come before and were dropped");
    describe_counter!(EVENTS_UNKNOWN_TYPE, count, "Events whose type the source's `types` does not list");
    describe_counter!(EVENTS_NEWER_SCHEMA, count, "Events newer than upcasters lead to, as often as read");
    describe_counter!(TOUCHES, count, "Effects of one event on one document");
    describe_counter!(DOCUMENTS_WRITTEN, count, "Documents written to the document store");
    describe_counter!(DOCUMENT_CONFLICTS, count, "Writes that found the document changed and were done anew");
    describe_counter!(
        PARKED,
        count,
        "Effects of one event on one document that were parked; those that a crash repeats count again"
    );
    describe_counter!(
        DISCARDED,
        count,
        "Effects of one event on one document that were discarded by `on_failure: discard`"
    );
    describe_counter!(LATE, count, "Events that came too late for their place in a `global` projection");
    describe_counter!(
        CUT_ROWS_REMOVED,
        count,
        "Rows of saved order state removed as older than the source keeps"
    );
    describe_counter!(ENTRIES_REMOVED, count, "Entries of journals removed as older than the source keeps");
    describe_counter!(
        GUILTY,
        count,
        "Times that a record or an event was not handed to users' code, as that had ended one process after the other"
    );
    describe_counter!(
        VIOLATIONS,
        count,
        "Times that something was written which must never be; each is in the log, and a mistake of Foldstream's"
    );
    describe_counter!(RELAY_RECORDS, count, "Records that this relay has put into its stream");
    describe_counter!(
        RELAY_THROTTLED,
        count,
        "Calls that were throttled: of the table's stream, by other readers of it most likely, and of the stream that is written"
    );
}

fn describe_gauges() {
    let count = Unit::Count;
    describe_gauge!(PARKED_NOW, count, "Effects of one event on one document that are parked now");
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "How long one write of documents took");
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "Seconds since the oldest event was recorded that is not in a projection's documents, as `foldstream status` says; 0 when all are"
    );
    describe_gauge!(
        HEARTBEAT_AGE_SECONDS,
        Unit::Seconds,
        "Seconds since the instant up to which, as the newest heartbeat that was read of a source says, everything stored is in it; of sources that had a heartbeat"
    );
    describe_gauge!(
        RELAY_LAG_SECONDS,
        Unit::Seconds,
        "Seconds since the oldest change was made that this relay has not put into its stream, of the shards that it has"
    );
    describe_gauge!(RELAY_SHARDS, count, "Shards of the table's stream that this relay works on");
    describe_gauge!(
        RETENTION_LEFT_SECONDS,
        Unit::Seconds,
        "Seconds until the source trims the oldest record of a shard that some registered projection has not settled, running or not; all of its retention where nothing is unread; NaN where another worker has the shard now"
    );
    describe_gauge!(
        PROJECTION_STOPPED,
        count,
        "1 for each shard in which a projection has stopped at an event, 0 when it goes on"
    );
    describe_gauge!(
        BYTES_IN_FLIGHT,
        Unit::Bytes,
        "Bytes of events that were read and are not in documents yet"
    );
    describe_gauge!(LEASES_HELD, count, "Shards and merges that this worker works on");
    describe_gauge!(LEASES_UNCLAIMED, count, "Shards and merges that no worker works on");
    describe_gauge!(GAPS, count, "Streams of a shard that wait for a missing event");
}

pub fn records_read(source: &str, shard: &str, reader: &'static str, records: usize) {
    counter!(RECORDS_READ, SOURCE => source.to_owned(), SHARD => shard.to_owned(), READER => reader)
        .increment(records as u64);
}

pub fn ordered(source: &str, released: usize, early: usize, duplicates: usize) {
    counter!(EVENTS_RELEASED, SOURCE => source.to_owned()).increment(released as u64);
    if early > 0 {
        counter!(EVENTS_EARLY, SOURCE => source.to_owned()).increment(early as u64);
    }
    if duplicates > 0 {
        counter!(EVENTS_DUPLICATE, SOURCE => source.to_owned()).increment(duplicates as u64);
    }
}

pub fn unknown_type(source: &str, event_type: &str) {
    counter!(EVENTS_UNKNOWN_TYPE, SOURCE => source.to_owned(), EVENT_TYPE => event_type.to_owned())
        .increment(1);
}

pub fn newer_schema(source: &str, event_type: &str) {
    counter!(EVENTS_NEWER_SCHEMA, SOURCE => source.to_owned(), EVENT_TYPE => event_type.to_owned())
        .increment(1);
}

pub fn touches(projection: &str, touches: usize) {
    counter!(TOUCHES, PROJECTION => projection.to_owned()).increment(touches as u64);
}

pub fn written(projection: &str, documents: usize, conflicts: usize, took: Duration) {
    counter!(DOCUMENTS_WRITTEN, PROJECTION => projection.to_owned()).increment(documents as u64);
    if conflicts > 0 {
        counter!(DOCUMENT_CONFLICTS, PROJECTION => projection.to_owned()).increment(conflicts as u64);
    }
    histogram!(WRITE_SECONDS, PROJECTION => projection.to_owned()).record(took);
}

/// Whoever serves metrics sets this, as only stores know what is not read yet.
pub fn lag(projection: &str, micros: u64) {
    let seconds = Duration::from_micros(micros).as_secs_f64();
    gauge!(LAG_SECONDS, PROJECTION => projection.to_owned()).set(seconds);
}

/// Whoever serves metrics sets this, as any worker of a fleet may have read the heartbeat.
pub fn heartbeat_age(source: &str, micros: u64) {
    let seconds = Duration::from_micros(micros).as_secs_f64();
    gauge!(HEARTBEAT_AGE_SECONDS, SOURCE => source.to_owned()).set(seconds);
}

/// What a relay has come to since it began. `lag`: none where that is not known yet.
pub fn relay(source: &str, shards: usize, lag: Option<Duration>, records: u64) {
    gauge!(RELAY_SHARDS, SOURCE => source.to_owned()).set(shards as f64);
    let seconds = lag.map_or(f64::NAN, |lag| lag.as_secs_f64());
    gauge!(RELAY_LAG_SECONDS, SOURCE => source.to_owned()).set(seconds);
    counter!(RELAY_RECORDS, SOURCE => source.to_owned()).absolute(records);
}

/// `what`: `read` of the table's stream, or `put` into the other.
pub fn relay_throttled(source: &str, what: &'static str, calls: u64) {
    counter!(RELAY_THROTTLED, SOURCE => source.to_owned(), WHAT => what).absolute(calls);
}

/// `is_so` false: it goes on.
pub fn stopped(projection: &str, shard: &str, is_so: bool) {
    gauge!(PROJECTION_STOPPED, PROJECTION => projection.to_owned(), SHARD => shard.to_owned())
        .set(u32::from(is_so));
}

/// None: another worker says so from now on.
pub fn retention_left(source: &str, shard: &str, left: Option<Duration>) {
    let seconds = left.map_or(f64::NAN, |left| left.as_secs_f64());
    gauge!(RETENTION_LEFT_SECONDS, SOURCE => source.to_owned(), SHARD => shard.to_owned()).set(seconds);
}

pub fn bytes_in_flight(bytes: usize) {
    gauge!(BYTES_IN_FLIGHT).set(bytes as f64);
}

pub fn gaps(source: &str, shard: &str, gaps: usize) {
    gauge!(GAPS, SOURCE => source.to_owned(), SHARD => shard.to_owned()).set(gaps as f64);
}

pub fn late(projection: &str, events: usize) {
    counter!(LATE, PROJECTION => projection.to_owned()).increment(events as u64);
}

pub fn leases(source: &str, held: usize, unclaimed: usize) {
    gauge!(LEASES_HELD, SOURCE => source.to_owned()).set(held as f64);
    gauge!(LEASES_UNCLAIMED, SOURCE => source.to_owned()).set(unclaimed as f64);
}

/// What is broken is counted and said loudly, and a build with debug assertions ends.
pub fn watch(invariant: &'static str, held: Held) {
    let Err(broken) = held else { return };
    counter!(VIOLATIONS, INVARIANT => invariant).increment(1);
    tracing::error!(invariant, "{broken}; please report this with the log around it");
    debug_assert!(false, "{invariant}: {broken}");
}

pub fn guilty() {
    counter!(GUILTY).increment(1);
}

pub fn removed(source: &str, cut_rows: usize, entries: usize) {
    counter!(CUT_ROWS_REMOVED, SOURCE => source.to_owned()).increment(cut_rows as u64);
    counter!(ENTRIES_REMOVED, SOURCE => source.to_owned()).increment(entries as u64);
}

pub fn parked(projection: &str, events: usize) {
    counter!(PARKED, PROJECTION => projection.to_owned()).increment(events as u64);
}

/// Whoever serves metrics sets this, as others redrive.
pub fn parked_now(projection: &str, events: u64) {
    gauge!(PARKED_NOW, PROJECTION => projection.to_owned()).set(events as f64);
}

pub fn discarded(projection: &str, events: usize) {
    counter!(DISCARDED, PROJECTION => projection.to_owned()).increment(events as u64);
}
