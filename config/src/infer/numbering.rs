//! Whether a field can be the sequence of the streams that another field names.

use std::collections::BTreeMap;

use super::column::{Column, text_of, whole_number};

/// What a sequence does inside of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    pub score: i32,
    pub kept: Kept,
    /// How many pairs of neighbours speak for it.
    pub steps: usize,
    /// Taken off the front of each text.
    pub prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Streams begin with this number, and leave none out.
    From(u64),
    /// Rises, but leaves numbers out or begins anywhere: a number across all streams, or a sample from their
    /// middle.
    OnlyRises,
}

/// `None` if it cannot be one.
pub(super) fn judge(stream: &Column, sequence: &Column) -> Option<Numbering> {
    let prefix = sequence.common_prefix();
    let streams = group(stream, sequence, prefix.as_deref())?;
    let has_pairs = streams.values().any(|numbers| numbers.len() > 1);
    let rises = streams.values().all(|numbers| numbers.is_sorted());
    let (mut steps, mut single_steps, mut doubles) = (0_usize, 0_usize, 0_usize);
    let mut firsts = Vec::with_capacity(streams.len());
    for numbers in streams.values() {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        firsts.extend(sorted.first());
        for pair in sorted.windows(2) {
            let [low, high] = pair else { continue };
            match high - low {
                0 => doubles += 1,
                1 => single_steps += 1,
                _ => {}
            }
            steps += 1;
        }
    }
    if doubles * 10 > sequence.values.len() {
        return None;
    }
    let without_gaps = single_steps + doubles == steps;
    let mostly_without_gaps = (single_steps + doubles) * 10 >= steps * 8;
    let first = firsts.iter().copied().min()?;
    let same_first = firsts.iter().all(|one| *one == first);
    let begins_at_the_beginning =
        first <= 1 && firsts.iter().filter(|one| **one == first).count() * 10 >= firsts.len() * 8;
    let (score, kept) = match (without_gaps, has_pairs) {
        (true, true) if same_first && first <= 1 => (60, Kept::From(first)),
        (true, false) if same_first && first <= 1 => (20, Kept::From(first)),
        (true, true) if same_first => (40, Kept::From(first)),
        (_, true) if mostly_without_gaps && begins_at_the_beginning => (35, Kept::From(first)),
        (true, true) => (30, Kept::OnlyRises),
        (_, true) if rises && doubles == 0 => (10, Kept::OnlyRises),
        (true, false) => (0, Kept::OnlyRises),
        _ => return None,
    };
    Some(Numbering { score, kept, steps, prefix })
}

/// The numbers of each stream in the order of the sample; `None` if some value is no number.
fn group(stream: &Column, sequence: &Column, prefix: Option<&str>) -> Option<BTreeMap<String, Vec<u64>>> {
    let ids: BTreeMap<usize, String> =
        stream.values.iter().filter_map(|(index, value)| Some((*index, text_of(value)?))).collect();
    let mut streams: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (index, value) in &sequence.values {
        let number = match (prefix, value.as_text()) {
            (Some(prefix), Some(text)) => text.strip_prefix(prefix)?.parse().ok()?,
            _ => whole_number(value)?,
        };
        if let Some(id) = ids.get(index) {
            streams.entry(id.clone()).or_default().push(number);
        }
    }
    Some(streams)
}
