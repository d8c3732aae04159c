//! `foldstream demo`: a git repository's history through the whole line, judged by git.

mod folder;
mod taking;
mod progress;
mod verdict;

use foldstream_config::Config;
use foldstream_runtime::{rows::Rows, tasks::Tasks, worker::Outcome as Ended};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Demo,
    commands::{Context, mistaken},
    compose::{self, Line},
    demo::{
        git::{ObjectId, Repository, Walk},
        resume::Plan,
    },
    exit::{Failure, Outcome},
    output::{count, plural, say},
    running::{Running, stop_on_signals},
    stores::Stores,
};
use folder::Folder;
use progress::Progress;
use taking::{Taking, Tally};
use verdict::Told;

pub async fn execute(arguments: Demo, context: &mut Context) -> Outcome {
    let began = context.clock.now();
    let repository = Repository::open(&arguments.git)?;
    let folder = Folder::open_if_any(context).await?;
    let taken = folder.as_ref().and_then(|folder| folder.taken.clone());
    let (to, walk) = match Plan::make(&repository, arguments.until.as_deref(), taken.as_ref())? {
        Plan::Unborn => return verdict::nothing_to_take(context),
        Plan::UpToDate { at } => (at, None),
        Plan::Take { after, to, commits, notes } => {
            notes.iter().for_each(|note| say(format!("note: {note}")));
            (to, Some((repository.walk(after, to)?, commits)))
        }
    };
    let folder = match folder {
        Some(folder) => folder,
        None => Folder::make(context).await?,
    };
    let commits = walk.as_ref().map_or(0, |(_, commits)| *commits);
    say_what_comes(&folder, to, commits, context);
    let (tally, ended) = work(&folder, walk, context).await?;
    let name = arguments.git.display().to_string();
    let told = Told { repository: &repository, name, to, commits, tally, began };
    verdict::tell(&folder.store, &told, &ended, context).await
}

fn say_what_comes(folder: &Folder, to: ObjectId, commits: u64, context: &Context) {
    if context.global.quiet {
        return;
    }
    let (data, to) = (context.global.data.display(), to.short());
    let before = folder.taken.as_ref().map(|taken| plural(taken.number, "commit"));
    match (before, commits) {
        (_, 0) => say(format!("everything up to {to} was taken before; the data is in {data}")),
        (None, _) => say(format!("taking {} up to {to} into {data}", plural(commits, "commit"))),
        (Some(before), _) => {
            say(format!(
                "{before} were taken before into {data}; going on with {} up to {to}",
                count(commits)
            ));
        }
    }
}

/// Takes commits and runs the line over them, both at once, until everything is level with the last commit.
async fn work(folder: &Folder, walk: Option<(Walk, u64)>, context: &Context) -> Outcome<(Tally, Ended)> {
    let (store, stop) = (&folder.store, CancellationToken::new());
    let mut signals = Tasks::new();
    stop_on_signals(stop.clone(), &mut signals)?;
    let config = config()?;
    let stores = Stores::from(store.clone());
    let line = line(&config, &stores, context).await?;
    let (tally, taken) = watch::channel(Tally::default());
    let commits = walk.as_ref().map_or(0, |(_, commits)| *commits);
    let clock = context.clock.clone();
    let progress = Progress { stores: &stores, config: &config, clock: &*clock, commits, tally: taken };
    let (complete, completed) = watch::channel(walk.is_none());
    let running =
        Running { stores: &stores, until_complete: Some(completed), stop: stop.clone(), service: None };
    let taking = async {
        let Some((walk, _)) = walk else { return Ok(Tally::default()) };
        let took = Taking::new(store, walk, folder.taken.clone(), stop.clone()).run(&tally).await;
        match &took {
            Ok(_) if !stop.is_cancelled() => _ = complete.send_replace(true),
            _ => stop.cancel(),
        }
        took
    };
    let both = async { tokio::join!(taking, running.run(line)) };
    let (took, ended) = tokio::select! {
        biased;
        ends = both => ends,
        () = progress.show(context.global.quiet) => return Err(Failure::failed("nobody works any more")),
    };
    Ok((took?, ended?))
}

fn config() -> Outcome<Config> {
    Config::read(folder::CONFIG_NAME, folder::CONFIG, &|_| None).map_err(|mistakes| mistaken(&mistakes))
}

async fn line(config: &Config, stores: &Stores, context: &Context) -> Outcome<Line> {
    let compiled = compose::checked(config).map_err(|mistakes| mistaken(&mistakes))?;
    let (clock, ids) = (context.clock.clone(), context.ids.clone());
    let line = compose::assemble(config, &compiled, stores, clock, ids).await?;
    let rows = Rows::new(line.assembly.services.checkpoints.clone());
    if compose::changed(&line.assembly.projections, &rows).await?.is_empty() {
        return Ok(line);
    }
    Err(Failure::invalid(format!(
        "the read models of the demo are others since the data folder was made: folder={}; choose another with --data, \
         or delete it",
        context.global.data.display()
    )))
}
