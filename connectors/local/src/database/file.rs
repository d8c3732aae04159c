//! Opening the file, and knowing it for one of ours.

use std::{path::Path, time::Duration};

use foldstream_model::{Error, Result, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};

use crate::errors::Failure;

const SCHEMA: &str = include_str!("schema.sql");
/// What version 2 has and version 1 has not.
const SECOND: &str = "
    CREATE TABLE parked (
        lot TEXT NOT NULL, document TEXT NOT NULL, place BLOB NOT NULL, event TEXT NOT NULL,
        UNIQUE (lot, document, place)
    );
    CREATE TABLE closed_marks (
        lot TEXT NOT NULL, document TEXT NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (lot, document)
    ) WITHOUT ROWID;
    PRAGMA user_version = 2;";
/// "FOLD", by which SQLite files can be told apart.
const APPLICATION_ID: i32 = 0x464f_4c44;
/// Raised whenever the schema changes; a lower one is then migrated, a higher one refused.
const SCHEMA_VERSION: i32 = 2;

/// How long to wait for another process that writes: its transactions take milliseconds.
const BUSY: Duration = Duration::from_secs(5);
/// Between two tries meanwhile. SQLite's own pauses grow to 100 ms, in which others write one after the other.
const RETRY: Duration = Duration::from_millis(1);
/// More than there are kinds of statements, but for very many read models.
const STATEMENTS: usize = 256;
/// Pages of 4 KiB in the write-ahead log before they are moved into the file: moving more at once writes a page that
/// changes often fewer times; moving less keeps the pauses short.
const CHECKPOINT_PAGES: u32 = 4_000;
const JOURNAL_BYTES: u32 = 64 * 1024 * 1024;
/// KiB of pages that a connection keeps.
const WRITE_CACHE: u32 = 16 * 1024;
const READ_CACHE: u32 = 2 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Of a database that is there.
    Write,
    /// Of a database that is made if it is not there.
    Create,
}

/// What goes into a database that is made.
pub(crate) struct NewFile {
    pub(crate) identity: String,
    pub(crate) created_at: Timestamp,
}

/// The first connection: makes the database if that was asked for, and refuses what is none of ours.
pub(super) fn open(file: &Path, access: Access, new: &NewFile) -> Result<Connection> {
    if access != Access::Create && !file.exists() {
        return Err(Error::invalid(format!(
            "there is no database: file={} choose its folder with --data, or begin one with `foldstream events import` \
             or `foldstream demo`",
            file.display()
        )));
    }
    let mut connection = connect(file, access)?;
    check(&mut connection, file, access, new).map_err(|failure| failure.into_error(file))?;
    Ok(connection)
}

pub(super) fn connect(file: &Path, access: Access) -> Result<Connection> {
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Access::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    configured(file, flags, access).map_err(|error| Failure::from(error).into_error(file))
}

fn configured(file: &Path, flags: OpenFlags, access: Access) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_handler(Some(try_again))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let cache = if access == Access::Read { READ_CACHE } else { WRITE_CACHE };
    connection.execute_batch(&format!("PRAGMA cache_size = -{cache}; PRAGMA temp_store = MEMORY;"))?;
    Ok(connection)
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own waits for a lock of which nobody tells")]
fn try_again(tries: i32) -> bool {
    std::thread::sleep(RETRY);
    RETRY * u32::try_from(tries).unwrap_or(0) < BUSY
}

fn check(connection: &mut Connection, file: &Path, access: Access, new: &NewFile) -> Result<(), Failure> {
    if access == Access::Create && is_empty(connection)? {
        make(connection, new)?;
    }
    if access != Access::Read {
        migrate(connection)?;
    }
    let (application, version) = (pragma(connection, "application_id")?, pragma(connection, "user_version")?);
    if application != APPLICATION_ID {
        return Err(Failure::Refused(Error::invalid(format!(
            "the file is no Foldstream database; move it away, or choose another folder with --data: file={}",
            file.display()
        ))));
    }
    if version != SCHEMA_VERSION {
        return Err(Failure::Refused(Error::invalid(format!(
            "the database was written by another version of Foldstream; {}: file={} schema={version} \
             known={SCHEMA_VERSION}",
            match version < SCHEMA_VERSION {
                true => "the next `foldstream run` brings it up to this one",
                false => "use that one, or a newer one",
            },
            file.display()
        ))));
    }
    if access != Access::Read {
        keep_durable(connection)?;
    }
    Ok(())
}

/// Another process may be doing it at the same time: whoever is second finds it done.
fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let is_first = |connection: &Connection| -> Result<bool, Failure> {
        let is_ours = pragma(connection, "application_id")? == APPLICATION_ID;
        Ok(is_ours && pragma(connection, "user_version")? == 1)
    };
    if !is_first(connection)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_first(&transaction)? {
        transaction.execute_batch(SECOND)?;
    }
    transaction.commit()?;
    Ok(())
}

fn is_empty(connection: &Connection) -> Result<bool, Failure> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(objects == 0 && pragma(connection, "application_id")? == 0)
}

/// Another process may be making it at the same time: whoever is second finds it made.
fn make(connection: &mut Connection, new: &NewFile) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        write_schema(&transaction, new)?;
    }
    transaction.commit()?;
    Ok(())
}

fn write_schema(transaction: &Transaction<'_>, new: &NewFile) -> Result<(), Failure> {
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO store (identity, created_at, last_revision) VALUES (?1, ?2, 0)",
        (&new.identity, new.created_at.micros()),
    )?;
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    ))?;
    Ok(())
}

/// A write-ahead log, so that readers never wait; synced at every commit, to the medium also where that takes more than
/// a sync (macOS).
fn keep_durable(connection: &Connection) -> Result<(), Failure> {
    // SQLite opens a file that is protected against writing all the same, to read it.
    if connection.is_readonly("main")? {
        return Err(Failure::Sqlite(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_READONLY),
            None,
        )));
    }
    let mode = keep_log(connection)?;
    if mode != "wal" {
        return Err(Failure::Refused(Error::invalid(format!(
            "the file system of the data folder cannot hold a write-ahead log; choose another folder with --data: \
             mode={mode}"
        ))));
    }
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = {JOURNAL_BYTES};"
    ))?;
    Ok(())
}

/// The journal mode that the file is in afterwards. Of two that change it at once SQLite refuses one without a wait.
/// Source: <https://sqlite.org/c3ref/busy_handler.html>
fn keep_log(connection: &Connection) -> rusqlite::Result<String> {
    let mut tries = 0;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && try_again(tries) => {
                tries += 1
            }
            mode => return mode,
        }
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<i32, Failure> {
    Ok(connection.query_row(&format!("PRAGMA {name}"), (), |row| row.get(0))?)
}
