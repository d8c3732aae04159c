//! Order: drops duplicates and repairs disorder by sequence.
//!
//! A deterministic function of a shard's records and journal entries, starting from the final state of its parents: two
//! workers that have read as far hold the same state, and have released the same events at the same places.

use std::{collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;
use foldstream_model::{
    BasePolicy, Entry, Error, Event, GivenUp, Head, Place, Position, Result, Sequence, StreamHash, StreamId,
    Timestamp, Value,
};

use crate::planted::{self, Bug};

mod heads;
mod early;
mod state;
mod spilling;
pub mod cuts;
pub mod cut_rows;
#[cfg(test)]
mod tests;

pub use self::{cuts::CutLog, early::Gap, spilling::Spill, state::Changes};
use self::{
    early::{EarlyEvents, Waiting},
    heads::Heads,
    state::GivenUpRanges,
};

/// Makes an event that comes out of a cut or a journal what decoding and upcasting make of a record's.
pub type Prepare = Arc<dyn Fn(&mut Event) -> Result<()> + Send + Sync>;

#[derive(Debug, Clone)]
pub struct OrderOptions {
    /// The sequence of a stream's first event.
    pub first: Sequence,
    pub gaps: Gaps,
    /// What the first event of an unknown stream means, as the shard's journal says.
    pub base: BasePolicy,
    /// How many bytes of early events are kept in memory; what is beyond is spilled.
    pub max_early_bytes: usize,
}

/// What a jump in a stream's sequence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// Something is missing: what came early waits for it.
    Refuse,
    /// Nothing: sequences only rise, and nothing missing is ever detected.
    Allow,
}

/// An event that the order stage lets through.
#[derive(Debug, Clone)]
pub struct Placed {
    pub place: Place,
    pub event: Arc<Event>,
    /// When it was recorded, raised to that of the stream's events before it.
    pub raised_at: Timestamp,
    /// Of the record that brought it; of an event that no record brought, of one that waited for it.
    pub partition_key: Arc<str>,
}

/// What became of a record's event.
#[derive(Debug)]
pub enum Outcome {
    Released,
    /// It waits for an event before it.
    Early,
    /// Its sequence is at or below the head, or the same event waits already. It is dropped; below the head nothing is
    /// left here to compare it with.
    Duplicate(Arc<Event>),
    /// Poison: a stream and sequence that another event has.
    Fork(Fork),
}

/// Two events that claim one sequence of one stream. The one that came first stays.
#[derive(Debug, Clone)]
pub struct Fork {
    pub kept: Arc<Event>,
    pub refused: Arc<Event>,
    /// Where the other was refused, before whatever has this place; and of which record.
    pub place: Place,
    pub partition_key: Arc<str>,
}

/// The order stage of one reader in one shard.
pub struct Order {
    options: OrderOptions,
    prepare: Prepare,
    heads: Heads,
    early: EarlyEvents,
    given_up: GivenUpRanges,
    changes: Changes,
    unfinished: Option<Unfinished>,
}

/// What is still to be let go where a record, an entry or the shard's beginning released something: the streams, and the
/// place of the next event.
#[derive(Debug, Clone)]
struct Unfinished {
    streams: VecDeque<StreamHash>,
    next: Place,
}

impl Order {
    /// The state of a shard without parents, at its beginning.
    pub fn new(options: OrderOptions, prepare: Prepare) -> Self {
        Self {
            early: EarlyEvents::within(options.max_early_bytes),
            options,
            prepare,
            heads: Heads::default(),
            given_up: GivenUpRanges::default(),
            changes: Changes::default(),
            unfinished: None,
        }
    }

    /// Releases what lacks nothing any more at the place where this state was taken: at the shard's beginning an event that
    /// waited in one parent for one that came in another, and the rest of what was released in pieces. Appends it to
    /// `out`, by stream; where spilled events come next, [`Order::unfinished`] says so.
    pub fn begin(&mut self, at: &Place, out: &mut Vec<Placed>) {
        let Some(ordinal) = at.ordinal.checked_add(1) else { return };
        let exit = Exit { position: &at.position, entry: at.entry, ordinal, out };
        self.let_go(self.early.streams().into(), exit);
    }

    /// Takes the event of the record at `position`, whose sequence a stream can have, and appends to `out` whatever that
    /// releases.
    ///
    /// `now` only shows later how long a gap has lasted. Internal, and nothing has changed, when spilled events are
    /// lacking, or what was released before is unfinished.
    pub fn record(
        &mut self,
        event: Arc<Event>,
        position: &Position,
        partition_key: &Arc<str>,
        now: Timestamp,
        out: &mut Vec<Placed>,
    ) -> Result<Outcome> {
        let at = Place::new(position.clone(), 0, 0);
        self.record_at(event, &at, partition_key, now, out)
    }

    /// The same, of a record that comes by an entry at this place.
    pub fn record_at(
        &mut self,
        event: Arc<Event>,
        at: &Place,
        partition_key: &Arc<str>,
        now: Timestamp,
        out: &mut Vec<Placed>,
    ) -> Result<Outcome> {
        self.refuse_lacking(&self.lacking_for_record(&event)?)?;
        let stream = event.stream_id.hash();
        let head = self.heads.get(stream);
        let mut exit = Exit { position: &at.position, entry: at.entry, ordinal: 0, out };
        let outcome = match self.turn(head, event.sequence) {
            Turn::Next => {
                self.release(stream, head, event, partition_key.clone(), &mut exit);
                Outcome::Released
            }
            Turn::Past if planted::is(Bug::DuplicateReleased) => {
                exit.push(event.clone(), event.recorded_at, partition_key.clone());
                Outcome::Released
            }
            Turn::Past => Outcome::Duplicate(event),
            Turn::Early => self.hold(event, at.clone(), partition_key, now),
        };
        self.let_go([stream].into(), exit);
        Ok(outcome)
    }

    /// Takes the journal's entry with this number after `position`, and appends to `out` whatever that releases.
    ///
    /// Returns the events of a fill that differ from one which waits under the same sequence. Nothing has changed after an
    /// error. Internal: the entry does not fit this state. Poison: an event of a fill cannot be read.
    pub fn entry(
        &mut self,
        entry: &Entry,
        position: &Position,
        number: u32,
        out: &mut Vec<Placed>,
    ) -> Result<Vec<Fork>> {
        let mut exit = Exit { position, entry: number, ordinal: 0, out };
        self.refuse_lacking(&self.lacking_for_entry(entry)?)?;
        let (stream, forks) = match entry {
            Entry::Fill { stream, events } => {
                let events = self.read_fill(stream, events).map_err(|error| error.context(exit.place()))?;
                (stream, self.fill(stream.hash(), events, &mut exit))
            }
            Entry::GiveUp { stream, up_to } => {
                self.give_up(stream.hash(), *up_to, &mut exit);
                (stream, Vec::new())
            }
            // One is about what a projection has parked, one says that nothing was taken, and the last comes as a record.
            Entry::ReEnter(_) | Entry::SetAside | Entry::ReadAnew(_) => return Ok(Vec::new()),
        };
        self.let_go([stream.hash()].into(), exit);
        Ok(forks)
    }

    /// The first gap of each stream in which events wait, sorted by stream hash.
    pub fn gaps(&self) -> Vec<Gap> {
        self.early.streams().into_iter().filter_map(|stream| self.gap(stream)).collect()
    }

    /// The first gap of a stream.
    pub fn gap(&self, stream: StreamHash) -> Option<Gap> {
        self.early.gap(stream, self.next_of(self.heads.get(stream)).unwrap_or(self.options.first))
    }

    pub fn has_gaps(&self) -> bool {
        !self.early.is_empty()
    }

    /// How many events came early and wait.
    pub fn early_events(&self) -> usize {
        self.early.len()
    }

    /// What the early events in memory weigh.
    pub fn early_bytes(&self) -> usize {
        self.early.bytes()
    }

    /// The last sequence known of a stream.
    pub fn head(&self, stream: StreamHash) -> Option<Head> {
        self.heads.get(stream)
    }

    /// How many streams are known.
    pub fn streams(&self) -> usize {
        self.heads.len()
    }

    /// All that was given up, sorted; what a fold leaves out. What concerns the events before one that was released is
    /// complete once it is released.
    pub fn given_up(&self) -> impl Iterator<Item = GivenUp> + '_ {
        self.given_up.iter()
    }

    /// The first sequence of a stream from this one on that was not given up.
    pub fn first_kept(&self, stream: StreamHash, from: Sequence) -> Sequence {
        self.given_up.first_kept(stream, from)
    }

    /// Whether what stands behind a missing event always waits for it, even of a stream that was never met.
    pub fn waits_for_missing(&self) -> bool {
        self.options.gaps == Gaps::Refuse && self.options.base == BasePolicy::First
    }

    /// What has changed since this was last asked. To be asked after every batch: it is kept until then.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// The sequence that must come next; none where any may come that is above the head.
    fn next_of(&self, head: Option<Head>) -> Option<Sequence> {
        match (self.options.gaps, head, self.options.base) {
            (Gaps::Allow, _, _) | (Gaps::Refuse, None, BasePolicy::Seen) => None,
            (Gaps::Refuse, None, BasePolicy::First) => Some(self.options.first),
            (Gaps::Refuse, Some(head), _) => head.sequence.next(),
        }
    }

    fn turn(&self, head: Option<Head>, sequence: Sequence) -> Turn {
        if head.is_some_and(|head| sequence <= head.sequence) {
            return Turn::Past;
        }
        match self.next_of(head) {
            Some(next) if sequence != next && !planted::is(Bug::GapSkipped) => Turn::Early,
            _ => Turn::Next,
        }
    }

    fn release(
        &mut self,
        stream: StreamHash,
        head: Option<Head>,
        event: Arc<Event>,
        partition_key: Arc<str>,
        exit: &mut Exit<'_>,
    ) {
        let raised_at = head.map_or(event.recorded_at, |head| head.recorded_at.max(event.recorded_at));
        self.move_head(stream, head, Head { sequence: event.sequence, recorded_at: raised_at });
        exit.push(event, raised_at, partition_key);
    }

    fn move_head(&mut self, stream: StreamHash, from: Option<Head>, to: Head) {
        self.changes.heads.push((stream, from));
        self.heads.set(stream, to);
    }

    /// Lets go what waits directly behind the heads of these streams, up to the first event that is lacking.
    fn let_go(&mut self, mut streams: VecDeque<StreamHash>, mut exit: Exit<'_>) {
        while let Some(stream) = streams.front() {
            if self.release_waiting(*stream, &mut exit) {
                self.unfinished = Some(Unfinished { streams, next: exit.place() });
                break;
            }
            streams.pop_front();
        }
        self.early.forget_brought();
    }

    /// Lets go what waits directly behind the head. True: what is next waits, but is lacking.
    fn release_waiting(&mut self, stream: StreamHash, exit: &mut Exit<'_>) -> bool {
        while !self.early.is_empty() {
            let head = self.heads.get(stream);
            let Some(next) = self.next_of(head) else { return false };
            let Some((waiting, partition_key)) = self.take_waiting(stream, next) else {
                return self.early.is_waiting(stream, next);
            };
            self.release(stream, head, waiting, partition_key, exit);
            if planted::is(Bug::OwnPlace)
                && let (Some(placed), Some(own)) = (exit.out.last_mut(), self.changes.let_go.last())
            {
                placed.place = own.at.clone();
            }
        }
        false
    }

    /// Takes an event that waits, and the partition key of the record that brought it.
    fn take_waiting(&mut self, stream: StreamHash, sequence: Sequence) -> Option<(Arc<Event>, Arc<str>)> {
        let event = self.early.event(stream, sequence)?;
        let waiting = self.early.remove(stream, sequence)?;
        let partition_key = waiting.partition_key.clone();
        self.changes.let_go.push(waiting);
        Some((event, partition_key))
    }

    fn hold(&mut self, event: Arc<Event>, at: Place, partition_key: &Arc<str>, since: Timestamp) -> Outcome {
        let stream = event.stream_id.hash();
        match self.early.event(stream, event.sequence) {
            Some(kept) if is_same(&kept, &event) => Outcome::Duplicate(event),
            Some(kept) => {
                let (refused, partition_key) = (event, partition_key.clone());
                Outcome::Fork(Fork { kept, refused, place: at, partition_key })
            }
            None => {
                self.early.insert(stream, Waiting::new(event, at, partition_key.clone(), since));
                Outcome::Early
            }
        }
    }

    /// The events of a fill, which must be of its stream, without a hole, and reach down to the head.
    fn read_fill(&self, stream: &StreamId, envelopes: &[String]) -> Result<Vec<Event>> {
        let mut next = self.next_of(self.heads.get(stream.hash()));
        let mut events = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let event = self.read_envelope(envelope)?;
            if event.stream_id != *stream || next.is_some_and(|next| event.sequence > next) {
                return Err(Error::internal(format!(
                    "a fill in the journal does not fit the gap: stream={stream} event={} of={} sequence={}",
                    event.id, event.stream_id, event.sequence
                )));
            }
            next = next.max(event.sequence.next());
            events.push(event);
        }
        Ok(events)
    }

    fn read_envelope(&self, envelope: &str) -> Result<Event> {
        let mut event = Event::from_envelope(&Bytes::copy_from_slice(envelope.as_bytes()))?;
        (self.prepare)(&mut event)?;
        Ok(event)
    }

    fn fill(&mut self, stream: StreamHash, events: Vec<Event>, exit: &mut Exit<'_>) -> Vec<Fork> {
        let mut forks = Vec::new();
        let of_waiting = self.early.partition_key(stream);
        for event in events {
            let head = self.heads.get(stream);
            if self.turn(head, event.sequence) == Turn::Past {
                continue;
            }
            let (event, partition_key) = match self.take_waiting(stream, event.sequence) {
                None => {
                    let own = || event.stream_id.as_str().into();
                    let partition_key = of_waiting.clone().unwrap_or_else(own);
                    (Arc::new(event), partition_key)
                }
                Some((kept, partition_key)) => {
                    if !is_same(&kept, &event) {
                        let (place, partition_key) = (exit.place(), partition_key.clone());
                        forks.push(Fork { kept: kept.clone(), refused: event.into(), place, partition_key });
                    }
                    (kept, partition_key)
                }
            };
            self.release(stream, head, event, partition_key, exit);
        }
        forks
    }

    /// Gives up what is missing up to a sequence at this place, and releases what is there.
    fn give_up(&mut self, stream: StreamHash, up_to: Sequence, exit: &mut Exit<'_>) {
        loop {
            self.release_waiting(stream, exit);
            let head = self.heads.get(stream);
            let Some(first) = self.next_of(head).filter(|next| *next <= up_to) else { return };
            let last = self.early.first_of(stream).map_or(up_to, |early| Sequence(early.0 - 1).min(up_to));
            let recorded_at = head.map_or(Timestamp::MIN, |head| head.recorded_at);
            self.given_up.insert(GivenUp { stream, first, last }, exit.place());
            self.move_head(stream, head, Head { sequence: last, recorded_at });
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("streams", &self.streams()).field("early", &self.early.len()).finish()
    }
}

/// Where an event stands to its stream's head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Past,
    Next,
    Early,
}

/// Numbers what one record or entry releases.
struct Exit<'a> {
    position: &'a Position,
    entry: u32,
    ordinal: u64,
    out: &'a mut Vec<Placed>,
}

impl Exit<'_> {
    fn place(&self) -> Place {
        Place::new(self.position.clone(), self.entry, self.ordinal)
    }

    fn push(&mut self, event: Arc<Event>, raised_at: Timestamp, partition_key: Arc<str>) {
        self.out.push(Placed { place: self.place(), event, raised_at, partition_key });
        self.ordinal += 1;
    }
}

/// Whether two events of one sequence are one: of equal type, and of equal payload as JSON.
pub(crate) fn is_same(a: &Event, b: &Event) -> bool {
    let (left, right) = (&a.payload.raw, &b.payload.raw);
    let is_same_payload = left == right
        || matches!((Value::parse(left), Value::parse(right)), (Ok(left), Ok(right)) if left == right);
    a.event_type == b.event_type && is_same_payload
}
