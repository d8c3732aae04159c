//! The user's repository: what it is asked itself.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use foldstream_model::{Error, Result};

use super::{
    FirstParentLine, ObjectFormat, ObjectId, Tree, Walk,
    room::{Process, Room},
    version,
};

/// A repository, and the commit that its HEAD named when it was opened.
pub struct Repository {
    folder: PathBuf,
    pub(super) room: Room,
    head: Option<ObjectId>,
    /// The commits whose parents a shallow clone left out.
    boundary: Vec<ObjectId>,
}

impl Repository {
    /// Opens the repository that `folder` is, or stands in: a work tree, a linked one, a bare repository.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::invalid(format!("there is no such folder: path={}", folder.display())));
        }
        version::check()?;
        let ask = |arguments: &[&str]| ask(folder, arguments)?.demand().map(one_line);
        let format = ask(&["--show-object-format"]).map_err(|error| not_a_repository(folder, &error))?;
        let format = ObjectFormat::parse(&String::from_utf8_lossy(&format))?;
        let path = |name| -> Result<_> { Ok(folder.join(OsString::from_vec(ask(&["--git-path", name])?))) };
        let objects = absolute(&path("objects")?)?;
        let boundary = fs::read(path("shallow")?).ok().filter(|boundary| !boundary.is_empty());
        let room = Room::new(objects, format, boundary.as_deref())?;
        let boundary =
            boundary.iter().flat_map(|ids| ids.split(|byte| *byte == b'\n')).filter(|id| !id.is_empty());
        let boundary = boundary.map(ObjectId::parse).collect::<Result<_>>()?;
        let mut repository = Self { folder: folder.to_owned(), room, head: None, boundary };
        repository.head = repository.pin_head()?;
        Ok(repository)
    }

    /// The commit of HEAD when the repository was opened; none when nothing was committed yet.
    pub fn head(&self) -> Option<ObjectId> {
        self.head
    }

    /// Whether a shallow clone begins with this commit: it has parents, which were not fetched.
    pub fn begins_with(&self, commit: ObjectId) -> bool {
        self.boundary.contains(&commit)
    }

    /// The commit that a name stands for (`v1.0`, `main~3`, a hash); none when there is no such commit.
    pub fn resolve(&self, name: &str) -> Result<Option<ObjectId>> {
        if name.is_empty() || name.starts_with('-') {
            return Ok(None);
        }
        let answer = ask(&self.folder, &["--verify", "--quiet", &format!("{name}^{{commit}}")])?.answer()?;
        answer.map(|hex| ObjectId::parse(&one_line(hex))).transpose()
    }

    /// Whether this commit is here at all.
    pub fn has_commit(&self, commit: ObjectId) -> Result<bool> {
        let arguments = ["cat-file", "-e", &format!("{commit}^{{commit}}")];
        Ok(self.room.start(&arguments, Stdio::null())?.answer()?.is_some())
    }

    /// The commits behind `after` up to `to`, following first parents.
    pub fn line(&self, after: Option<ObjectId>, to: ObjectId) -> Result<FirstParentLine> {
        FirstParentLine::measure(&self.room, after, to)
    }

    /// Reads the commits behind `after` up to `to`, oldest first, each with what it changes against its first parent.
    ///
    /// `after` must be on the first-parent line of `to`; see [`Self::line`].
    pub fn walk(&self, after: Option<ObjectId>, to: ObjectId) -> Result<Walk> {
        Walk::start(&self.room, after, to)
    }

    /// Reads the whole tree of a commit.
    pub fn tree(&self, commit: ObjectId) -> Result<Tree> {
        Tree::start(&self.room, commit)
    }

    /// A HEAD that names a commit which is not here is damage; one that names a branch without commits is a beginning.
    fn pin_head(&self) -> Result<Option<ObjectId>> {
        let Some(hex) = ask(&self.folder, &["--verify", "--quiet", "HEAD"])?.answer()? else {
            return Ok(None);
        };
        let hex = one_line(hex);
        match self.resolve("HEAD")? {
            Some(commit) => Ok(Some(commit)),
            None => {
                let hex = String::from_utf8_lossy(&hex);
                Err(Error::invalid(format!(
                    "HEAD names a commit that is not here: commit={hex}; see `git fsck`"
                )))
            }
        }
    }
}

/// Asks `git rev-parse` in the user's repository, under the user's own configuration: it may be what declares the folder
/// safe. None of it changes these answers. Variables that would lead git to another repository are taken out.
fn ask(folder: &Path, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_bytes();
        if bytes.starts_with(b"GIT_") && !bytes.starts_with(b"GIT_CONFIG") {
            command.env_remove(name);
        }
    }
    command
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_GRAFT_FILE", "/dev/null")
        .env("GIT_NO_LAZY_FETCH", "1");
    command
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .arg("-C")
        .arg(folder)
        .arg("rev-parse")
        .args(arguments);
    Process::start(command, Stdio::null(), None)
}

fn not_a_repository(folder: &Path, error: &Error) -> Error {
    let folder = folder.display();
    let way_out = if error.message().contains("dubious ownership") {
        format!(
            "it belongs to another user, and git refuses to read it until you trust it: \
             git config --global --add safe.directory {folder}"
        )
    } else {
        "give one with --git PATH".to_owned()
    };
    Error::invalid(format!(
        "no git repository can be read here: path={folder}; {way_out} ({})",
        error.message()
    ))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| {
        Error::invalid(format!("the repository has no readable objects: path={} ({error})", path.display()))
    })
}

fn one_line(mut output: Vec<u8>) -> Vec<u8> {
    if output.last() == Some(&b'\n') {
        output.pop();
    }
    output
}
