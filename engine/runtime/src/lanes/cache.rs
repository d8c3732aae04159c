//! Documents at rest, kept so that the next write needs no read. The longest untouched go first.

use std::collections::{BTreeMap, HashMap};

use foldstream_model::{DocumentKey, ports::StoredDocument};

pub(super) struct Cache {
    capacity: usize,
    bytes: usize,
    /// Counts what was put; the lowest in the cache is the longest untouched.
    puts: u64,
    entries: HashMap<DocumentKey, Entry>,
    by_age: BTreeMap<u64, DocumentKey>,
}

struct Entry {
    put: u64,
    bytes: usize,
    stored: StoredDocument,
}

impl Cache {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, bytes: 0, puts: 0, entries: HashMap::new(), by_age: BTreeMap::new() }
    }

    pub fn take(&mut self, key: &DocumentKey) -> Option<StoredDocument> {
        let entry = self.entries.remove(key)?;
        self.by_age.remove(&entry.put);
        self.bytes -= entry.bytes;
        Some(entry.stored)
    }

    pub fn put(&mut self, key: DocumentKey, stored: StoredDocument) {
        /// Maps, guard and allocations around a document, roughly.
        const OVERHEAD: usize = 400;
        let document = stored.document.as_ref().map_or(0, |document| document.size_in_bytes());
        let bytes = document + key.as_str().len() + OVERHEAD;
        if bytes > self.capacity {
            return;
        }
        self.take(&key);
        while self.bytes + bytes > self.capacity {
            let Some((_, oldest)) = self.by_age.first_key_value() else { break };
            let oldest = oldest.clone();
            self.take(&oldest);
        }
        self.puts += 1;
        self.bytes += bytes;
        self.by_age.insert(self.puts, key.clone());
        self.entries.insert(key, Entry { put: self.puts, bytes, stored });
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.by_age.clear();
        self.bytes = 0;
    }
}
