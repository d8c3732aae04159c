//! The documents of a lane: those with events that are not settled, and those at rest, kept so that the next write needs
//! no read. Of those at rest the longest untouched go first.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use foldhash::fast::FixedState;
use foldstream_model::DocumentKey;
use slab::Slab;

use super::buffer::{Buffer, Phase};

/// Where a document stands, for as long as it is kept. A slot whose document has gone may hold another one.
pub(super) type Slot = usize;

pub(super) struct Documents {
    slots: HashMap<DocumentKey, Slot, FixedState>,
    buffers: Slab<Box<Buffer>>,
    /// How much memory documents at rest may take.
    capacity: usize,
    bytes: usize,
    /// Counts the rests.
    rests: u64,
    /// Those that have rested, each once, beside the number of the rests then: one that has rested again since is no
    /// longer among the oldest, and goes to the end when its turn comes.
    oldest: VecDeque<(u64, Slot)>,
}

impl Documents {
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: HashMap::default(),
            buffers: Slab::new(),
            capacity,
            bytes: 0,
            rests: 0,
            oldest: VecDeque::new(),
        }
    }

    /// The document, awake: from its rest with what is stored of it, or new and unread. True if it was not awake.
    pub fn wake(&mut self, key: &DocumentKey) -> (Slot, &mut Buffer, bool) {
        let slot = match self.slots.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                let slot = self.buffers.insert(Box::new(Buffer::new(key.clone())));
                return (*vacant.insert(slot), &mut self.buffers[slot], true);
            }
            Entry::Occupied(occupied) => *occupied.get(),
        };
        let buffer = &mut *self.buffers[slot];
        let Phase::Resting { bytes, .. } = buffer.phase else { return (slot, buffer, false) };
        self.bytes -= bytes;
        buffer.phase = Phase::Ready;
        buffer.fresh = false;
        buffer.at_most = usize::MAX;
        (slot, buffer, true)
    }

    pub fn find(&mut self, key: &DocumentKey) -> Option<(Slot, &mut Buffer)> {
        let slot = *self.slots.get(key)?;
        Some((slot, self.get_mut(slot)?))
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Buffer> {
        self.buffers.get_mut(slot).map(|buffer| &mut **buffer)
    }

    /// Nothing of the document is left to be done but what poison holds up; what is stored of it is kept if it is known.
    pub fn rest(&mut self, slot: Slot) {
        let Some(buffer) = self.buffers.get_mut(slot) else { return };
        buffer.aside = None;
        if !buffer.stops.is_empty() {
            buffer.phase = Phase::Held;
            buffer.base = None;
            return;
        }
        let bytes = buffer.size_at_rest();
        if buffer.base.is_none() || bytes > self.capacity {
            return self.remove(slot);
        }
        self.rests += 1;
        self.bytes += bytes;
        buffer.phase = Phase::Resting { since: self.rests, bytes };
        if buffer.stands_at.is_none() {
            buffer.stands_at = Some(self.rests);
            self.oldest.push_back((self.rests, slot));
        }
        self.make_room();
    }

    fn remove(&mut self, slot: Slot) {
        let buffer = self.buffers.remove(slot);
        self.slots.remove(&buffer.key);
    }

    fn make_room(&mut self) {
        while self.bytes > self.capacity
            && let Some((rest, slot)) = self.oldest.pop_front()
        {
            let Some(buffer) = self.buffers.get_mut(slot) else { continue };
            if buffer.stands_at != Some(rest) {
                continue;
            }
            match buffer.phase {
                Phase::Resting { since, bytes } if since == rest => {
                    self.bytes -= bytes;
                    self.remove(slot);
                }
                Phase::Resting { since, .. } => {
                    buffer.stands_at = Some(since);
                    self.oldest.push_back((since, slot));
                }
                _ => buffer.stands_at = None,
            }
        }
    }

    /// Forgets what is known of documents at rest.
    pub fn forget_resting(&mut self) {
        let Self { slots, buffers, .. } = self;
        buffers.retain(|_, buffer| {
            buffer.stands_at = None;
            !matches!(buffer.phase, Phase::Resting { .. })
        });
        slots.retain(|_, slot| buffers.contains(*slot));
        self.oldest.clear();
        self.bytes = 0;
    }

    /// All that are not at rest.
    pub fn awake(&self) -> Vec<Slot> {
        let awake = self.buffers.iter().filter(|(_, buffer)| !matches!(buffer.phase, Phase::Resting { .. }));
        awake.map(|(slot, _)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use foldstream_model::{Document, Epoch, Fed, Guard, ports::StoredDocument};

    use super::*;

    fn stored() -> StoredDocument {
        let guard = Guard { epoch: Epoch(0), fed: Fed::Nothing, mark: None, unrecorded: Default::default() };
        StoredDocument { guard, document: Some(Document::default()) }
    }

    #[test]
    fn who_takes_the_slot_of_another_does_not_take_its_place_among_the_oldest() {
        let mut documents = Documents::new(usize::MAX);
        let rest = |documents: &mut Documents, key: &str, base: Option<StoredDocument>| {
            let (slot, buffer, _) = documents.wake(&DocumentKey::new(key));
            buffer.base = base;
            documents.rest(slot);
            slot
        };
        let first = rest(&mut documents, "first", Some(stored()));
        rest(&mut documents, "first", None);
        let second = rest(&mut documents, "second", Some(stored()));
        let third = rest(&mut documents, "third", Some(stored()));
        assert_eq!((first == second, first == third), (true, false));
        rest(&mut documents, "second", Some(stored()));
        documents.capacity = documents.bytes - 1;
        documents.make_room();
        let is_there = |key| documents.slots.contains_key(&DocumentKey::new(key));
        assert_eq!(
            (is_there("second"), is_there("third")),
            (true, false),
            "the longest untouched goes first"
        );
        assert_eq!(documents.oldest.len(), 1, "and each stands there once");
    }
}
