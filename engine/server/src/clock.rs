//! The world's time and chance: the only place that asks the machine for them.

use foldstream_model::{Clock, Ids, Timestamp};

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is injected everywhere else")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}

/// UUIDs of version 7: they sort by when they were made.
pub struct UniqueIds;

impl Ids for UniqueIds {
    #[expect(clippy::disallowed_methods, reason = "these are the ids that are injected everywhere else")]
    fn unique(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }
}
