//! The names, labels and label values of everything that the line records.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::invariants::Held;

const RECORDS_READ: &str = "foldstream_records_read_total";
const EVENTS_RELEASED: &str = "foldstream_events_released_total";
const EVENTS_EARLY: &str = "foldstream_events_early_total";
const EVENTS_DUPLICATE: &str = "foldstream_events_duplicate_total";
const EVENTS_UNKNOWN_TYPE: &str = "foldstream_events_unknown_type_total";
const TOUCHES: &str = "foldstream_touches_total";
const DOCUMENTS_WRITTEN: &str = "foldstream_documents_written_total";
const DOCUMENT_CONFLICTS: &str = "foldstream_document_conflicts_total";
const WRITE_SECONDS: &str = "foldstream_document_write_seconds";
const LAG_SECONDS: &str = "foldstream_projection_lag_seconds";
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

/// Says of each what it counts, for whoever scrapes them.
pub fn describe() {
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
    describe_counter!(TOUCHES, count, "Effects of one event on one document");
    describe_counter!(DOCUMENTS_WRITTEN, count, "Documents written to the document store");
    describe_counter!(DOCUMENT_CONFLICTS, count, "Writes that found the document changed and were done anew");
    describe_counter!(
        PARKED,
        count,
        "Effects of one event on one document that were parked; those that a crash repeats count again"
    );
    describe_gauge!(PARKED_NOW, count, "Effects of one event on one document that are parked now");
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
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "How long one write of documents took");
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "Seconds since the oldest event was recorded that is not in a projection's documents, as `foldstream status` says; 0 when all are"
    );
    describe_gauge!(
        PROJECTION_STOPPED,
        count,
        "1 for each shard in which a projection has stopped at an event"
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

pub fn stopped(projection: &str, shard: &str) {
    gauge!(PROJECTION_STOPPED, PROJECTION => projection.to_owned(), SHARD => shard.to_owned()).set(1);
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
