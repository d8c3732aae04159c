//! At most so many write units a second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How far ahead of an even pace a burst may be.
const BURST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Ceiling {
    units_per_second: u32,
    /// When all that was let through would have been written at an even pace.
    paid_until: Mutex<Option<Instant>>,
}

impl Ceiling {
    pub(crate) fn new(units_per_second: u32) -> Self {
        Self { units_per_second, paid_until: Mutex::new(None) }
    }

    /// Waits until so many more units may be written.
    pub(crate) async fn pass(&self, units: u32) {
        let starts = self.book(Instant::now(), units);
        tokio::time::sleep_until(starts).await;
    }

    /// When a write may start that is asked for now.
    fn book(&self, now: Instant, units: u32) -> Instant {
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = paid_until.map_or(now, |until| until.max(now));
        *paid_until = Some(begins + Duration::from_secs(1) * units / self.units_per_second.max(1));
        begins.checked_sub(BURST).map_or(now, |starts| starts.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_what_follows_at_the_rate() {
        let (ceiling, begun) = (Ceiling::new(100), Instant::now());
        for _ in 0..100 {
            ceiling.pass(1).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            ceiling.pass(2).await;
        }
        assert!((1_900..=2_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }
}
