//! Early events that are not kept in memory: which to write to rows of their own, and which to read back before they are
//! let go or compared. It changes neither what is released nor where.

use bytes::Bytes;
use foldstream_model::{EarlyEvent, Entry, Error, Event, Place, Result, ShardId, SpilledEvent};

use super::{Exit, Order, Placed, Turn, Unfinished};

/// An early event that must be written to a row before it is dropped from memory.
#[derive(Debug)]
pub struct Spill {
    pub name: SpilledEvent,
    /// Where it came; the beginning where that was in a parent of the shard.
    pub at: Place,
    pub envelope: String,
}

impl Order {
    /// Early events beyond the bound on memory, at most `limit` of them; each is to be written to a row of `shard`, and
    /// then told of with [`Order::spilled`]. Empty: memory is within the bound.
    pub fn next_spills(&mut self, shard: &ShardId, limit: usize) -> Result<Vec<Spill>> {
        let spills = self.early.next_spills(limit).into_iter().filter_map(|waiting| match waiting.kept() {
            Ok(EarlyEvent::Envelope(envelope)) => {
                Some(Ok(Spill { name: waiting.spilled_in(shard), at: waiting.at.clone(), envelope }))
            }
            Ok(EarlyEvent::Spilled(_)) => None,
            Err(error) => Some(Err(error)),
        });
        spills.collect()
    }

    /// The event is durable in its row.
    pub fn spilled(&mut self, name: &SpilledEvent) {
        self.early.spill(name.stream.hash(), name.sequence, &name.shard);
    }

    /// The place of the event that is to be let go next and is lacking; what is released comes in pieces then. Nothing
    /// else is taken before [`Order::go_on`] has finished.
    pub fn unfinished(&self) -> Option<&Place> {
        self.unfinished.as_ref().map(|unfinished| &unfinished.next)
    }

    /// What must be brought before [`Order::go_on`], at most `limit` events.
    pub fn lacking_to_go_on(&self, limit: usize) -> Result<Vec<EarlyEvent>> {
        let stream = self.unfinished.as_ref().and_then(|unfinished| unfinished.streams.front());
        let next = stream.and_then(|stream| Some((*stream, self.next_of(self.heads.get(*stream))?)));
        next.map_or_else(|| Ok(Vec::new()), |(stream, next)| self.early.lacking_run(stream, next, limit))
    }

    /// Goes on to let go what is unfinished, as far as it was brought.
    pub fn go_on(&mut self, out: &mut Vec<Placed>) {
        let Some(Unfinished { streams, next }) = self.unfinished.take() else { return };
        let exit = Exit { position: &next.position, entry: next.entry, ordinal: next.ordinal, out };
        self.let_go(streams, exit);
    }

    /// What must be brought before [`Order::record`] takes this event.
    pub fn lacking_for_record(&self, event: &Event) -> Result<Vec<EarlyEvent>> {
        if !self.early.has_absent() {
            return Ok(Vec::new());
        }
        let stream = event.stream_id.hash();
        match self.turn(self.heads.get(stream), event.sequence) {
            Turn::Past | Turn::Next => Ok(Vec::new()),
            Turn::Early => Ok(self.early.lacking_one(stream, event.sequence)?.into_iter().collect()),
        }
    }

    /// What must be brought before [`Order::entry`] takes this entry.
    pub fn lacking_for_entry(&self, entry: &Entry) -> Result<Vec<EarlyEvent>> {
        if !self.early.has_absent() {
            return Ok(Vec::new());
        }
        let (stream, up_to) = match entry {
            Entry::ReEnter(_) | Entry::SetAside | Entry::ReadAnew(_) => return Ok(Vec::new()),
            Entry::GiveUp { stream, up_to } => (stream, Some(*up_to)),
            Entry::Fill { stream, events } => {
                let last =
                    events.last().map(|last| Event::from_envelope(&Bytes::copy_from_slice(last.as_bytes())));
                (stream, last.transpose()?.map(|event| event.sequence))
            }
        };
        up_to.map_or_else(|| Ok(Vec::new()), |up_to| self.early.lacking(stream.hash(), up_to))
    }

    /// Takes the envelope of an event that is lacking, for the next record or entry. Poison: it cannot be read any more.
    pub fn bring(&mut self, envelope: &str) -> Result<()> {
        let event = self.read_envelope(envelope)?;
        self.early.bring(event);
        Ok(())
    }

    pub(super) fn refuse_lacking(&self, lacking: &[EarlyEvent]) -> Result<()> {
        if let Some(next) = self.unfinished() {
            return Err(Error::internal(format!("what is released before comes first: next={next}")));
        }
        match lacking {
            [] => Ok(()),
            [EarlyEvent::Spilled(first), ..] => Err(Error::internal(format!(
                "a spilled event was not brought: shard={} stream={} sequence={}",
                first.shard, first.stream, first.sequence
            ))),
            [EarlyEvent::Envelope(_), ..] => Err(Error::internal("an early event was not brought")),
        }
    }
}
