//! `foldstream demo`: a git repository's history through the whole line, judged by git.

mod taking;
mod verdict;

use std::{io::IsTerminal, time::Duration};

use foldstream_config::Config;
use foldstream_local::{LocalStore, WorkerLock};
use foldstream_model::{Sequence, StreamId, Timestamp, ports::EventStore};
use foldstream_runtime::{tasks::Tasks, worker::Outcome as Ended};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Demo,
    commands::{Context, mistaken},
    compose,
    demo::{
        git::{ObjectId, Repository},
        resume::{Plan, Taken},
        stream_id,
    },
    exit::{Exit, Failure, Outcome},
    output::{count, plural, printable},
    running::{Running, stop_on_signals},
};
use taking::Taking;

/// The read models that are made of a history.
const CONFIG: &str = include_str!("../../../../../config/examples/git-history.yaml");
const CONFIG_NAME: &str = "git-history.yaml";
const SAY_EVERY: Duration = Duration::from_secs(5);

pub async fn execute(arguments: Demo, context: &mut Context) -> Outcome {
    let repository = Repository::open(&arguments.git)?;
    let store = context.store_or_new()?;
    let began = context.clock.now();
    let lock = WorkerLock::acquire(&context.global.data, began);
    let _lock = lock.map_err(|error| Failure::unusable(error.to_string()))?;
    let taken = taken(&store).await?;
    let plan = Plan::make(&repository, arguments.until.as_deref(), taken.as_ref())?;
    let (to, take) = match plan {
        Plan::Unborn => {
            context.output.line("the repository has no commits yet: there is nothing to take")?;
            return Ok(Exit::Done);
        }
        Plan::UpToDate { at } => (at, None),
        Plan::Take { after, to, commits, notes } => {
            notes.iter().for_each(|note| eprintln!("note: {note}"));
            (to, Some((after, commits)))
        }
    };
    say_what_comes(taken.as_ref(), to, take.map(|(_, commits)| commits), context);
    let stop = CancellationToken::new();
    let mut signals = Tasks::new();
    stop_on_signals(stop.clone(), &mut signals)?;
    let taking = match take {
        Some((after, commits)) => Some((repository.walk(after, to)?, commits)),
        None => None,
    };
    let line = prepare(&store, context).await?;
    let (complete, completed) = watch::channel(taking.is_none());
    let running =
        Running { store: &store, until_complete: Some(completed), stop: stop.clone(), service: None };
    let mut tally = taking::Tally::default();
    let taking = async {
        let Some((walk, commits)) = taking else { return Ok(()) };
        let taking = Taking { store: &store, walk, taken: taken.as_ref(), stop: &stop };
        let mut shown = Shown::new(commits, context.global.quiet, began);
        let clock = context.clock.clone();
        let took = taking.run(&mut |now| shown.update(&now, commits, clock.now())).await;
        shown.end();
        match &took {
            Ok(took) if !stop.is_cancelled() => {
                tally = took.clone();
                complete.send_replace(true);
            }
            _ => stop.cancel(),
        }
        took.map(|_| ())
    };
    let (took, ended) = tokio::join!(taking, running.run(line));
    took?;
    let ended = ended?;
    if let Some(problem) = unfinished(&ended, context)? {
        return Ok(problem);
    }
    let repository_name = arguments.git.display().to_string();
    let told =
        verdict::Told { repository: &repository, name: repository_name, to, events: tally.events, began };
    verdict::tell(&store, &told, context).await
}

async fn prepare(store: &LocalStore, context: &Context) -> Outcome<compose::Line> {
    let config = Config::read(CONFIG_NAME, CONFIG, &|_| None).map_err(|mistakes| mistaken(&mistakes))?;
    let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    let line =
        compose::assemble(&config, &compiled, store, context.clock.clone(), context.ids.clone()).await?;
    Ok(line)
}

/// What earlier runs have taken.
async fn taken(store: &LocalStore) -> Outcome<Option<Taken>> {
    let events = store.events();
    let history = StreamId::new(stream_id::HISTORY);
    let Some(last) =
        events.last_sequences(std::slice::from_ref(&history)).await?.into_iter().next().flatten()
    else {
        return Ok(None);
    };
    let first = events.read_stream(&history, Sequence(0), 1).await?;
    let last = events.read_stream(&history, last, 1).await?;
    match (first.first(), last.first()) {
        (Some(first), Some(last)) => Ok(Some(Taken::from_events(first, last)?)),
        _ => Ok(None),
    }
}

fn say_what_comes(taken: Option<&Taken>, to: ObjectId, commits: Option<u64>, context: &Context) {
    if context.global.quiet {
        return;
    }
    let before = taken.map(|taken| plural(taken.number, "commit"));
    match (before, commits) {
        (None, Some(commits)) => eprintln!("taking {} up to {}", plural(commits, "commit"), to.short()),
        (Some(before), Some(commits)) => {
            eprintln!("{before} were taken before; going on with {} up to {}", count(commits), to.short());
        }
        (_, None) => eprintln!("everything up to {} was taken before", to.short()),
    }
}

/// Why there is nothing to judge yet, if so.
fn unfinished(ended: &Ended, context: &mut Context) -> Outcome<Option<Exit>> {
    if !ended.stops.is_empty() || !ended.gaps.is_empty() {
        for stopped in &ended.stops {
            let reason = printable(&stopped.stop.reason);
            context
                .output
                .line(format!("{} stopped in {}:\n  {reason}", stopped.projection, stopped.shard))?;
        }
        for (shard, gaps) in &ended.gaps {
            let streams = plural(*gaps as u64, "stream");
            context.output.line(format!("{streams} in {shard} that wait for a missing event"))?;
        }
        return Ok(Some(Exit::Stopped));
    }
    if !ended.caught_up {
        context.output.line("stopped before the end; run it again, and it goes on from here")?;
        return Ok(Some(Exit::Done));
    }
    if !ended.paused.is_empty() {
        let paused: Vec<_> = ended.paused.iter().map(|paused| paused.row_name()).collect();
        context.output.line(format!("paused, so that git cannot judge: {}", paused.join(", ")))?;
        return Ok(Some(Exit::Stopped));
    }
    Ok(None)
}

/// How far the taking is: a bar on a terminal, a line now and then elsewhere.
enum Shown {
    Bar(ProgressBar),
    Lines { last: Timestamp },
    Nothing,
}

impl Shown {
    fn new(commits: u64, quiet: bool, now: Timestamp) -> Self {
        if quiet {
            return Self::Nothing;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: now };
        }
        let bar = ProgressBar::with_draw_target(Some(commits), ProgressDrawTarget::stderr());
        let template = "{bar:24} {pos}/{len} commits  {msg}  {per_sec}  {eta} left";
        Self::Bar(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    fn update(&mut self, tally: &taking::Tally, commits: u64, now: Timestamp) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(tally.commits);
                bar.set_message(plural(tally.events, "event"));
            }
            Self::Lines { last } if u128::from(now.micros_since(*last)) >= SAY_EVERY.as_micros() => {
                eprintln!(
                    "{} of {} commits, {}",
                    count(tally.commits),
                    count(commits),
                    plural(tally.events, "event")
                );
                *last = now;
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }

    fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
