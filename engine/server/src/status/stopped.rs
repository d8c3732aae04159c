//! A projection that has stopped at an event, in words.

use foldstream_local::LocalStore;
use foldstream_model::{ProjectionId, Result, ShardId, SourceName, Stop, ports::EventStore};

use crate::output::{printable, seconds};

/// Adds the type of the event, which the event store knows where only the document was at hand.
pub async fn add_event_type(stop: &mut Stop, store: &LocalStore) -> Result<()> {
    let Some(event) = stop.event.as_mut().filter(|event| event.event_type.is_none()) else { return Ok(()) };
    let stored = store.events().read_stream(&event.stream, event.sequence, 1).await?;
    let stored = stored.into_iter().find(|stored| stored.sequence == event.sequence);
    event.event_type = stored.map(|stored| stored.event_type);
    Ok(())
}

/// What makes a projection go on that has stopped at an event.
pub const WHAT_TO_DO: &str =
    "to go on, mend what the reason names, then raise the `version` of the projection: a new read model
is built beside the old one; or, while developing, `foldstream run --dev` makes the old one anew";

/// Where it has stopped, at what and why; several lines.
pub fn stop_in_words(projection: &ProjectionId, source: &SourceName, shard: &ShardId, stop: &Stop) -> String {
    let name = projection.row_name();
    let mut lines = vec![format!("{name} has stopped in {source}/{shard} since {}", seconds(stop.at))];
    if let Some(event) = &stop.event {
        let event_type =
            event.event_type.iter().map(|event_type| format!(" {event_type}")).collect::<String>();
        lines.push(format!("  event     {} #{}{event_type}", event.stream, event.sequence));
        lines.extend(event.document.iter().map(|document| format!("  document  {document}")));
    }
    lines.push(format!("  position  {} in the shard", stop.place.position));
    lines.push(format!("  reason    {}", stop.reason));
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n")
}
