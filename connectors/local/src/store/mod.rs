//! The open database, and the parts of it that stand behind ports.

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use foldstream_model::{Clock, Error, Ids, Result};

use crate::{
    checkpoints::LocalCheckpoints,
    database::{Access, Database, NewFile},
    documents::LocalDocuments,
    events::LocalEventStore,
    leases::LocalLeases,
    log::{LocalLog, LogOptions},
    parking::LocalParking,
    relay::Relay,
};

/// The database's file in the data folder. SQLite keeps two more beside it while it is open.
pub const FILE_NAME: &str = "foldstream.db";

/// How a database is opened. The default is for commands that change something in one that is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Make the folder and the database if they are not there.
    pub create: bool,
    /// Refuse to write: needs no right to the files but to read them.
    pub read_only: bool,
}

/// An open database. Cheap to clone; closed when the last clone and the last part of it are dropped.
#[derive(Clone)]
pub struct LocalStore {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl LocalStore {
    /// Opens the database of a data folder. `Invalid`: it is not there, cannot be written, is no database of ours, of
    /// another version, or damaged; the message says what to do.
    pub fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: OpenOptions,
    ) -> Result<Self> {
        let access = match options {
            OpenOptions { create: true, read_only: true } => {
                return Err(Error::invalid("a database that is opened to be read only cannot be made"));
            }
            OpenOptions { create: true, read_only: false } => Access::Create,
            OpenOptions { create: false, read_only: true } => Access::Read,
            OpenOptions { create: false, read_only: false } => Access::Write,
        };
        if options.create {
            make_folder(folder)?;
        }
        let new = NewFile { identity: ids.unique(), created_at: clock.now() };
        let database = Arc::new(Database::open(&folder.join(FILE_NAME), access, &new)?);
        Ok(Self { database, clock, ids })
    }

    pub fn events(&self) -> Arc<LocalEventStore> {
        Arc::new(LocalEventStore::new(Arc::clone(&self.database)))
    }

    pub fn documents(&self) -> Arc<LocalDocuments> {
        Arc::new(LocalDocuments::new(Arc::clone(&self.database)))
    }

    pub fn checkpoints(&self) -> Arc<LocalCheckpoints> {
        Arc::new(LocalCheckpoints::new(Arc::clone(&self.database)))
    }

    pub fn leases(&self) -> Arc<LocalLeases> {
        Arc::new(LocalLeases::new(Arc::clone(&self.database)))
    }

    pub fn parking(&self) -> Arc<LocalParking> {
        Arc::new(LocalParking::new(Arc::clone(&self.database)))
    }

    /// Opens the log of this name, or makes it. Of a log that is there the retention is changed to what is asked, and
    /// the number of shards is left as it is.
    pub async fn log(&self, name: &str, options: LogOptions) -> Result<LocalLog> {
        let (clock, incarnation) = (Arc::clone(&self.clock), self.ids.unique());
        LocalLog::open_or_create(Arc::clone(&self.database), clock, incarnation, name, options).await
    }

    /// Opens the log of this name, if there is one.
    pub async fn existing_log(&self, name: &str) -> Result<Option<LocalLog>> {
        LocalLog::open(Arc::clone(&self.database), Arc::clone(&self.clock), name).await
    }

    /// What moves the events of this store into the log.
    pub fn relay(&self, log: &LocalLog) -> Relay {
        Relay::new(Arc::clone(&self.database), Arc::clone(&self.clock), log)
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::invalid(format!(
            "the data folder cannot be made; choose another with --data: folder={} reason={error}",
            folder.display()
        ))
        .with_source(error)
    })
}
