//! A run: streams whose hashes begin with the same bits, sorted.

use foldstream_model::{Head, StreamHash};

/// Entries of a block. Blocks have one size, so that nothing is lost to an allocator's sizes when a run grows.
const BLOCK: usize = 32;

/// Steps from where a stream should be to where it is, before the search is halved instead: of hashes spread evenly,
/// the distance is about the root of a run's length.
const STEPS: usize = 48;

type Entry = (StreamHash, Head);

/// All blocks but the last are full.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    blocks: Vec<Vec<Entry>>,
    len: usize,
}

impl Run {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flatten()
    }

    pub fn at(&self, index: usize) -> Option<&Entry> {
        self.blocks.get(index / BLOCK)?.get(index % BLOCK)
    }

    pub fn set(&mut self, index: usize, head: Head) {
        if let Some(entry) = self.blocks.get_mut(index / BLOCK).and_then(|block| block.get_mut(index % BLOCK))
        {
            entry.1 = head;
        }
    }

    /// Puts an entry before the one at `index`; each full block behind passes its last one on.
    pub fn insert(&mut self, index: usize, entry: Entry) {
        if self.len.is_multiple_of(BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        self.len += 1;
        let (mut passed_on, mut at) = (entry, index % BLOCK);
        for block in self.blocks.iter_mut().skip(index / BLOCK) {
            if block.len() < BLOCK {
                block.insert(at, passed_on);
                return;
            }
            block.get_mut(at..).unwrap_or_default().rotate_right(1);
            if let Some(first) = block.get_mut(at) {
                std::mem::swap(first, &mut passed_on);
            }
            at = 0;
        }
    }

    fn push(&mut self, entry: Entry) {
        self.insert(self.len, entry);
    }

    /// Where the stream is, or where it would have to be put. The first bits of all hashes here, `depth` of them, are
    /// the same.
    pub fn find(&self, stream: StreamHash, depth: u32) -> Result<usize, usize> {
        let share = u128::from(stream.words()[0].unbounded_shl(depth));
        let mut at = ((share * self.len as u128) >> u64::BITS) as usize;
        for _ in 0..STEPS {
            match self.at(at) {
                Some((here, _)) if *here == stream => return Ok(at),
                Some((here, _)) if *here < stream => at += 1,
                _ => match at.checked_sub(1).and_then(|before| self.at(before)) {
                    Some((before, _)) if *before > stream => at -= 1,
                    Some((before, _)) if *before == stream => return Ok(at - 1),
                    _ => return Err(at),
                },
            }
        }
        self.search(stream)
    }

    fn search(&self, stream: StreamHash) -> Result<usize, usize> {
        let before =
            self.blocks.partition_point(|block| block.last().is_some_and(|(last, _)| *last < stream));
        let Some(block) = self.blocks.get(before) else { return Err(self.len) };
        let found = block.binary_search_by_key(&stream, |(here, _)| *here);
        found.map(|at| before * BLOCK + at).map_err(|at| before * BLOCK + at)
    }

    /// The two runs of those whose next bit is 0, and 1.
    pub fn split(self, depth: u32) -> [Self; 2] {
        let mut halves = [Self::default(), Self::default()];
        for entry in self.blocks.into_iter().flatten() {
            let bit = entry.0.words()[0].unbounded_shl(depth) >> (u64::BITS - 1);
            halves[usize::from(bit == 1)].push(entry);
        }
        halves
    }

    #[cfg(test)]
    pub fn size_in_bytes(&self) -> usize {
        size_of::<Self>()
            + self.blocks.capacity() * size_of::<Vec<Entry>>()
            + self.blocks.len() * BLOCK * size_of::<Entry>()
    }
}
