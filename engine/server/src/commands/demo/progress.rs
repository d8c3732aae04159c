use std::{fmt::Write, io::IsTerminal, time::Duration};

use foldstream_config::Config;
use foldstream_model::{Clock, Timestamp};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::sync::watch;

use super::taking::Tally;
use crate::{
    output::{count, say},
    status::{Facts, ProjectionStanding},
    stores::Stores,
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What progress is measured by.
pub struct Progress<'a> {
    pub stores: &'a Stores,
    pub config: &'a Config,
    pub clock: &'a dyn Clock,
    /// How many commits are to be taken, and how many were.
    pub commits: u64,
    pub tally: watch::Receiver<Tally>,
}

impl Progress<'_> {
    /// Shows it until dropped: how many commits are taken, then how many events are in all read models.
    pub async fn show(self, quiet: bool) {
        let mut shown = Shown::new(quiet, self.clock.now());
        let mut behind_at_first = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (now, tally) = (self.clock.now(), self.tally.borrow().clone());
            if tally.commits < self.commits {
                shown.update(&Step { of: self.commits, done: tally.commits, what: "commits taken" }, now);
                continue;
            }
            // What cannot be read now is only not shown.
            let Ok(facts) = Facts::gather(self.stores, Some(self.config), now).await else { continue };
            let behind = ProjectionStanding::all(&facts).iter().filter_map(|standing| standing.behind).max();
            let behind = behind.unwrap_or(0) + facts.not_relayed;
            let of = behind.max(*behind_at_first.get_or_insert(behind));
            let step = Step { of, done: of - behind, what: "events in the read models" };
            shown.update(&step, now);
        }
    }
}

/// One kind of work, and how much of it is done.
struct Step {
    of: u64,
    done: u64,
    what: &'static str,
}

/// A bar with rate and time left on a terminal, a line now and then elsewhere.
enum Shown {
    Bar(ProgressBar, &'static str),
    Lines { last: Timestamp },
    Nothing,
}

impl Shown {
    fn new(quiet: bool, now: Timestamp) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Bar(ProgressBar::hidden(), ""),
            (false, false) => Self::Lines { last: now },
        }
    }

    fn update(&mut self, step: &Step, now: Timestamp) {
        match self {
            Self::Bar(bar, what) => {
                if *what != step.what {
                    bar.finish_and_clear();
                    (*bar, *what) = (new_bar(step), step.what);
                }
                bar.set_length(step.of);
                bar.set_position(step.done);
            }
            Self::Lines { last } if u128::from(now.micros_since(*last)) >= SAY_EVERY.as_micros() => {
                say(format!("{} of {} {}", count(step.done), count(step.of), step.what));
                *last = now;
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(step: &Step) -> ProgressBar {
    let template = format!("{{bar:24}} {{human_pos}}/{{human_len}} {}  {{rate}}  {{eta}} left", step.what);
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:.0}/s", state.per_sec());
    };
    let bar = ProgressBar::new(step.of);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}
