//! How a command ends: one number for scripts, one message for people.

use std::{fmt, io};

use foldstream_model::{Error, ErrorKind};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It was tried, and the answer is no: a test failed, there is no such document, a stream stood elsewhere.
    Failed = 1,
    /// What was asked cannot be: unknown options, a file with mistakes, something this version does not have.
    Invalid = 2,
    /// A store cannot be used: not there, not writable, full, or in use by another `run`.
    Unusable = 3,
    /// It is level with the end of its sources but for what was stopped by poison, is parked, or waits for missing events.
    Stopped = 4,
}

/// Shown under `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    tried, and the answer is no: a test failed, lines were refused, there is
       no such document, a stream is not where it was expected
  2    wrong usage, a configuration with mistakes, not available in this version
  3    a store cannot be used: missing, read-only, full, or in use by another run
  4    caught up, except for what is stopped by poison, is parked, or waits for
       missing events
  130  interrupted twice (Ctrl-C), 143 terminated twice: stopped without draining";

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Said on standard error before the process exits with this code.
    Because(Exit, String),
    /// Whoever read our output has read enough. Not an error.
    PipeClosed,
}

pub type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Because(Exit::Failed, message.into())
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Because(Exit::Invalid, message.into())
    }

    pub fn unusable(message: impl Into<String>) -> Self {
        Self::Because(Exit::Unusable, message.into())
    }

    /// A file that could not be read or written, named.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::invalid(format!("{}: {error}", path.display()))
    }
}

/// The one place that decides which exit code an error of a port becomes.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Invalid => Exit::Invalid,
            ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Fenced => Exit::Unusable,
            ErrorKind::Poison | ErrorKind::Internal => Exit::Failed,
        };
        Self::Because(exit, error.to_string())
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Because(Exit::Failed, format!("cannot write to standard output: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(_, message) => f.write_str(message),
            Self::PipeClosed => f.write_str("the output was closed"),
        }
    }
}
