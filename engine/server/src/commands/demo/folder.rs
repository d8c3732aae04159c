use std::{fs, io, path::Path};

use foldstream_local::{FILE_NAME, LocalStore, WorkerLock};
use foldstream_model::{Sequence, StreamId, ports::EventStore};

use crate::{
    commands::{Context, run::forget_the_dead},
    demo::{resume::Taken, stream_id},
    exit::{Failure, Outcome},
};

/// The read models that are made of a history.
pub const CONFIG: &str = include_str!("../../../../../config/examples/git-history.yaml");
pub const CONFIG_NAME: &str = "git-history.yaml";

/// The data folder, open, and nobody else's meanwhile.
pub struct Folder {
    pub store: LocalStore,
    /// What earlier runs have taken.
    pub taken: Option<Taken>,
    _lock: WorkerLock,
}

impl Folder {
    /// Opens the folder if an earlier run has made it.
    pub async fn open_if_any(context: &Context) -> Outcome<Option<Self>> {
        match context.global.data.join(FILE_NAME).exists() {
            true => Self::open(context).await.map(Some),
            false => Ok(None),
        }
    }

    /// Makes the folder, with the read models' configuration for other commands in it.
    pub async fn make(context: &Context) -> Outcome<Self> {
        let path = &context.global.data;
        if !path.exists() {
            fs::create_dir_all(path).map_err(|error| unwritable(path, &error))?;
            // It may stand in a work tree, where nobody wants to see it.
            write(&path.join(".gitignore"), "*\n")?;
        }
        Self::open(context).await
    }

    async fn open(context: &Context) -> Outcome<Self> {
        let store = context.local_or_new()?;
        let lock = WorkerLock::acquire(&context.global.data, context.clock.now());
        let lock = lock.map_err(|error| Failure::unusable(error.to_string()))?;
        forget_the_dead(&store).await?;
        let config = context.global.data.join(CONFIG_NAME);
        if !config.exists() {
            write(&config, CONFIG)?;
        }
        Ok(Self { taken: taken(&store, context).await?, store, _lock: lock })
    }
}

fn write(file: &Path, text: &str) -> Outcome<()> {
    fs::write(file, text).map_err(|error| unwritable(file, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::unusable(format!("{}: {error}; choose another folder with --data", path.display()))
}

async fn taken(store: &LocalStore, context: &Context) -> Outcome<Option<Taken>> {
    let events = store.events();
    let history = StreamId::new(stream_id::HISTORY);
    let last = events.last_sequences(std::slice::from_ref(&history)).await?.into_iter().next().flatten();
    let Some(last) = last else {
        if events.last_offset().await? == 0 {
            return Ok(None);
        }
        return Err(Failure::invalid(format!(
            "the data folder holds events of something else than a git history: folder={}; choose another with --data",
            context.global.data.display()
        )));
    };
    let first = events.read_stream(&history, Sequence(0), 1).await?;
    let last = events.read_stream(&history, last, 1).await?;
    match (first.first(), last.first()) {
        (Some(first), Some(last)) => Ok(Some(Taken::from_events(first, last)?)),
        _ => Ok(None),
    }
}
