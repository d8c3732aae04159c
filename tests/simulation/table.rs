//! How much was seen in all runs together, and what was seen with what.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    time::Duration,
};

use crate::run::Report;

#[derive(Default)]
pub struct Table {
    seeds: u64,
    time: Duration,
    times: BTreeMap<&'static str, u64>,
    /// In how many seeds both were seen; of one with itself, in how many it was.
    together: BTreeMap<(&'static str, &'static str), u64>,
}

impl Table {
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.time += report.virtual_time;
        for (what, count) in &report.counts {
            *self.times.entry(what).or_default() += count;
            for other in report.counts.keys() {
                *self.together.entry((what, other)).or_default() += 1;
            }
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (tenths, all) = (self.time.as_secs() / 360, self.times.values().sum::<u64>());
        writeln!(
            f,
            "{} seeds passed, {}.{} simulated hours; {all} times something happened:",
            self.seeds,
            tenths / 10,
            tenths % 10
        )?;
        writeln!(
            f,
            "times, and in how many seeds; to the right, in how many together with the row of that number"
        )?;
        for (number, (row, times)) in self.times.iter().enumerate() {
            write!(f, "{:>2} {row:<20} {times:>8}", number + 1)?;
            let seeds = |other| self.together.get(&(*row, other)).copied().unwrap_or(0);
            write!(f, " {:>6} |", seeds(*row))?;
            for other in self.times.keys().take(number) {
                write!(f, "{:>5}", seeds(*other))?;
            }
            writeln!(f)?;
        }
        write!(f, "{:>40}", "|")?;
        (1..self.times.len()).try_for_each(|number| write!(f, "{number:>5}"))
    }
}
