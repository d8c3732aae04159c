use super::{Fields, Reader};
use crate::{settings::Limits, yaml::Node};

/// An event may have a payload of 1 MiB, and must fit with its envelope.
const LEAST_BYTES: u64 = 2 << 20;

pub(super) fn limits(reader: &mut Reader<'_>, node: &Node) -> Option<Limits> {
    let defaults = Limits::default();
    if node.is_null() {
        return Some(defaults);
    }
    let mut fields = Fields::of(reader, node, "the limits")?;
    let lanes = fields.or(reader, "lanes", defaults.lanes, |r, node| r.small_integer(node, 1..=1_024));
    let batch_records = fields
        .or(reader, "batch_records", defaults.batch_records, |r, node| r.small_integer(node, 1..=10_000));
    let flush_documents = fields.or(reader, "flush_documents", defaults.flush_documents, |r, node| {
        r.small_integer(node, 1..=100_000)
    });
    let parked_events = fields
        .or(reader, "parked_events", defaults.parked_events, |r, node| r.small_integer(node, 1..=1_000_000));
    let mut bytes = |field, default| fields.or(reader, field, default, |r, node| r.bytes(node, LEAST_BYTES));
    let bytes_in_flight = bytes("bytes_in_flight", defaults.bytes_in_flight);
    let read_ahead_bytes = bytes("read_ahead_bytes", defaults.read_ahead_bytes);
    let early_bytes = bytes("early_bytes", defaults.early_bytes);
    let cache_bytes = bytes("cache_bytes", defaults.cache_bytes);
    let mut duration = |field, default| fields.or(reader, field, default, Reader::duration);
    let flush_interval = duration("flush_interval", defaults.flush_interval);
    let checkpoint_interval = duration("checkpoint_interval", defaults.checkpoint_interval);
    let poll_interval = duration("poll_interval", defaults.poll_interval);
    fields.finish(reader);
    Some(Limits {
        lanes: lanes?,
        batch_records: batch_records?,
        bytes_in_flight: bytes_in_flight?,
        read_ahead_bytes: read_ahead_bytes?,
        early_bytes: early_bytes?,
        flush_interval: flush_interval?,
        flush_documents: flush_documents?,
        checkpoint_interval: checkpoint_interval?,
        cache_bytes: cache_bytes?,
        parked_events: parked_events?,
        poll_interval: poll_interval?,
    })
}
