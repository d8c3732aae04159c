use foldstream_local::LocalStore;
use foldstream_model::{Document, DocumentKey, ProjectionId, Result, Timestamp, Value, ports::DocumentStore};
use foldstream_runtime::worker::Outcome as Ended;
use serde_json::json;

use super::{folder, taking::Tally};
use crate::{
    commands::Context,
    demo::{
        git::{ObjectId, Repository, TreeEntry},
        oracle::{self, Comparison},
        summary::Summary,
    },
    exit::{Exit, Outcome},
    output::{count, plural, printable},
};

const PAGE: usize = 1_000;

/// What there is to tell of a run.
pub struct Told<'a> {
    pub repository: &'a Repository,
    /// As the user called it.
    pub name: String,
    /// The commit that was pinned at the start.
    pub to: ObjectId,
    /// How many commits were to be taken, and how many were.
    pub commits: u64,
    pub tally: Tally,
    pub began: Timestamp,
}

/// A repository without commits.
pub fn nothing_to_take(context: &mut Context) -> Outcome {
    match context.output.is_json() {
        true => context.output.object(&json!({ "outcome": "no_commits" }))?,
        false => context.output.line("the repository has no commits yet: there is nothing to take")?,
    }
    Ok(Exit::Done)
}

/// Lets git judge, and shows what there is to see; or says why git cannot judge yet.
pub async fn tell(store: &LocalStore, told: &Told<'_>, ended: &Ended, context: &mut Context) -> Outcome {
    if !ended.stops.is_empty() || !ended.gaps.is_empty() || !ended.paused.is_empty() {
        return stopped(ended, context);
    }
    if !ended.caught_up {
        return interrupted(told, context);
    }
    let took = context.clock.now().micros_since(told.began) / 1_000;
    let mut summary = Summary::new(told.name.clone(), told.to.to_string(), told.tally.events, took);
    let files = fill(store, &mut summary).await?;
    let comparison = Comparison::of(told.repository.tree(told.to)?, files)?;
    summary.commands = commands(&summary, context);
    if context.output.is_json() {
        context.output.object(&judged(told, took, &comparison))?;
    } else {
        context.output.line(&comparison)?;
        if comparison.is_equal() {
            context.output.bytes(format!("\n{summary}").as_bytes())?;
        }
    }
    Ok(if comparison.is_equal() { Exit::Done } else { Exit::Failed })
}

/// Poison and gaps, which the events of a history do not hold, and what an operator paused.
fn stopped(ended: &Ended, context: &mut Context) -> Outcome {
    let paused: Vec<_> = ended.paused.iter().map(ProjectionId::row_name).collect();
    let stops = ended.stops.iter();
    if context.output.is_json() {
        let stops = stops.map(|stopped| {
            let (projection, shard) = (stopped.projection.row_name(), &stopped.shard);
            json!({ "projection": projection, "shard": shard, "reason": stopped.stop.to_string() })
        });
        let stops: Vec<_> = stops.collect();
        let gaps = &ended.gaps;
        let object = json!({ "outcome": "stopped", "stopped": stops, "gaps": gaps, "paused": paused });
        context.output.object(&object)?;
        return Ok(Exit::Stopped);
    }
    context.output.line("git cannot judge:")?;
    for stopped in stops {
        let reason = printable(&stopped.stop.to_string());
        let line = format!("  {} stopped in {}:\n    {reason}", stopped.projection, stopped.shard);
        context.output.line(line)?;
    }
    for (shard, gaps) in &ended.gaps {
        let streams = plural(*gaps as u64, "stream");
        context.output.line(format!("  {streams} in {shard} that wait for a missing event"))?;
    }
    for name in paused {
        context.output.line(format!("  {name} is paused; `foldstream projections resume {name}`"))?;
    }
    Ok(Exit::Stopped)
}

fn interrupted(told: &Told<'_>, context: &mut Context) -> Outcome {
    let left = told.commits.saturating_sub(told.tally.commits);
    if context.output.is_json() {
        context.output.object(&json!({ "outcome": "interrupted", "commits_left": left }))?;
        return Ok(Exit::Done);
    }
    let left = match left {
        0 => "all commits are taken, and not all of their events are in the read models yet".to_owned(),
        left => format!("{} of {} are left to take", count(left), plural(told.commits, "commit")),
    };
    context.output.line(format!("interrupted: {left}; run it again, and it goes on from here"))?;
    Ok(Exit::Done)
}

fn judged(told: &Told<'_>, milliseconds: u64, comparison: &Comparison) -> serde_json::Value {
    json!({
        "outcome": if comparison.is_equal() { "equal" } else { "different" },
        "commit": told.to.to_string(),
        "commits_taken": told.tally.commits,
        "events_taken": told.tally.events,
        "milliseconds": milliseconds,
        "files": {
            "equal": comparison.equal,
            "missing": comparison.missing.count,
            "extra": comparison.extra.count,
            "other_blob": comparison.blobs.count,
            "other_mode": comparison.modes.count,
        },
    })
}

/// Goes through the documents once; those of `files` as git would list them.
async fn fill(store: &LocalStore, summary: &mut Summary) -> Result<Vec<Result<TreeEntry>>> {
    let mut files = Vec::new();
    each(store, "files", |_, document| {
        let text = |field| text(document, field);
        summary.file(text("path"), number(document, "changes"));
        files.push(oracle::entry(text("path"), text("mode"), text("blob")));
    })
    .await?;
    each(store, "authors", |key, document| {
        let commits = number(document, "commits");
        summary.commits += commits;
        summary.person(key.as_str(), commits);
    })
    .await?;
    each(store, "activity", |key, document| summary.day(key.as_str(), number(document, "commits"))).await?;
    each(store, "churn", |key, document| {
        if key.as_str() != "/" {
            summary.folder(key.as_str(), number(document, "changes"));
        }
    })
    .await?;
    Ok(files)
}

/// All documents of a projection.
async fn each(store: &LocalStore, name: &str, mut see: impl FnMut(&DocumentKey, &Document)) -> Result<()> {
    let (documents, model) = (store.documents(), ProjectionId::new(name, 1));
    let mut after = None;
    loop {
        let page = documents.list(&model, after.as_ref(), PAGE).await?;
        for (key, stored) in &page {
            if let Some(document) = &stored.document {
                see(key, document);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

fn text<'d>(document: &'d Document, field: &str) -> &'d str {
    document.fields.get(field).and_then(Value::as_text).unwrap_or_default()
}

fn number(document: &Document, field: &str) -> u64 {
    document.fields.get(field).and_then(Value::as_number).and_then(|number| number.to_u64()).unwrap_or(0)
}

/// Commands that can be copied as they are into the shell that this one was started from.
fn commands(summary: &Summary, context: &Context) -> Vec<(String, String)> {
    let program = std::env::args().next().unwrap_or_else(|| "foldstream".to_owned());
    let (program, data) = (quoted(&program), &context.global.data);
    let config = quoted(&data.join(folder::CONFIG_NAME).to_string_lossy());
    let database = quoted(&data.join(foldstream_local::FILE_NAME).to_string_lossy());
    let data = quoted(&data.to_string_lossy());
    let busiest = quoted(summary.busiest_folder().filter(|folder| !folder.starts_with('-')).unwrap_or("/"));
    let command = |rest: &str| format!("{program} {rest} --data {data}");
    let shown = [
        (command("documents list authors"), "who did what"),
        (command(&format!("documents get churn {busiest}")), "how much a folder changed"),
        (command("documents list activity --limit 10"), "what happened on the first days"),
        (command("events read history --limit 5"), "the first commits as events"),
        (command(&format!("status -c {config}")), "how far each read model is"),
        (
            format!("sqlite3 {database} 'SELECT key, fields FROM files_v1 LIMIT 5'"),
            "files as they are now, with any tool for SQLite",
        ),
    ];
    shown.map(|(command, shows)| (command, shows.to_owned())).to_vec()
}

/// As a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
