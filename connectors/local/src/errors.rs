//! What SQLite's errors mean: a kind for the caller, and a message with the way out for the user.

use std::path::Path;

use foldstream_model::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// Why work inside a transaction failed: SQLite could not do it, or it was refused.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Refused(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    /// The error of the port; `file` is the database's.
    pub(crate) fn into_error(self, file: &Path) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => sqlite_error(error, file),
        }
    }
}

pub(crate) fn sqlite_error(error: rusqlite::Error, file: &Path) -> Error {
    let (kind, advice) = match error.sqlite_error_code() {
        Some(code) => meaning(code),
        None => (ErrorKind::Internal, "the database answered in an unexpected way"),
    };
    Error::new(kind, format!("{advice}: file={} reason={error}", file.display())).with_source(error)
}

/// A full disk is transient: nothing of the transaction was written, and writing goes on once there is space again.
/// So are read and write errors of the device, which is also how a full disk can show.
fn meaning(code: ErrorCode) -> (ErrorKind, &'static str) {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (ErrorKind::Transient, "another process holds the database locked; it is tried again")
        }
        ErrorCode::DiskFull => {
            (ErrorKind::Transient, "the disk is full; free some space, writing then goes on by itself")
        }
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Transient, "the disk failed or is full; check it, writing then goes on by itself")
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => (
            ErrorKind::Invalid,
            "the database cannot be opened or written; make its folder and files writable, or choose another folder \
             with --data",
        ),
        ErrorCode::NotADatabase => (
            ErrorKind::Invalid,
            "the file is no Foldstream database; move it away, or choose another folder with --data",
        ),
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Invalid,
            "the database is damaged; restore a backup, or save what can be read with `sqlite3 FILE .recover`",
        ),
        ErrorCode::TooBig => (ErrorKind::Poison, "a value is larger than the database can hold"),
        _ => (ErrorKind::Internal, "the database answered in an unexpected way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(code: i32) -> ErrorKind {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        sqlite_error(error, Path::new("foldstream.db")).kind()
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_a_person_must_change_is_said() {
        use rusqlite::ffi;
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR] {
            assert_eq!(kind_of(code), ErrorKind::Transient, "{code}");
        }
        for code in [ffi::SQLITE_READONLY, ffi::SQLITE_CANTOPEN, ffi::SQLITE_NOTADB, ffi::SQLITE_CORRUPT] {
            assert_eq!(kind_of(code), ErrorKind::Invalid, "{code}");
        }
        assert_eq!(kind_of(ffi::SQLITE_TOOBIG), ErrorKind::Poison);
        assert_eq!(kind_of(ffi::SQLITE_MISUSE), ErrorKind::Internal);
    }
}
