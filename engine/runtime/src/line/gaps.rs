//! Gaps that are filled from the event store, and duplicates that turn out to be forks.

use foldstream_model::{Entry, Error, ErrorKind, Event, Place, Result, StreamId, ports::EventStore};
use tokio::time::Instant;

use super::Line;
use crate::{
    metrics,
    order::{self, Gap},
};

/// Gaps that one attempt looks into, and events that one entry may carry: a journal stays one small row.
const GAPS: usize = 16;
const EVENTS: usize = 100;
/// Bytes of events that one entry may carry.
const BYTES: usize = 128 * 1024;

/// A duplicate that may be a fork.
pub(super) struct Suspect {
    pub place: Place,
    pub event: Event,
}

pub(super) fn forked(kept: &Event, refused: &Event) -> Error {
    Error::poison(format!(
        "fork: stream={} sequence={} is claimed by two events: kept={} refused={}; find out which writer reused the sequence",
        kept.stream_id, kept.sequence, kept.id, refused.id
    ))
}

pub(super) fn below_first(event: &Event) -> Error {
    Error::poison(format!(
        "stream={} sequence={} is below the first sequence that the source's mapping allows",
        event.stream_id, event.sequence
    ))
}

impl Line {
    /// Fills gaps that have lasted, when the event store has what is missing.
    pub(super) async fn fill_old_gaps(&mut self) -> Result<()> {
        let patience = self.context.settings.gap_patience;
        let is_young = self.gap_tried.is_some_and(|tried| tried.elapsed() < patience);
        if !self.order.has_gaps() {
            self.gap_tried = None;
            return Ok(());
        }
        if self.gap_tried.is_none() {
            self.gap_tried = Some(Instant::now());
            return Ok(());
        }
        let shared = self.shared.as_ref().is_some_and(|shared| !shared.commands.is_closed());
        if is_young || shared {
            return Ok(());
        }
        self.gap_tried = Some(Instant::now());
        self.fill_gaps().await
    }

    /// Appends an entry for each gap that the event store can fill, and lets them take effect.
    pub(super) async fn fill_gaps(&mut self) -> Result<()> {
        let Some(store) = self.context.source.events.clone() else { return Ok(()) };
        self.gaps_are_open = true;
        let mut gaps = self.order.gaps();
        gaps.truncate(GAPS);
        for gap in gaps {
            let events = missing(store.as_ref(), &gap).await?;
            if events.is_empty() {
                continue;
            }
            tracing::info!(stream = %gap.stream, first = %gap.first_missing, events = events.len(), "a gap is filled from the event store");
            match self.append(Entry::Fill { stream: gap.stream, events }).await {
                // The shard was sealed meanwhile: what is open is decided in its children.
                Err(error) if error.kind() == ErrorKind::Fenced => break,
                ended => ended?,
            }
        }
        self.put_in_order(None).await?;
        self.tell_where(None);
        Ok(())
    }

    /// Where this line is, for reports. It is at the tip only when gaps that the event store can fill are filled, and
    /// never at the end of its shard: what follows that is in the children.
    pub(super) fn tell_where(&self, behind: Option<u64>) {
        let gaps = self.order.gaps().len();
        let is_open = gaps == 0 || self.gaps_are_open || self.context.source.events.is_none();
        let at_tip = !self.end && self.backlog.is_empty() && is_open;
        self.gauge.at(&self.at, self.tip.filter(|_| at_tip), behind, gaps);
        metrics::gaps(self.context.source.name.as_str(), self.context.shard.id.as_str(), gaps);
    }

    /// Compares duplicates with what the event store has under their sequences. Another event there is a fork.
    pub(super) async fn first_fork(&mut self) -> Result<Option<(Place, Error)>> {
        let suspects = std::mem::take(&mut self.suspects);
        let Some(store) = self.context.source.events.clone() else { return Ok(None) };
        for Suspect { place, event } in suspects {
            let known = store.read_stream(&event.stream_id, event.sequence, 1).await?;
            let Some(known) = known.first().filter(|known| known.sequence == event.sequence) else {
                continue;
            };
            if !order::is_same(known, &event) {
                return Ok(Some((place, forked(known, &event))));
            }
        }
        Ok(None)
    }
}

/// The envelopes of the first missing events of a gap, without a hole; none when the store has not got the first.
async fn missing(store: &dyn EventStore, gap: &Gap) -> Result<Vec<String>> {
    let wanted = usize::try_from(gap.last_missing.0 - gap.first_missing.0 + 1).unwrap_or(EVENTS).min(EVENTS);
    let stream: &StreamId = &gap.stream;
    let mut envelopes = Vec::new();
    let (mut next, mut bytes) = (gap.first_missing, 0);
    for event in store.read_stream(stream, gap.first_missing, wanted).await? {
        if event.sequence != next {
            break;
        }
        let envelope = event.to_envelope()?;
        bytes += envelope.len();
        if bytes > BYTES && !envelopes.is_empty() {
            break;
        }
        envelopes.push(String::from_utf8(envelope).map_err(|error| Error::internal(error.to_string()))?);
        next = foldstream_model::Sequence(next.0 + 1);
    }
    Ok(envelopes)
}
