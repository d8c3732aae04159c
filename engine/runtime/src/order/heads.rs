//! The heads of a shard's streams, densely.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use foldstream_model::{Head, StreamHash};

/// A map by stream. Its own order means nothing: whoever goes through it sorts.
pub(super) type ByStream<V> = HashMap<StreamHash, V, BuildHasherDefault<WordHasher>>;

const TABLES: usize = 16;

/// How many 256ths of the streams each table takes. A table doubles when it is full; shares that rise evenly up to the
/// double of the smallest make the tables double one after the other, so that memory grows smoothly (about 55 bytes a
/// stream) and no single event waits for all of it to be moved.
const SHARES: [u8; TABLES] = [11, 12, 12, 13, 14, 14, 15, 15, 16, 17, 17, 18, 19, 20, 21, 22];

const TABLE_OF: [u8; 256] = {
    let mut table_of = [0; 256];
    let (mut slot, mut table) = (0, 0);
    while table < TABLES {
        let end = slot + SHARES[table] as usize;
        while slot < end {
            table_of[slot] = table as u8;
            slot += 1;
        }
        table += 1;
    }
    assert!(slot == 256, "the shares are 256ths");
    table_of
};

/// The last sequence known of each stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads {
    tables: [ByStream<Head>; TABLES],
}

impl Heads {
    pub fn get(&self, stream: StreamHash) -> Option<Head> {
        self.tables[table_of(stream)].get(&stream).copied()
    }

    pub fn set(&mut self, stream: StreamHash, head: Head) {
        self.tables[table_of(stream)].insert(stream, head);
    }

    pub fn len(&self) -> usize {
        self.tables.iter().map(HashMap::len).sum()
    }

    /// All of them, sorted by stream.
    pub fn sorted(&self) -> Vec<(StreamHash, Head)> {
        let mut heads = Vec::with_capacity(self.len());
        for table in &self.tables {
            #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
            for (stream, head) in table {
                heads.push((*stream, *head));
            }
        }
        heads.sort_unstable_by_key(|(stream, _)| *stream);
        heads
    }

    /// Takes the other's heads where they are higher.
    pub fn raise_to(&mut self, other: &Self) {
        for (table, others) in self.tables.iter_mut().zip(&other.tables) {
            #[expect(
                clippy::iter_over_hash_type,
                reason = "the higher one does not depend on who comes first"
            )]
            for (stream, theirs) in others {
                let head = table.entry(*stream).or_insert(*theirs);
                head.sequence = head.sequence.max(theirs.sequence);
                head.recorded_at = head.recorded_at.max(theirs.recorded_at);
            }
        }
    }
}

/// By the first word of the hash; the tables themselves go by the second.
fn table_of(stream: StreamHash) -> usize {
    usize::from(TABLE_OF[(stream.words()[0] >> 56) as usize])
}

/// Takes the last word that it is given as it is: a stream's hash is one already.
#[derive(Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(word) = bytes.last_chunk() {
            self.0 = u64::from_ne_bytes(*word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    /// The length of the words, which is always two.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use foldstream_model::{Sequence, Timestamp};

    use super::*;

    /// One byte of control beside each slot, of which seven in eight may be taken.
    fn size_in_bytes(heads: &Heads) -> usize {
        let slots: usize = heads.tables.iter().map(|table| table.capacity() / 7 * 8).sum();
        slots * (size_of::<(StreamHash, Head)>() + 1)
    }

    #[test]
    fn a_million_streams_cost_at_most_64_megabytes_and_no_number_of_them_much_more_each() {
        let mut heads = Heads::default();
        for stream in 0..1_000_000u64 {
            let head = Head { sequence: Sequence(stream), recorded_at: Timestamp::EPOCH };
            heads.set(StreamHash::of(&stream.to_string()), head);
            if stream % 50_000 == 49_999 {
                let per_stream = size_in_bytes(&heads) / heads.len();
                assert!((40..=64).contains(&per_stream), "{per_stream} bytes a stream of {}", heads.len());
            }
        }
        let stream = StreamHash::of("77");
        assert_eq!(heads.get(stream).map(|head| head.sequence), Some(Sequence(77)));
        assert_eq!(heads.sorted().len(), 1_000_000);
    }
}
