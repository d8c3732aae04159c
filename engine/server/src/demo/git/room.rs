//! The clean room: a bare git folder of our own, whose objects are the repository's.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
};

use foldstream_model::{Error, Result};
use tempfile::TempDir;

use super::ObjectFormat;

/// How much of git's complaints a message repeats.
const LONGEST_COMPLAINT: u64 = 2_000;

/// A folder that git takes for a bare repository without refs, and the environment to run git on it. The folder stays
/// as long as a process runs there.
#[derive(Clone)]
pub struct Room {
    folder: Arc<TempDir>,
    objects: PathBuf,
    /// Said behind every failure of git: what is special about this repository and could be the reason.
    hint: &'static str,
}

impl Room {
    /// `shallow` is the content of the repository's file of that name: the commits whose parents were not fetched.
    pub fn new(objects: PathBuf, format: ObjectFormat, shallow: Option<&[u8]>) -> Result<Self> {
        let hint = if is_partial(&objects) { PARTIAL } else { "" };
        let folder = furnish(format, shallow).map_err(|error| {
            Error::invalid(format!(
                "cannot make a folder for git to work in: folder={} ({error})",
                temporary()
            ))
        })?;
        Ok(Self { folder: Arc::new(folder), objects, hint })
    }

    /// Starts a plumbing command.
    pub fn start<I: AsRef<OsStr>>(&self, arguments: &[I], input: Stdio) -> Result<Process> {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
        ] {
            command.env(name, value);
        }
        command.env("GIT_DIR", self.folder.path()).env("GIT_OBJECT_DIRECTORY", &self.objects);
        command.current_dir(self.folder.path()).args(arguments);
        Process::start(command, input, Some(self.clone()))
    }
}

const PARTIAL: &str = "; this is a partial clone, which lacks objects on purpose: fetch them with \
     `git fetch --refetch --no-filter`, or clone again without --filter";

fn is_partial(objects: &Path) -> bool {
    let Ok(packs) = fs::read_dir(objects.join("pack")) else { return false };
    packs.flatten().any(|entry| entry.path().extension() == Some(OsStr::new("promisor")))
}

fn furnish(format: ObjectFormat, shallow: Option<&[u8]>) -> std::io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("foldstream-git-").tempdir()?;
    fs::create_dir(folder.path().join("refs"))?;
    fs::write(folder.path().join("HEAD"), "ref: refs/heads/none\n")?;
    let (version, extensions) = match format {
        ObjectFormat::Sha1 => (0, ""),
        ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectFormat = sha256\n"),
    };
    let core =
        format!("[core]\n\trepositoryFormatVersion = {version}\n\tbare = true\n\tcommitGraph = false\n");
    fs::write(folder.path().join("config"), core + extensions)?;
    if let Some(boundary) = shallow {
        fs::write(folder.path().join("shallow"), boundary)?;
    }
    Ok(folder)
}

fn temporary() -> String {
    std::env::temp_dir().display().to_string()
}

/// A running git. Dropped, it is ended and waited for.
pub struct Process {
    child: Child,
    called: String,
    complaints: File,
    /// Where it runs, unless in the user's repository.
    room: Option<Room>,
}

impl Process {
    /// Runs the command with its output as a pipe. What it complains of goes into a file without a name, which can
    /// take any amount without being read meanwhile.
    pub fn start(mut command: Command, input: Stdio, room: Option<Room>) -> Result<Self> {
        let called = called(&command);
        let complaints = tempfile::tempfile().map_err(|error| {
            Error::invalid(format!("cannot make a temporary file: folder={} ({error})", temporary()))
        })?;
        let errors = complaints
            .try_clone()
            .map_err(|error| Error::invalid(format!("no file handle left: {error}")))?;
        // In a process group of its own: Ctrl-C is for us to act on, who may still want to read what was begun.
        command.process_group(0).stdin(input).stdout(Stdio::piped()).stderr(errors);
        match command.spawn() {
            Ok(child) => Ok(Self { child, called, complaints, room }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::invalid("git was not found: install git 2.31 or newer, and have it on the PATH"))
            }
            Err(error) => Err(Error::invalid(format!("cannot start git: command={called:?} ({error})"))),
        }
    }

    /// Its standard output. Taken once.
    pub fn output(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().ok_or_else(|| Error::internal("the output of git was taken twice"))
    }

    /// Its standard input, of a process that was started with a pipe. Taken once.
    pub fn input(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().ok_or_else(|| Error::internal("the input of git was taken twice"))
    }

    /// Waits for its end; an error with its complaints when it failed.
    pub fn finish(&mut self) -> Result<()> {
        let status = self.wait()?;
        if status.success() { Ok(()) } else { Err(self.failure(&status.to_string())) }
    }

    /// All of its output, when it succeeded; none when it failed, which then is an answer.
    pub fn answer(mut self) -> Result<Option<Vec<u8>>> {
        let output = self.read_all()?;
        Ok(self.wait()?.success().then_some(output))
    }

    /// All of its output; an error with its complaints when it failed.
    pub fn demand(mut self) -> Result<Vec<u8>> {
        let output = self.read_all()?;
        self.finish()?;
        Ok(output)
    }

    /// What is special about the repository, to be said behind a failure; may be empty.
    pub fn hint(&self) -> &'static str {
        self.room.as_ref().map_or("", |room| room.hint)
    }

    fn read_all(&mut self) -> Result<Vec<u8>> {
        let mut output = Vec::new();
        match self.output()?.read_to_end(&mut output) {
            Ok(_) => Ok(output),
            Err(error) => Err(Error::invalid(format!("cannot read what git says: {error}"))),
        }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().map_err(|error| Error::internal(format!("cannot wait for git: {error}")))
    }

    /// The reason why reading failed: git's own where it ended badly, else `error`.
    ///
    /// It is ended first, since one that still writes would never end by itself; one that ended before keeps its
    /// status.
    pub fn explain(&mut self, error: Error) -> Error {
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) if status.code().is_some_and(|code| code != 0) => self.failure(&status.to_string()),
            _ => error,
        }
    }

    fn failure(&mut self, status: &str) -> Error {
        let mut complaints = Vec::new();
        let read = self
            .complaints
            .rewind()
            .and_then(|()| self.complaints.by_ref().take(LONGEST_COMPLAINT).read_to_end(&mut complaints));
        let complaints = match read {
            Ok(_) => String::from_utf8_lossy(&complaints).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Error::invalid(format!("git failed: command={:?} {status}: {complaints}{}", self.called, self.hint()))
    }
}

impl Drop for Process {
    /// Nothing is lost by ending a reader; that it may have ended already is no error.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn called(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once("git".into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
