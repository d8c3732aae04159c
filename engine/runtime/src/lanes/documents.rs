//! The documents of a lane: those with events that are not settled, and those at rest, kept so that the next write needs
//! no read. Of those at rest the longest untouched go first.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use foldhash::fast::FixedState;
use foldstream_model::DocumentKey;

use super::buffer::{Buffer, Phase};

pub(super) struct Documents {
    all: HashMap<DocumentKey, Box<Buffer>, FixedState>,
    /// How much memory documents at rest may take.
    capacity: usize,
    bytes: usize,
    /// Counts the rests.
    rests: u64,
    /// Those that have rested, each once, beside the number of the rests then: one that has rested again since is no
    /// longer among the oldest, and goes to the end when its turn comes.
    oldest: VecDeque<(u64, DocumentKey)>,
}

impl Documents {
    pub fn new(capacity: usize) -> Self {
        Self { all: HashMap::default(), capacity, bytes: 0, rests: 0, oldest: VecDeque::new() }
    }

    /// The document, awake: from its rest with what is stored of it, or new and unread. True if it was not awake.
    pub fn wake(&mut self, key: &DocumentKey) -> (&mut Buffer, bool) {
        match self.all.entry(key.clone()) {
            Entry::Vacant(vacant) => (vacant.insert(Box::default()), true),
            Entry::Occupied(occupied) => {
                let buffer = occupied.into_mut();
                let Phase::Resting { bytes, .. } = buffer.phase else { return (buffer, false) };
                self.bytes -= bytes;
                buffer.phase = Phase::Ready;
                buffer.fresh = false;
                buffer.at_most = usize::MAX;
                (buffer, true)
            }
        }
    }

    pub fn get_mut(&mut self, key: &DocumentKey) -> Option<&mut Buffer> {
        self.all.get_mut(key).map(|buffer| &mut **buffer)
    }

    /// Nothing of the document is left to be done but what poison holds up; what is stored of it is kept if it is known.
    pub fn rest(&mut self, key: &DocumentKey) {
        let Some(buffer) = self.all.get_mut(key) else { return };
        buffer.aside = None;
        if !buffer.stops.is_empty() {
            buffer.phase = Phase::Held;
            buffer.base = None;
            return;
        }
        let bytes = buffer.size_at_rest() + key.as_str().len();
        if buffer.base.is_none() || bytes > self.capacity {
            self.all.remove(key);
            return;
        }
        self.rests += 1;
        self.bytes += bytes;
        buffer.phase = Phase::Resting { since: self.rests, bytes };
        if !buffer.has_rested {
            buffer.has_rested = true;
            self.oldest.push_back((self.rests, key.clone()));
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.bytes > self.capacity
            && let Some((rest, key)) = self.oldest.pop_front()
        {
            match self.all.get_mut(&key).map(|buffer| (buffer.phase, buffer)) {
                None => {}
                Some((Phase::Resting { since, bytes }, _)) if since == rest => {
                    self.all.remove(&key);
                    self.bytes -= bytes;
                }
                Some((Phase::Resting { since, .. }, _)) => self.oldest.push_back((since, key)),
                Some((_, buffer)) => buffer.has_rested = false,
            }
        }
    }

    /// Forgets what is known of documents at rest.
    pub fn forget_resting(&mut self) {
        self.all.retain(|_, buffer| {
            buffer.has_rested = false;
            !matches!(buffer.phase, Phase::Resting { .. })
        });
        self.oldest.clear();
        self.bytes = 0;
    }

    /// The keys of all that are not at rest, sorted.
    pub fn awake(&self) -> Vec<DocumentKey> {
        let awake = self.all.iter().filter(|(_, buffer)| !matches!(buffer.phase, Phase::Resting { .. }));
        let mut keys: Vec<_> = awake.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }
}
