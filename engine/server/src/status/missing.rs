//! Events that are missing, and the streams that wait for them.

use foldstream_config::Config;
use foldstream_model::{Result, Sequence, SourceName};
use foldstream_runtime::deciding::{OpenGap, open_gaps};
use serde_json::json;

use crate::output::{plural, printable};
use crate::stores::Stores;

/// Why events wait, beside the reasons why others could not be taken.
pub const GAP: &str = "gap";

/// Of more than so many streams only the number is said.
const NAMED: usize = 10;

/// The gaps of the configured sources, as they were last saved.
pub async fn missing(config: &Config, store: &Stores) -> Result<Vec<(SourceName, OpenGap)>> {
    let (rows, mut found) = (store.rows(), Vec::new());
    for (name, source) in &config.sources {
        let Some(read) = store.source(name, source).await? else { continue };
        let (name, first) = (SourceName::new(name.as_str()), source.event.sequence.as_ref());
        let first = Sequence(first.map_or(1, |sequence| sequence.first));
        let open = open_gaps(&rows, &name, first, &|key| read.hash_key(key)).await?;
        found.extend(open.into_iter().map(|open| (name.clone(), open)));
    }
    Ok(found)
}

/// `#3`, or `#3 to #5`.
pub fn sequences(open: &OpenGap) -> String {
    let (first, last) = (open.gap.first_missing, open.gap.last_missing);
    if first == last { format!("#{first}") } else { format!("#{first} to #{last}") }
}

pub fn missing_for_programs((source, open): &(SourceName, OpenGap)) -> serde_json::Value {
    let gap = &open.gap;
    json!({
        "source": source,
        "stream_id": gap.stream,
        "events": gap.waiting,
        "since": gap.since,
        "missing": {"from": gap.first_missing, "to": gap.last_missing},
        "error": GAP,
    })
}

/// A line for each stream that waits: what for, and what to do about it.
pub fn missing_in_words(found: &[(SourceName, OpenGap)]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (source, open) in found.iter().take(NAMED) {
        let stream = printable(open.gap.stream.as_str());
        let waiting = plural(open.gap.waiting as u64, "event");
        lines.push(format!("{stream} of source {source} waits for {}, {waiting} behind it", sequences(open)));
    }
    let more = found.len().saturating_sub(NAMED);
    if more > 0 {
        lines
            .push(format!("and {} more; `foldstream parked list` shows them", plural(more as u64, "stream")));
    }
    if !lines.is_empty() {
        lines.push("what will never come is given up with `foldstream parked discard --gap`".to_owned());
    }
    lines
}
