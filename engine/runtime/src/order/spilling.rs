//! Early events that are not kept in memory: which to write to rows of their own, and which to read back before they are
//! let go or compared. It changes neither what is released nor where.

use bytes::Bytes;
use foldstream_model::{EarlyEvent, Entry, Error, Event, Result, ShardId, SpilledEvent};

use super::{Order, Turn};

/// An early event that must be written to a row before it is dropped from memory.
#[derive(Debug)]
pub struct Spill {
    pub name: SpilledEvent,
    pub envelope: String,
}

impl Order {
    /// Early events beyond the bound on memory, at most `limit` of them; each is to be written to a row of `shard`, and
    /// then told of with [`Order::spilled`]. Empty: memory is within the bound.
    pub fn next_spills(&mut self, shard: &ShardId, limit: usize) -> Result<Vec<Spill>> {
        let spills = self.early.next_spills(limit).into_iter().filter_map(|waiting| match waiting.kept() {
            Ok(EarlyEvent::Envelope(envelope)) => {
                Some(Ok(Spill { name: waiting.spilled_in(shard), envelope }))
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

    /// What must be brought before [`Order::begin`].
    pub fn lacking_at_beginning(&self) -> Result<Vec<EarlyEvent>> {
        let mut lacking = Vec::new();
        if !self.early.has_absent() {
            return Ok(lacking);
        }
        for stream in self.early.streams() {
            if let Some(head) = self.heads.get(stream) {
                lacking.extend(self.early.lacking(stream, head.sequence)?);
            }
        }
        Ok(lacking)
    }

    /// What must be brought before [`Order::record`] takes this event.
    pub fn lacking_for_record(&self, event: &Event) -> Result<Vec<EarlyEvent>> {
        if !self.early.has_absent() {
            return Ok(Vec::new());
        }
        let stream = event.stream_id.hash();
        match self.turn(self.heads.get(stream), event.sequence) {
            Turn::Past => Ok(Vec::new()),
            Turn::Next => self.early.lacking(stream, event.sequence),
            Turn::Early => Ok(self.early.lacking_one(stream, event.sequence)?.into_iter().collect()),
        }
    }

    /// What must be brought before [`Order::entry`] takes this entry.
    pub fn lacking_for_entry(&self, entry: &Entry) -> Result<Vec<EarlyEvent>> {
        if !self.early.has_absent() {
            return Ok(Vec::new());
        }
        let (stream, up_to) = match entry {
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

    pub(super) fn refuse_lacking(lacking: &[EarlyEvent]) -> Result<()> {
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
