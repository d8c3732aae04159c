//! Where each stream stands.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{Error, Result, Sequence, StreamHash, StreamId};

/// The last sequence of each stream that this run has met, by the hash of its id: 32 bytes a path. Two ids of one hash
/// would be noticed by the event store, which refuses an append to a stream that stands elsewhere.
pub struct Sequences<F> {
    met: BTreeMap<StreamHash, u64>,
    /// Answers for streams that this run has not met. None when there was no run before.
    stored: Option<F>,
}

impl<F: FnMut(&[StreamId]) -> Result<Vec<Option<Sequence>>>> Sequences<F> {
    pub fn new(stored: Option<F>) -> Self {
        Self { met: BTreeMap::new(), stored }
    }

    /// Gives each stream one more event; the sequence that each had before, none of an empty one.
    ///
    /// The event store is asked only about streams that this run has not met, so it does not matter how much of this
    /// run's own events it has taken yet.
    pub fn advance(&mut self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        self.meet(streams)?;
        let advance = |stream: &StreamId| {
            let last = self.met.entry(stream.hash()).or_insert(0);
            *last += 1;
            (*last > 1).then(|| Sequence(*last - 1))
        };
        Ok(streams.iter().map(advance).collect())
    }

    fn meet(&mut self, streams: &[StreamId]) -> Result<()> {
        let Some(stored) = &mut self.stored else { return Ok(()) };
        let unmet = |stream: &&StreamId| !self.met.contains_key(&stream.hash());
        let unmet: Vec<_> =
            streams.iter().filter(unmet).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        if unmet.is_empty() {
            return Ok(());
        }
        let last = stored(&unmet)?;
        if last.len() != unmet.len() {
            return Err(Error::internal(format!(
                "the event store told of {} streams, not {}",
                last.len(),
                unmet.len()
            )));
        }
        for (stream, last) in unmet.iter().zip(last) {
            self.met.insert(stream.hash(), last.map_or(0, |last| last.0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_asked_once_about_each_stream() {
        let mut asked = Vec::new();
        let mut sequences = Sequences::new(Some(|streams: &[StreamId]| {
            asked.extend(streams.iter().map(ToString::to_string));
            Ok(streams.iter().map(|stream| (stream.as_str() == "old").then_some(Sequence(7))).collect())
        }));
        let streams = ["new", "old"].map(StreamId::new);
        assert_eq!(sequences.advance(&streams).unwrap(), [None, Some(Sequence(7))]);
        assert_eq!(sequences.advance(&streams).unwrap(), [Some(Sequence(1)), Some(Sequence(8))]);
        assert_eq!(asked, ["new", "old"]);
    }
}
