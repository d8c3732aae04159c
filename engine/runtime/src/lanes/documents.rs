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
    at_rest: usize,
    /// Counts the rests; names the one that an entry of `oldest` is about.
    rests: u64,
    /// Rests from the first on, those included that have ended.
    oldest: VecDeque<(u64, DocumentKey)>,
}

impl Documents {
    pub fn new(capacity: usize) -> Self {
        Self { all: HashMap::default(), capacity, bytes: 0, at_rest: 0, rests: 0, oldest: VecDeque::new() }
    }

    /// The document, awake: from its rest with what is stored of it, or new and unread. True if it was not awake.
    pub fn wake(&mut self, key: &DocumentKey) -> (&mut Buffer, bool) {
        match self.all.entry(key.clone()) {
            Entry::Vacant(vacant) => (vacant.insert(Box::default()), true),
            Entry::Occupied(occupied) => {
                let buffer = occupied.into_mut();
                let Phase::Resting { bytes, .. } = buffer.phase else { return (buffer, false) };
                self.bytes -= bytes;
                self.at_rest -= 1;
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
        self.at_rest += 1;
        self.bytes += bytes;
        buffer.phase = Phase::Resting { since: self.rests, bytes };
        self.oldest.push_back((self.rests, key.clone()));
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.bytes > self.capacity
            && let Some((rest, key)) = self.oldest.pop_front()
        {
            if self.is_at_rest(rest, &key) {
                self.forget(&key);
            }
        }
        if self.oldest.len() > 2 * self.at_rest + 1_000 {
            let mut oldest = std::mem::take(&mut self.oldest);
            oldest.retain(|(rest, key)| self.is_at_rest(*rest, key));
            self.oldest = oldest;
        }
    }

    fn is_at_rest(&self, rest: u64, key: &DocumentKey) -> bool {
        let phase = self.all.get(key).map(|buffer| buffer.phase);
        matches!(phase, Some(Phase::Resting { since, .. }) if since == rest)
    }

    fn forget(&mut self, key: &DocumentKey) {
        let Some(buffer) = self.all.remove(key) else { return };
        if let Phase::Resting { bytes, .. } = buffer.phase {
            self.bytes -= bytes;
            self.at_rest -= 1;
        }
    }

    /// Forgets what is known of documents at rest.
    pub fn forget_resting(&mut self) {
        for (rest, key) in std::mem::take(&mut self.oldest) {
            if self.is_at_rest(rest, &key) {
                self.forget(&key);
            }
        }
    }

    /// The keys of all that are not at rest, sorted.
    pub fn awake(&self) -> Vec<DocumentKey> {
        let awake = self.all.iter().filter(|(_, buffer)| !matches!(buffer.phase, Phase::Resting { .. }));
        let mut keys: Vec<_> = awake.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }
}
