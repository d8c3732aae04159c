//! A projection that has stopped at an event, in words.

use foldstream_model::{ProjectionId, ShardId, SourceName, Stop};

use crate::output::{printable, seconds};

/// What makes a projection go on that has stopped at an event.
pub const WHAT_TO_DO: &str =
    "to go on, mend what the reason names, then raise the `version` of the projection: a new read model
is built beside the old one; or, while developing, `foldstream run --dev` makes the old one anew";

/// What makes projections go on behind a record that is no event.
pub const WHAT_TO_DO_ABOUT_A_RECORD: &str =
    "to go on, write `on_failure: park` under a projection that reads it: the record is set aside, the event store
fills in what is missing there, and `foldstream parked list` says what is left to decide. With `gaps: allow`, or
another `start` than `trim_horizon`, give the source another name in `sources`: the event store's events are
relayed anew under it; then raise the `version` of the projections that read it";

/// Where it has stopped, at what and why; several lines.
pub fn stop_in_words(projection: &ProjectionId, source: &SourceName, shard: &ShardId, stop: &Stop) -> String {
    let name = projection.row_name();
    let mut lines = vec![format!("{name} has stopped in {source}/{shard} since {}", seconds(stop.at))];
    if let Some(event) = &stop.event {
        lines.push(format!("  event     {} #{} {}", event.stream, event.sequence, event.event_type));
        lines.extend(event.document.iter().map(|document| format!("  document  {document}")));
    }
    lines.push(format!("  position  {} in the shard", stop.place.position));
    lines.push(format!("  reason    {}", stop.reason));
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n")
}
