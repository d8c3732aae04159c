//! What only AWS does, and how often: times in a thousand calls.

use foldstream_aws::kinesis::Reading;

use crate::{chance::Chance, less::Less};

/// What is drawn of it is drawn apart.
const AWS: u64 = 0x00a5_5a00_0000;
const CONSUMER: &str = "foldstream";

#[derive(Debug, Clone)]
pub struct Weather {
    /// Records are pushed, not polled.
    pub fan_out: bool,
    /// An iterator expires before it is used.
    pub expired: u64,
    /// There are records, and an answer has none of them, or few.
    pub empty: u64,
    /// A page ends early.
    pub short: u64,
    /// Some of a batch is not processed.
    pub unprocessed: u64,
    /// A transaction meets another one.
    pub conflict: u64,
    /// A subscription ends before its time: it is reset, or fails.
    pub reset: u64,
    /// The producer puts up to so many events into one record.
    pub aggregated: usize,
    /// Shards answer no more than five calls a second.
    pub busy: bool,
}

impl Weather {
    pub fn draw(seed: u64, less: &Less) -> Self {
        let mut chance = Chance::new(seed ^ AWS);
        let (fan_out, busy) = (chance.one_in(2), chance.one_in(2));
        let aggregated = chance.pick(&[1, 2, 20]);
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        Self {
            fan_out: fan_out && less.allows("fan-out"),
            expired: on(100),
            empty: on(300),
            short: on(200),
            unprocessed: on(200),
            conflict: on(100),
            reset: on(100),
            aggregated: if less.allows("aggregate") { aggregated } else { 1 },
            busy: busy && less.allows("busy shards"),
        }
    }

    pub fn reading(&self) -> Reading {
        match self.fan_out {
            true => Reading::FanOut { consumer: CONSUMER.to_owned() },
            false => Reading::Polling,
        }
    }
}
