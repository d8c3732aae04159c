//! Who runs a data folder: one process that wants it for itself, or any number that share the work.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use foldstream_model::{Error, Result, Timestamp};

const RUN_FILE: &str = "run.lock";
const FLEET_FILE: &str = "fleet.lock";

/// Held by a process that runs a data folder; given back when dropped, and by the operating system when the process
/// ends in whatever way.
#[derive(Debug)]
pub struct WorkerLock {
    _file: File,
}

/// Held by each process of a fleet.
#[derive(Debug)]
pub struct FleetLock {
    _run: WorkerLock,
    fleet: File,
    path: PathBuf,
    is_alone: bool,
}

impl WorkerLock {
    /// Takes the folder for this process alone; `now` is remembered for whom it refuses. `Invalid`: another process
    /// holds it; the message names it.
    pub fn acquire(folder: &Path, now: Timestamp) -> Result<Self> {
        Self::take(folder, now, File::try_lock)
    }

    fn take(
        folder: &Path,
        now: Timestamp,
        lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Self> {
        let path = folder.join(RUN_FILE);
        let mut file = open(&path)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse(&path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        note(&mut file, now).map_err(|error| failed(&path, error))?;
        Ok(Self { _file: file })
    }
}

impl FleetLock {
    /// Takes the folder together with the other processes of its fleet. `Invalid`: a process has it for itself; the
    /// message names it.
    pub fn join(folder: &Path, now: Timestamp) -> Result<Self> {
        let run = WorkerLock::take(folder, now, File::try_lock_shared)?;
        let path = folder.join(FLEET_FILE);
        let fleet = open(&path)?;
        let is_alone = match fleet.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                // The first of a fleet holds it for a moment only.
                fleet.lock_shared().map_err(|error| failed(&path, error))?;
                false
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        };
        Ok(Self { _run: run, fleet, path, is_alone })
    }

    /// No other process of the fleet lives: what is stored of any can be removed. Others wait until
    /// [`FleetLock::let_others_in`].
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub fn let_others_in(&self) -> Result<()> {
        self.fleet.lock_shared().map_err(|error| failed(&self.path, error))
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::invalid(format!(
        "the data folder cannot be locked; make it writable, or choose another with --data: file={} reason={error}",
        path.display()
    ))
    .with_source(error)
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
    fn a_fleet_shares_a_folder_and_only_its_first_process_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = FleetLock::join(folder.path(), Timestamp::EPOCH).unwrap();
        assert!(first.is_alone());
        first.let_others_in().unwrap();
        let second = FleetLock::join(folder.path(), Timestamp::EPOCH).unwrap();
        assert!(!second.is_alone());
        WorkerLock::acquire(folder.path(), Timestamp::EPOCH).unwrap_err();
        drop(first);
        let third = FleetLock::join(folder.path(), Timestamp::EPOCH).unwrap();
        assert!(!third.is_alone(), "the second one lives");
        drop((second, third));
        let owner = WorkerLock::acquire(folder.path(), Timestamp::EPOCH).unwrap();
        FleetLock::join(folder.path(), Timestamp::EPOCH).unwrap_err();
        drop(owner);
        assert!(FleetLock::join(folder.path(), Timestamp::EPOCH).unwrap().is_alone());
    }

    #[test]
    fn a_lock_in_a_folder_that_is_not_there_says_which() {
        let error = WorkerLock::acquire(Path::new("/no/such/folder"), Timestamp::EPOCH).unwrap_err();
        assert!(error.message().contains("/no/such/folder/run.lock"), "{error}");
    }
}
