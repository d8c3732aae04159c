//! How fast a shard is asked: within what it gives to all who read it, and slower while it says that this is too much.

use std::time::Duration;

use tokio::time::Instant;

/// Calls that may come together after a rest.
const BURST: u32 = 5;
const LONGEST: Duration = Duration::from_secs(5);
/// Without a throttle for so long, who was slowed down tries to go a little faster.
const QUIET: Duration = Duration::from_secs(5);

/// When the next call may be sent. All readers of a shard in this process share one.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Between two calls in the long run, if nobody else reads.
    shortest: Duration,
    interval: Duration,
    bytes_per_second: u64,
    /// When the next call were due if they came evenly.
    due: Instant,
    /// When the bytes of the last answer have been paid for, or a throttle is over.
    not_before: Instant,
    quiet_since: Instant,
}

impl Pace {
    /// `bytes_per_second`: what a shard gives to all its readers together, beside so many calls.
    pub(crate) fn new(calls_per_second: u32, bytes_per_second: u64, now: Instant) -> Self {
        let shortest = Duration::from_secs(1) / calls_per_second.max(1);
        Self { shortest, interval: shortest, bytes_per_second, due: now, not_before: now, quiet_since: now }
    }

    /// When the caller may send; the next one later.
    pub(crate) fn reserve(&mut self, now: Instant) -> Instant {
        let ahead = if self.is_slowed() { Duration::ZERO } else { self.interval * (BURST - 1) };
        let at = now.max(self.not_before).max(self.due.checked_sub(ahead).unwrap_or(now));
        self.due = self.due.max(at) + self.interval;
        at
    }

    pub(crate) fn answered(&mut self, now: Instant, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        self.not_before = self.not_before.max(now) + Duration::from_micros(micros);
        if self.is_slowed() && now.saturating_duration_since(self.quiet_since) >= QUIET {
            self.interval = (self.interval * 3 / 4).max(self.shortest);
            self.quiet_since = now;
        }
    }

    pub(crate) fn throttled(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(LONGEST.max(self.shortest));
        self.not_before = self.not_before.max(now + self.interval);
        self.quiet_since = now;
    }

    fn is_slowed(&self) -> bool {
        self.interval > self.shortest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVEN: Duration = Duration::from_millis(200);

    fn pace_at(now: Instant) -> Pace {
        Pace::new(5, 2_000_000, now)
    }

    /// As soon as it may, again and again; when the calls were sent.
    fn call(pace: &mut Pace, mut now: Instant, calls: usize, bytes: usize) -> Vec<Instant> {
        let mut sent = Vec::new();
        for _ in 0..calls {
            now = pace.reserve(now);
            sent.push(now);
            pace.answered(now, bytes);
        }
        sent
    }

    #[test]
    fn a_second_has_five_calls_which_may_come_together_after_a_rest() {
        let now = Instant::now();
        let sent = call(&mut pace_at(now), now, 10, 0);
        assert_eq!(sent[4], now);
        assert_eq!(sent[9], now + Duration::from_secs(1));
    }

    #[test]
    fn bytes_are_paid_for() {
        let now = Instant::now();
        let sent = call(&mut pace_at(now), now, 4, 10_000_000);
        assert_eq!(sent[3], now + Duration::from_secs(15), "each takes as long as five seconds give");
    }

    #[test]
    fn a_throttle_slows_down_and_a_quiet_stretch_lets_it_quicken() {
        let now = Instant::now();
        let mut pace = pace_at(now);
        for _ in 0..3 {
            pace.throttled(now);
        }
        let slow = call(&mut pace, now, 3, 0);
        assert_eq!(slow[2] - slow[1], EVEN * 8);
        for _ in 0..20 {
            pace.throttled(now);
        }
        assert_eq!(pace.interval, LONGEST);
        let again = call(&mut pace, now, 200, 0);
        assert_eq!(again[199] - again[198], EVEN);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_twice_its_calls(throttles in prop::collection::vec(any::<bool>(), 1..60)) {
            let now = Instant::now();
            let (mut pace, mut at, mut sent) = (pace_at(now), now, Vec::new());
            for is_throttled in throttles {
                at = pace.reserve(at);
                sent.push(at);
                if is_throttled { pace.throttled(at) } else { pace.answered(at, 1_000) }
            }
            let second = Duration::from_secs(1);
            for (index, begin) in sent.iter().enumerate() {
                let within = sent[index..].iter().filter(|at| **at - *begin < second).count();
                prop_assert!(within <= 10, "{within}");
            }
        }
    }
}
