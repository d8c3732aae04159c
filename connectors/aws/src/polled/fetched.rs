//! Records that were fetched and not handed out.

use std::collections::VecDeque;

use foldstream_model::{
    Record,
    ports::{Batch, ReadLimit},
};

/// Takes records up to a limit, one at least; none if there is none.
pub(crate) fn hand_out(
    fetched: &mut VecDeque<Record>,
    limit: ReadLimit,
    is_tip: bool,
    is_end: bool,
) -> Batch {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < limit.records.max(1)
        && (records.is_empty() || bytes < limit.bytes)
        && let Some(record) = fetched.pop_front()
    {
        bytes += size(&record);
        records.push(record);
    }
    let tip = is_tip && fetched.is_empty();
    Batch { records, end: tip && is_end, tip, behind: tip.then_some(0), low_watermark: None }
}

/// In bytes, as limits count them.
pub(crate) fn size(record: &Record) -> usize {
    record.data.len() + record.partition_key.len()
}
