//! Order by the book: sets of sequences, run through anew each time.

use super::*;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naive {
    pub heads: BTreeMap<String, u64>,
    pub early: BTreeMap<String, BTreeSet<u64>>,
    pub given_up: BTreeSet<(String, u64)>,
}

impl Naive {
    pub fn head(&self, stream: &str) -> u64 {
        self.heads.get(stream).copied().unwrap_or(0)
    }

    pub fn is_early(&self, stream: &str, sequence: u64) -> bool {
        self.early.get(stream).is_some_and(|early| early.contains(&sequence))
    }

    /// The sequences that a record releases.
    pub fn record(&mut self, stream: &str, sequence: u64) -> Vec<u64> {
        match sequence {
            _ if sequence <= self.head(stream) => Vec::new(),
            _ if sequence > self.head(stream) + 1 => {
                self.early.entry(stream.into()).or_default().insert(sequence);
                Vec::new()
            }
            _ => self.run(stream, vec![sequence]),
        }
    }

    pub fn fill(&mut self, stream: &str, up_to: u64) -> Vec<u64> {
        let missing = (self.head(stream) + 1..=up_to).collect();
        self.run(stream, missing)
    }

    pub fn give_up(&mut self, stream: &str, up_to: u64) -> Vec<u64> {
        let all: Vec<u64> = (self.head(stream) + 1..=up_to).collect();
        for sequence in &all {
            if !self.is_early(stream, *sequence) {
                self.given_up.insert((stream.into(), *sequence));
            }
        }
        let released = self.run(stream, all);
        released.into_iter().filter(|sequence| !self.given_up.contains(&(stream.into(), *sequence))).collect()
    }

    /// Moves the head over these, and over what waits behind them.
    fn run(&mut self, stream: &str, mut released: Vec<u64>) -> Vec<u64> {
        let Some(mut head) = released.last().copied() else { return released };
        let mut early = self.early.remove(stream).unwrap_or_default();
        early.retain(|sequence| *sequence > head);
        while early.remove(&(head + 1)) {
            head += 1;
            released.push(head);
        }
        if !early.is_empty() {
            self.early.insert(stream.into(), early);
        }
        self.heads.insert(stream.into(), head);
        released
    }

    pub fn of(order: &Order, streams: &[&str]) -> Self {
        let mut naive = Self::default();
        for stream in streams {
            let head = order.head(StreamHash::of(stream)).map(|head| head.sequence.0);
            naive.heads.extend(head.map(|head| (stream.to_string(), head)));
        }
        for waiting in order.early.iter() {
            let early = naive.early.entry(waiting.stream.to_string()).or_default();
            early.insert(waiting.sequence.0);
        }
        for given_up in order.given_up() {
            let stream = streams.iter().find(|stream| StreamHash::of(stream) == given_up.stream).unwrap();
            naive
                .given_up
                .extend((given_up.first.0..=given_up.last.0).map(|sequence| (stream.to_string(), sequence)));
        }
        naive
    }
}
