//! Bytes in flight: one bound for the process, with one batch reserved for each reading, so that readings that wait
//! for each other cannot lock it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::metrics;

/// The process's bound.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

/// One reading's part of it.
#[derive(Debug, Clone)]
pub struct Share {
    budget: Arc<Budget>,
    /// Bytes that this reading may be ahead of what is settled.
    limit: usize,
    used: Arc<AtomicUsize>,
    exempt: Arc<AtomicBool>,
}

/// Lets the one shard that a merge waits for read on, whatever is held: what the others hold waits for it.
#[derive(Debug, Clone)]
pub struct Exemption(Share);

/// The weight of one batch, given back when the last projection has settled it.
#[derive(Debug)]
pub struct Hold {
    share: Share,
    bytes: usize,
}

impl Budget {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub fn share(self: &Arc<Self>, limit: usize) -> Share {
        Share { budget: self.clone(), limit, used: Arc::default(), exempt: Arc::default() }
    }
}

impl Share {
    /// Whether another batch may be taken: there is room, or this reading holds nothing at all.
    pub fn has_room(&self) -> bool {
        let own = self.used.load(Ordering::Acquire);
        let all = self.budget.used.load(Ordering::Acquire);
        let exempt = self.exempt.load(Ordering::Acquire);
        exempt || own == 0 || (own < self.limit && all < self.budget.limit)
    }

    /// Waits until another batch may be taken.
    pub async fn room(&self) {
        loop {
            let freed = self.budget.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    pub fn exemption(&self) -> Exemption {
        Exemption(self.clone())
    }

    /// Takes a batch's weight. A batch is taken whole, so the bound is passed by at most one batch for each reading.
    pub fn hold(&self, bytes: usize) -> Arc<Hold> {
        let bytes = bytes.max(1);
        self.used.fetch_add(bytes, Ordering::AcqRel);
        let all = self.budget.used.fetch_add(bytes, Ordering::AcqRel) + bytes;
        metrics::bytes_in_flight(all);
        Arc::new(Hold { share: self.clone(), bytes })
    }
}

impl Exemption {
    pub fn set(&self, exempt: bool) {
        self.0.exempt.store(exempt, Ordering::Release);
        if exempt {
            self.0.budget.freed.notify_waiters();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_reading_that_holds_nothing_always_has_room() {
        let budget = Budget::new(10);
        let (greedy, other) = (budget.share(100), budget.share(100));
        let held = greedy.hold(50);
        assert!(greedy.room().now_or_never().is_none());
        assert!(other.room().now_or_never().is_some());
        drop(held);
        assert!(greedy.room().now_or_never().is_some());
    }

    #[test]
    fn a_reading_waits_at_its_own_limit() {
        let share = Budget::new(1_000).share(10);
        let _held = share.hold(10);
        assert!(share.room().now_or_never().is_none());
    }
}
