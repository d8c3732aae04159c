//! How many requests a table is sent at once: as many as it takes without throttling. And how many are tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// More at once are no faster: a request takes some 5 ms, and a table's partition 1,000 write units a second.
const MOST: u32 = 128;
const FIRST: u32 = 16;
/// What a try that is repeated costs of the budget; each that succeeds pays one back.
const REPEAT_COSTS: u32 = 10;
const BUDGET: u32 = 1_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Throttled,
    /// Without an answer, or with one that says nothing of load.
    Failed,
}

/// Adds one to the limit for each round of requests that succeed, and takes a quarter away when one is throttled. Those that
/// were on their way then are throttled for the same reason, and take nothing more away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    limit: u32,
    in_flight: u32,
    /// Since the limit last changed.
    done: u32,
    /// How often the limit was lowered.
    round: u64,
    budget: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { limit: FIRST, in_flight: 0, done: 0, round: 0, budget: BUDGET }
    }

    /// The round of a request that is sent now; none: it has to wait.
    fn start(&mut self) -> Option<u64> {
        (self.in_flight < self.limit).then(|| {
            self.in_flight += 1;
            self.round
        })
    }

    fn end(&mut self, round: u64, ended: Ended) {
        self.in_flight -= 1;
        match ended {
            Ended::Done => {
                self.budget = (self.budget + 1).min(BUDGET);
                self.done += 1;
                if self.done >= self.limit {
                    (self.limit, self.done) = ((self.limit + 1).min(MOST), 0);
                }
            }
            Ended::Throttled if round == self.round => {
                self.limit = (self.limit - self.limit.div_ceil(4)).max(1);
                (self.done, self.round) = (0, self.round + 1);
            }
            Ended::Throttled | Ended::Failed => {}
        }
    }

    /// Whether the budget has one more try.
    fn repeat(&mut self) -> bool {
        let left = self.budget.checked_sub(REPEAT_COSTS);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }
}

/// Lets as many in as the pace allows.
#[derive(Debug)]
pub(crate) struct Gate {
    pace: Mutex<Pace>,
    freed: Notify,
}

/// A request under way. One that is dropped has failed.
#[derive(Debug)]
pub(crate) struct Pass<'g> {
    gate: &'g Gate,
    round: u64,
    ended: Ended,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { pace: Mutex::new(Pace::new()), freed: Notify::new() }
    }

    pub(crate) async fn enter(&self) -> Pass<'_> {
        loop {
            // Before it is looked, so that whoever leaves in between is not missed.
            let freed = self.freed.notified();
            if let Some(round) = self.pace().start() {
                return Pass { gate: self, round, ended: Ended::Failed };
            }
            freed.await;
        }
    }

    pub(crate) fn may_repeat(&self) -> bool {
        self.pace().repeat()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    pub(crate) fn end(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.pace().end(self.round, self.ended);
        self.gate.freed.notify_one();
        if self.ended == Ended::Done {
            // The limit may have grown.
            self.gate.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round: as many requests as are let in, all of which end so.
    fn round(pace: &mut Pace, ended: Ended) {
        let rounds: Vec<u64> = std::iter::from_fn(|| pace.start()).collect();
        rounds.into_iter().for_each(|round| pace.end(round, ended));
    }

    #[test]
    fn it_quickens_by_one_a_round_and_slows_by_a_quarter() {
        let mut pace = Pace::new();
        round(&mut pace, Ended::Done);
        assert_eq!(pace.limit, 17);
        round(&mut pace, Ended::Throttled);
        assert_eq!(pace.limit, 12, "once a round: {pace:?}");
    }

    #[test]
    fn it_never_stops_and_never_passes_the_most() {
        let mut pace = Pace::new();
        (0..100).for_each(|_| round(&mut pace, Ended::Throttled));
        assert_eq!(pace.limit, 1);
        (0..1_000).for_each(|_| round(&mut pace, Ended::Done));
        assert_eq!(pace.limit, MOST);
        assert_eq!(pace.in_flight, 0);
    }

    #[test]
    fn a_budget_of_repeats_is_used_up_and_earned_again() {
        let mut pace = Pace::new();
        let tries = std::iter::from_fn(|| pace.repeat().then_some(())).count();
        assert_eq!(tries as u32, BUDGET / REPEAT_COSTS);
        round(&mut pace, Ended::Done);
        assert!(pace.repeat());
    }
}
