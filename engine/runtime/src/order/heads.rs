//! The heads of a shard's streams, densely and sorted.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use foldstream_model::{Head, StreamHash};

/// A map by stream. Its own order means nothing: whoever goes through it sorts.
pub(super) type ByStream<V> = HashMap<StreamHash, V, BuildHasherDefault<WordHasher>>;

/// A run takes the hashes that begin with the same bits. With 2^13 runs a million streams are 120 in each: a newcomer
/// moves half of them, and empty runs cost 200 kB.
const BITS: u32 = 13;

/// Steps from where a stream should be to where it is, before the search is halved instead: of hashes spread evenly,
/// the distance is about the root of a run's length.
const STEPS: usize = 48;

/// The last sequence known of each stream: runs sorted by hash, found by where an even spread would put it. Runs grow by
/// an eighth, so that a stream takes little more than its 32 bytes, and all of them are at hand in order for a cut.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    runs: Vec<Vec<(StreamHash, Head)>>,
    len: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self { runs: vec![Vec::new(); 1 << BITS], len: 0 }
    }
}

impl Heads {
    pub fn get(&self, stream: StreamHash) -> Option<Head> {
        let run = &self.runs[run_of(stream)];
        find(run, stream).ok().map(|at| run[at].1)
    }

    pub fn set(&mut self, stream: StreamHash, head: Head) {
        let run = &mut self.runs[run_of(stream)];
        match find(run, stream) {
            Ok(at) => run[at].1 = head,
            Err(at) => {
                if run.len() == run.capacity() {
                    run.reserve_exact(run.len() / 8 + 2);
                }
                run.insert(at, (stream, head));
                self.len += 1;
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// All of them, sorted by stream.
    pub fn iter(&self) -> impl Iterator<Item = (StreamHash, Head)> + '_ {
        self.runs.iter().flatten().copied()
    }

    /// Takes the other's heads where they are higher.
    pub fn raise_to(&mut self, other: &Self) {
        for (stream, theirs) in other.iter() {
            let ours = self.get(stream).unwrap_or(theirs);
            let sequence = ours.sequence.max(theirs.sequence);
            self.set(stream, Head { sequence, recorded_at: ours.recorded_at.max(theirs.recorded_at) });
        }
    }
}

fn run_of(stream: StreamHash) -> usize {
    (stream.words()[0] >> (u64::BITS - BITS)) as usize
}

/// Where the stream is in its run, or where it would have to be put.
fn find(run: &[(StreamHash, Head)], stream: StreamHash) -> Result<usize, usize> {
    let share = u128::from(stream.words()[0] << BITS);
    let mut at = ((share * run.len() as u128) >> u64::BITS) as usize;
    for _ in 0..STEPS {
        match run.get(at) {
            Some((here, _)) if *here == stream => return Ok(at),
            Some((here, _)) if *here < stream => at += 1,
            _ => match at.checked_sub(1).map(|before| run[before].0) {
                Some(before) if before > stream => at -= 1,
                Some(before) if before == stream => return Ok(at - 1),
                _ => return Err(at),
            },
        }
    }
    run.binary_search_by_key(&stream, |(here, _)| *here)
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
        heads.runs.iter().map(|run| run.capacity() * size_of::<(StreamHash, Head)>()).sum()
    }

    #[test]
    fn a_million_streams_cost_at_most_40_megabytes_and_no_number_of_them_much_more_each() {
        let mut heads = Heads::default();
        for stream in 0..1_000_000u64 {
            heads.set(StreamHash::of(&stream.to_string()), head(stream));
            if stream % 50_000 == 49_999 {
                let per_stream = size_in_bytes(&heads) / heads.len();
                assert!((32..=40).contains(&per_stream), "{per_stream} bytes a stream of {}", heads.len());
            }
        }
        assert_eq!(heads.get(StreamHash::of("77")), Some(head(77)));
        assert_eq!(heads.len(), 1_000_000);
    }

    /// Hashes that are spread evenly, and such as somebody chose so that they crowd.
    fn stream() -> impl Strategy<Value = StreamHash> {
        let crowded = (0u64..4, 0u64..200).prop_map(|(high, low)| StreamHash::from_words([high, low]));
        let spread = (0u64..200).prop_map(|stream| StreamHash::of(&stream.to_string()));
        let edges = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
            .prop_map(|word| StreamHash::from_words([word, word]));
        prop_oneof![crowded, spread, edges]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn heads_are_what_a_map_would_hold_in_its_order(
            sets in prop::collection::vec((stream(), 0u64..50), 0..400),
            others in prop::collection::vec((stream(), 0u64..50), 0..100),
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
