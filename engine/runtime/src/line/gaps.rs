//! Gaps that are filled from the event store, and duplicates that turn out to be forks.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use foldstream_model::{
    Entry, Error, ErrorKind, Event, Place, Result, Sequence, StreamHash, StreamId, ports::EventStore,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Line;
use crate::{
    metrics,
    order::{self, Fork, Gap},
    planted::{self, Bug},
};

/// Gaps that are looked into before the line goes on with other work.
const GAPS: usize = 16;
/// Events that one read asks for and one entry may carry: a journal stays one small row.
const EVENTS: usize = 100;
/// Bytes of events that one entry may carry.
const BYTES: usize = 128 * 1024;

/// A duplicate that may be a fork.
pub(super) struct Suspect {
    pub place: Place,
    pub event: Arc<Event>,
    pub partition_key: Arc<str>,
}

pub fn forked(kept: &Event, refused: &Event) -> Error {
    Error::poison(format!(
        "fork: stream={} sequence={} is claimed by two events: kept={} refused={}; find out which writer reused the sequence; `foldstream parked discard` leaves the other event out, once a projection with `on_failure: park` has set it aside",
        kept.stream_id, kept.sequence, kept.id, refused.id
    ))
}

/// Where the search for missing events stands. A lap asks the event store for every gap that there is when it begins,
/// a few at a time, so that no gap is kept from its turn by others that cannot be filled.
#[derive(Default)]
pub(super) struct Search {
    /// When the last lap began, or the first gap was met.
    since: Option<Instant>,
    /// The streams whose turn in this lap is still to come.
    to_ask: VecDeque<StreamHash>,
    /// No event came early since the last lap began.
    knows_all: bool,
}

impl Search {
    pub fn met_gap(&mut self) {
        self.knows_all = false;
    }

    pub fn is_under_way(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// Forgets the lap; the next one begins when it is due.
    fn break_off(&mut self) {
        self.to_ask.clear();
        self.knows_all = false;
    }

    fn begin_lap(&mut self, gaps: Vec<Gap>) {
        self.since = Some(Instant::now());
        self.to_ask = gaps.into_iter().map(|gap| gap.stream.hash()).collect();
        self.knows_all = true;
    }
}

impl Line {
    /// Goes on with the lap around the gaps; begins the next one when the gaps have lasted.
    pub(super) async fn fill_old_gaps(&mut self) -> Result<()> {
        if !self.order.has_gaps() {
            self.search.since = None;
            return Ok(());
        }
        let since = *self.search.since.get_or_insert_with(Instant::now);
        let is_due = since.elapsed() >= self.context.settings.gap_patience;
        let shared = self.shared.as_ref().is_some_and(|shared| !shared.commands.is_closed());
        if !self.search.is_under_way() && is_due && !shared {
            self.search.begin_lap(self.order.gaps());
        }
        self.fill_some_gaps().await
    }

    /// Asks the event store for every gap that there is. Ends early when a stop is asked for.
    pub(super) async fn fill_all_gaps(&mut self, drain: &CancellationToken) -> Result<()> {
        self.search.begin_lap(self.order.gaps());
        while self.search.is_under_way() && !drain.is_cancelled() {
            self.fill_some_gaps().await?;
        }
        Ok(())
    }

    /// Appends an entry for each of the lap's next gaps that the event store can fill, and lets them take effect.
    pub(super) async fn fill_some_gaps(&mut self) -> Result<()> {
        if !self.search.is_under_way() {
            return Ok(());
        }
        // What is missing behind the horizon may be in a record that others have released already.
        let is_first =
            self.journal.is_at_horizon(&self.at.position) || planted::is(Bug::EntryAtDecidersPlace);
        let Some(store) = self.context.source.events.clone().filter(|_| is_first) else {
            self.search.break_off();
            return Ok(());
        };
        let mut filled = Vec::new();
        for _ in 0..GAPS {
            let Some(stream) = self.search.to_ask.pop_front() else { break };
            let Some(gap) = self.order.gap(stream) else { continue };
            let events = missing(store.as_ref(), &gap).await?;
            if events.is_empty() {
                continue;
            }
            tracing::info!(stream = %gap.stream, first = %gap.first_missing, events = events.len(), "a gap is filled from the event store");
            match self.append(Entry::Fill { stream: gap.stream, events }).await {
                // The shard was sealed meanwhile: what is open is decided in its children.
                Err(error) if error.kind() == ErrorKind::Fenced => self.search.break_off(),
                ended => ended?,
            }
            filled.push((stream, gap.first_missing));
        }
        self.put_in_order(None).await?;
        // The event store may have what is missing behind the fill.
        let has_moved = |(stream, first): &(StreamHash, Sequence)| {
            self.order.gap(*stream).is_some_and(|gap| gap.first_missing > *first)
        };
        filled.retain(has_moved);
        self.search.to_ask.extend(filled.into_iter().map(|(stream, _)| stream));
        self.tell_where(None);
        Ok(())
    }

    /// Where this line is, for reports. It is at the tip only when gaps that the event store can fill are filled, and
    /// never at the end of its shard: what follows that is in the children.
    pub(super) fn tell_where(&self, behind: Option<u64>) {
        let gaps = self.order.gaps().len();
        let were_asked = self.search.knows_all && !self.search.is_under_way();
        let are_open = gaps == 0 || were_asked || self.context.source.events.is_none();
        let at_tip = !self.end && self.backlog.is_empty() && are_open;
        self.gauge.at(&self.at, self.tip.filter(|_| at_tip), behind, gaps);
        metrics::gaps(self.context.source.name.as_str(), self.context.shard.id.as_str(), gaps);
    }

    /// Compares duplicates with what the event store has under their sequences. Another event there is a fork.
    pub(super) async fn compare_duplicates(&mut self) -> Result<()> {
        let suspects = std::mem::take(&mut self.suspects);
        let source = &self.context.source;
        let Some(store) = source.events.clone().filter(|_| !source.redacts) else { return Ok(()) };
        let mut by_stream: BTreeMap<StreamHash, Vec<Suspect>> = BTreeMap::new();
        for suspect in suspects {
            by_stream.entry(suspect.event.stream_id.hash()).or_default().push(suspect);
        }
        for suspects in by_stream.into_values() {
            self.forks.extend(forks_of_stream(store.as_ref(), suspects).await?);
        }
        Ok(())
    }
}

/// A stream's duplicates that differ from what the event store has.
async fn forks_of_stream(store: &dyn EventStore, mut suspects: Vec<Suspect>) -> Result<Vec<Fork>> {
    suspects.sort_by_key(|suspect| suspect.event.sequence);
    let mut forks = Vec::new();
    let mut rest = &*suspects;
    while let ([lowest, ..], [.., highest]) = (rest, rest) {
        let from = lowest.event.sequence;
        let wanted = count(from, highest.event.sequence);
        let page = store.read_stream(&lowest.event.stream_id, from, wanted).await?;
        let Some(last) = page.last().map(|event| event.sequence) else { break };
        let (read, behind) = rest.split_at(rest.partition_point(|suspect| suspect.event.sequence <= last));
        for Suspect { place, event, partition_key } in read {
            let known = page.binary_search_by_key(&event.sequence, |known| known.sequence);
            let Some(known) = known.ok().and_then(|index| page.get(index)) else { continue };
            if !order::is_same(known, event) {
                let (kept, refused) = (Arc::new(known.clone()), event.clone());
                forks.push(Fork {
                    kept,
                    refused,
                    place: place.clone(),
                    partition_key: partition_key.clone(),
                });
            }
        }
        rest = behind;
    }
    Ok(forks)
}

/// How many events there are from one sequence to another, as far as one read asks for.
fn count(first: Sequence, last: Sequence) -> usize {
    usize::try_from(last.0 - first.0).map_or(EVENTS, |count| count.saturating_add(1).min(EVENTS))
}

/// The envelopes of the first missing events of a gap, without a hole; none when the store has not got the first.
async fn missing(store: &dyn EventStore, gap: &Gap) -> Result<Vec<String>> {
    let wanted = count(gap.first_missing, gap.last_missing);
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
        next = Sequence(next.0 + 1);
    }
    Ok(envelopes)
}
