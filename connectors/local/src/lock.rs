//! Only one process at a time may run a data folder.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

use foldstream_model::{Error, Result, Timestamp};

const FILE_NAME: &str = "run.lock";

/// Held by the process that runs a data folder; given back when dropped, and by the operating system when the process
/// ends in whatever way.
#[derive(Debug)]
pub struct WorkerLock {
    _file: File,
}

impl WorkerLock {
    /// Takes the lock; `now` is remembered for whom it refuses. `Invalid`: another process holds it; the message names
    /// it.
    pub fn acquire(folder: &Path, now: Timestamp) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = |error: io::Error| {
            Error::invalid(format!(
                "the data folder cannot be locked; make it writable, or choose another with --data: file={} \
                 reason={error}",
                path.display()
            ))
            .with_source(error)
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse(&path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        note(&mut file, now).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock: written for people and for [`refuse`].
fn note(file: &mut File, now: Timestamp) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid={} since={now}", std::process::id())
}

fn refuse(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    // The holder may be about to write its line.
    if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
        holder = "pid=unknown".to_owned();
    }
    Error::invalid(format!(
        "another process runs this data folder; stop it first, or choose another folder with --data: {} lock={}",
        holder.trim(),
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_with_the_first_ones_pid_until_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = WorkerLock::acquire(folder.path(), Timestamp::from_seconds(1)).unwrap();
        let error = WorkerLock::acquire(folder.path(), Timestamp::EPOCH).unwrap_err();
        let holder = format!("pid={} since=1970-01-01T00:00:01.000000Z", std::process::id());
        assert!(error.message().contains(&holder), "{error}");
        drop(first);
        WorkerLock::acquire(folder.path(), Timestamp::EPOCH).unwrap();
    }

    #[test]
    fn a_lock_in_a_folder_that_is_not_there_says_which() {
        let error = WorkerLock::acquire(Path::new("/no/such/folder"), Timestamp::EPOCH).unwrap_err();
        assert!(error.message().contains("/no/such/folder/run.lock"), "{error}");
    }
}
