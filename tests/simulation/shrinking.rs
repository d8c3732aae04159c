//! A run that fails is made short: whatever it fails without, is left out.

use std::collections::BTreeSet;

use crate::{
    less::Less,
    projections::Kind,
    run::{self, Failure},
    stores::Bed,
};

/// Runs that are tried at most.
const TRIES: usize = 150;

/// The smallest run found that fails.
pub struct Shrunk {
    bed: Bed,
    seed: u64,
    pub less: Less,
    pub failure: Failure,
    tries: usize,
}

impl Shrunk {
    pub fn of(bed: Bed, seed: u64, less: Less, failure: Failure) -> Self {
        let mut shrunk = Self { bed, seed, less, failure, tries: TRIES };
        shrunk.projections();
        shrunk.workers();
        shrunk.happenings();
        shrunk.events();
        shrunk.streams();
        shrunk.events();
        shrunk.happenings();
        shrunk
    }

    /// Whether the run still fails with this left out; then it is.
    fn fails(&mut self, change: impl FnOnce(&mut Less)) -> bool {
        let mut less = self.less.clone();
        change(&mut less);
        if self.tries == 0 || less == self.less {
            return false;
        }
        self.tries -= 1;
        let Err(failure) = run::seed(self.bed, self.seed, &less) else { return false };
        (self.less, self.failure) = (less, failure);
        true
    }

    fn projections(&mut self) {
        let all: BTreeSet<Kind> = self.failure.world.workload.kinds.iter().copied().collect();
        if all.len() > 1 && !all.iter().any(|kind| self.fails(|less| less.projections = Some([*kind].into())))
        {
            leave_out(&all, |left| self.fails(|less| less.projections = Some(left)));
        }
    }

    fn streams(&mut self) {
        let all = self.failure.world.workload.facts.iter().map(|fact| fact.stream).collect();
        leave_out(&all, |left| self.fails(|less| less.streams = Some(left)));
    }

    fn workers(&mut self) {
        for workers in 1..self.failure.world.weather.slots {
            if self.fails(|less| less.workers = Some(workers)) {
                return;
            }
        }
    }

    fn happenings(&mut self) {
        for what in
            self.failure.world.counts().into_keys().chain(["skew", "latency", "fan-out", "busy shards"])
        {
            self.fails(|less| less.without.extend([what.to_owned()]));
        }
    }

    fn events(&mut self) {
        let mut events = self.less.events.unwrap_or(self.failure.world.workload.facts.len());
        let mut step = events / 2;
        while step > 0 {
            match self.fails(|less| less.events = Some(events - step)) {
                true => events -= step,
                false => step /= 2,
            }
            step = step.min(events - 1);
        }
    }
}

/// Leaves out one after the other, as far as that is still something.
fn leave_out<T: Copy + Ord>(all: &BTreeSet<T>, mut fails: impl FnMut(BTreeSet<T>) -> bool) {
    let mut left = all.clone();
    for one in all {
        let fewer: BTreeSet<T> = left.iter().copied().filter(|other| other != one).collect();
        if !fewer.is_empty() && fails(fewer.clone()) {
            left = fewer;
        }
    }
}
