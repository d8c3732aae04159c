use foldstream_local::LocalStore;
use foldstream_model::{
    Document, DocumentKey, ProjectionId, Result, Timestamp, Value,
    ports::{DocumentStore, EventStore},
};
use serde_json::json;

use crate::{
    commands::Context,
    demo::{
        git::{ObjectId, Repository, TreeEntry},
        oracle::{self, Comparison},
        stream_id,
        summary::Summary,
    },
    exit::{Exit, Outcome},
};

const PAGE: usize = 1_000;

/// What there is to tell of a run.
pub struct Told<'a> {
    pub repository: &'a Repository,
    /// As the user called it.
    pub name: String,
    /// The commit that was pinned at the start.
    pub to: ObjectId,
    pub events: u64,
    pub began: Timestamp,
}

/// Compares the documents with git's own tree, and shows what there is to see.
pub async fn tell(store: &LocalStore, told: &Told<'_>, context: &mut Context) -> Outcome {
    let took = context.clock.now().micros_since(told.began);
    let mut summary = Summary::default();
    summary.repository.clone_from(&told.name);
    summary.commit = told.to.to_string();
    summary.commits = commits(store).await?;
    summary.events = told.events;
    summary.milliseconds = took / 1_000;
    summary.commands = commands(context);
    let files = files(store, &mut summary).await?;
    let equal = Comparison::of(told.repository.tree(told.to)?, files)?;
    let exit = if equal.is_equal() { Exit::Done } else { Exit::Failed };
    if context.output.is_json() {
        context.output.object(&json!({
            "commit": told.to.to_string(),
            "commits": summary.commits,
            "events": told.events,
            "milliseconds": took / 1_000,
            "files": equal.equal,
            "equal": equal.is_equal(),
            "missing": equal.missing.count,
            "extra": equal.extra.count,
            "blobs": equal.blobs.count,
            "modes": equal.modes.count,
        }))?;
        return Ok(exit);
    }
    if exit == Exit::Done {
        fill(store, &mut summary).await?;
        context.output.line(&summary)?;
    }
    context.output.line(&equal)?;
    Ok(exit)
}

async fn commits(store: &LocalStore) -> Result<u64> {
    let history = foldstream_model::StreamId::new(stream_id::HISTORY);
    let last = store.events().last_sequences(std::slice::from_ref(&history)).await?;
    Ok(last.into_iter().flatten().next().map_or(0, |last| last.0))
}

/// The documents of `files` as git would list them.
async fn files(store: &LocalStore, summary: &mut Summary) -> Result<Vec<Result<TreeEntry>>> {
    let mut files = Vec::new();
    each(store, "files", |_, document| {
        let text = |field| text(document, field);
        summary.file(text("path"), number(document, "changes"));
        files.push(oracle::entry(text("path"), text("mode"), text("blob")));
    })
    .await?;
    Ok(files)
}

async fn fill(store: &LocalStore, summary: &mut Summary) -> Result<()> {
    each(store, "authors", |key, document| summary.person(key.as_str(), number(document, "commits"))).await?;
    each(store, "activity", |key, document| summary.day(key.as_str(), number(document, "commits"))).await?;
    each(store, "churn", |key, document| {
        if key.as_str() != "/" {
            summary.folder(key.as_str(), number(document, "changes"));
        }
    })
    .await
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

fn commands(context: &Context) -> Vec<(String, String)> {
    let data = match context.global.data == std::path::Path::new("foldstream-data") {
        true => String::new(),
        false => format!(" --data {}", context.global.data.display()),
    };
    let database = context.global.data.join(foldstream_local::FILE_NAME);
    [
        (format!("foldstream documents list authors{data}"), "who did what"),
        (format!("foldstream documents list churn{data}"), "how much each folder changed"),
        (format!("foldstream events read history{data}"), "the commits as events"),
        (format!("foldstream projections list{data}"), "the read models"),
        (format!("sqlite3 {} 'SELECT * FROM files_v1 LIMIT 5'", database.display()), "the same as tables"),
    ]
    .map(|(command, shows)| (command, shows.to_owned()))
    .to_vec()
}
