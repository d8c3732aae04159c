//! The heads of a shard's streams, densely and sorted.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use foldstream_model::{Head, StreamHash};

use self::run::Run;

use crate::planted::{self, Bug};

mod run;

/// A map by stream. Its own order means nothing: whoever goes through it sorts.
pub(super) type ByStream<V> = HashMap<StreamHash, V, BuildHasherDefault<WordHasher>>;

/// A run that is longer is split in two: a newcomer moves half of its run.
const LONGEST: usize = 512;

/// Bits that a run is found by at most. Hashes that somebody has chosen so that they crowd make a long run, no more.
const DEEPEST: u32 = 20;

/// The last sequence known of each stream: runs sorted by hash, each found by the first bits of the hash, and a stream in
/// it by where an even spread would put it. A stream takes little more than its 32 bytes, nothing is ever moved as a
/// whole, and all of them are at hand in order for a cut.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    runs: Vec<Run>,
    /// The run of each beginning of `depth` bits, and by how many of them it is found.
    directory: Vec<(u32, u32)>,
    depth: u32,
    len: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self { runs: vec![Run::default()], directory: vec![(0, 0)], depth: 0, len: 0 }
    }
}

impl Heads {
    pub fn get(&self, stream: StreamHash) -> Option<Head> {
        let (run, depth) = self.directory[self.slot(stream)];
        let run = &self.runs[run as usize];
        let at = run.find(stream, depth).ok()?;
        run.at(at).map(|(_, head)| *head)
    }

    pub fn set(&mut self, stream: StreamHash, head: Head) {
        let slot = self.slot(stream);
        let (index, depth) = self.directory[slot];
        let run = &mut self.runs[index as usize];
        match run.find(stream, depth) {
            Ok(at) => run.set(at, head),
            Err(at) => {
                run.insert(at, (stream, head));
                self.len += 1;
                if run.len() > LONGEST && depth < DEEPEST {
                    self.split(slot);
                }
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// All of them, sorted by stream.
    pub fn iter(&self) -> impl Iterator<Item = (StreamHash, Head)> + '_ {
        let runs = self.directory.chunk_by(|(a, _), (b, _)| a == b).filter_map(|slots| slots.first());
        runs.flat_map(|(run, _)| self.runs[*run as usize].iter().copied())
    }

    /// Takes the other's heads where they are higher.
    pub fn raise_to(&mut self, other: &Self) {
        for (stream, theirs) in other.iter() {
            let ours = self.get(stream).unwrap_or(theirs);
            let sequence = match planted::is(Bug::LastParentsHead) {
                true => theirs.sequence,
                false => ours.sequence.max(theirs.sequence),
            };
            self.set(stream, Head { sequence, recorded_at: ours.recorded_at.max(theirs.recorded_at) });
        }
    }

    fn slot(&self, stream: StreamHash) -> usize {
        stream.words()[0].unbounded_shr(u64::BITS - self.depth) as usize
    }

    fn split(&mut self, mut slot: usize) {
        let (index, depth) = self.directory[slot];
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|slot| [*slot, *slot]).collect();
            self.depth += 1;
            slot *= 2;
        }
        let [low, high] = std::mem::take(&mut self.runs[index as usize]).split(depth);
        let other = self.runs.len() as u32;
        self.runs[index as usize] = low;
        self.runs.push(high);
        let half = 1 << (self.depth - depth - 1);
        let first = slot / (2 * half) * (2 * half);
        self.directory[first..first + half].fill((index, depth + 1));
        self.directory[first + half..first + 2 * half].fill((other, depth + 1));
    }
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
    use std::collections::BTreeMap;

    use foldstream_model::{Sequence, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn head(sequence: u64) -> Head {
        Head { sequence: Sequence(sequence), recorded_at: Timestamp::EPOCH }
    }

    fn size_in_bytes(heads: &Heads) -> usize {
        heads.directory.capacity() * 8 + heads.runs.iter().map(Run::size_in_bytes).sum::<usize>()
    }

    #[test]
    fn a_million_streams_cost_at_most_38_megabytes_and_no_number_of_them_much_more_each() {
        let mut heads = Heads::default();
        for stream in 0..1_000_000u64 {
            heads.set(StreamHash::of(&stream.to_string()), head(stream));
            if stream % 50_000 == 49_999 {
                let per_stream = size_in_bytes(&heads) / heads.len();
                assert!((32..=38).contains(&per_stream), "{per_stream} bytes a stream of {}", heads.len());
            }
        }
        assert_eq!(heads.get(StreamHash::of("77")), Some(head(77)));
        assert_eq!(heads.len(), 1_000_000);
    }

    /// Hashes that are spread evenly, and such as somebody chose so that they crowd.
    fn stream() -> impl Strategy<Value = StreamHash> {
        let crowded = (0u64..4, 0u64..1_000).prop_map(|(high, low)| StreamHash::from_words([high, low]));
        let spread = (0u64..1_000).prop_map(|stream| StreamHash::of(&stream.to_string()));
        let edges = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
            .prop_map(|word| StreamHash::from_words([word, word]));
        prop_oneof![crowded, spread, edges]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn heads_are_what_a_map_would_hold_in_its_order(
            sets in prop::collection::vec((stream(), 0u64..50), 0..2_000),
            others in prop::collection::vec((stream(), 0u64..50), 0..200),
        ) {
            let (mut heads, mut naive) = (Heads::default(), BTreeMap::new());
            for (stream, sequence) in sets {
                heads.set(stream, head(sequence));
                naive.insert(stream, head(sequence));
                prop_assert_eq!(heads.get(stream), naive.get(&stream).copied());
            }
            let mut other = Heads::default();
            for (stream, sequence) in others {
                prop_assert_eq!(heads.get(stream), naive.get(&stream).copied());
                other.set(stream, head(sequence));
            }
            heads.raise_to(&other);
            for (stream, theirs) in other.iter() {
                let ours = naive.entry(stream).or_insert(theirs);
                ours.sequence = ours.sequence.max(theirs.sequence);
            }
            prop_assert_eq!(heads.len(), naive.len());
            prop_assert_eq!(heads.iter().collect::<Vec<_>>(), naive.into_iter().collect::<Vec<_>>());
        }
    }
}
