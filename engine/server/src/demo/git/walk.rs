//! Commits one by one, with what each changes against its first parent.

use std::process::{ChildStdout, Stdio};

use foldstream_model::{Error, Result};

use super::{
    Commit, Mode, ObjectId,
    commit::read_id,
    fields::Fields,
    room::{Process, Room},
    sizes::Sizes,
};

/// How many changes are held at once.
const CHUNK: usize = 512;

/// A path before or after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub mode: Mode,
    /// The blob, or the commit of a submodule.
    pub blob: ObjectId,
}

/// How many lines a commit adds to a path and removes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    pub added: u64,
    pub removed: u64,
}

/// What a commit does to a path. Renames are a deletion and an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: Vec<u8>,
    /// None when the commit adds the path.
    pub before: Option<Version>,
    /// None when it deletes it.
    pub after: Option<Version>,
    /// Bytes of the blob after the commit; none without one, and none of a submodule.
    pub size: Option<u64>,
    /// None where git takes the content for binary.
    pub lines: Option<Lines>,
}

/// Reads a first-parent line, oldest commit first. Two processes tell versions and lines, a third one sizes: git tells
/// versions and lines of a commit one after the other, and a commit may be too large to hold.
pub struct Walk {
    versions: Pipeline,
    lines: Pipeline,
    sizes: Sizes,
    previous: Option<ObjectId>,
    /// Lines that were read and belong to a later change of the same commit.
    ahead: Option<(Vec<u8>, Option<Lines>)>,
}

impl Walk {
    pub(super) fn start(room: &Room, after: Option<ObjectId>, to: ObjectId) -> Result<Self> {
        let versions = Pipeline::start(room, after, to, &["--raw", "--no-abbrev", Commit::FORMAT])?;
        let lines = Pipeline::start(room, after, to, &["--numstat", "--format=commit %H"])?;
        Ok(Self { versions, lines, sizes: Sizes::start(room)?, previous: after, ahead: None })
    }

    /// The next commit; none behind the last one. What was not read of the commit before is passed over.
    pub fn next_commit(&mut self) -> Result<Option<Commit>> {
        while self.next_change()?.is_some() {}
        let commit = self.versions.read(|fields| match fields.peek()? {
            None => Ok(None),
            Some(_) => Commit::read(fields).map(Some),
        })?;
        let Some(commit) = commit else { return self.end() };
        let same = self.lines.read(read_id)?;
        if same != commit.id || commit.parents.first().copied() != self.previous {
            return Err(Error::internal(format!(
                "git left the first-parent line: commit={} other={same} expected_parent={:?}",
                commit.id, self.previous
            )));
        }
        self.previous = Some(commit.id);
        Ok(Some(commit))
    }

    /// The next changes of the commit, at most 512, in git's order of paths; none behind the last one.
    pub fn next_changes(&mut self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        while changes.len() < CHUNK {
            let Some(change) = self.next_change()? else { break };
            changes.push(change);
        }
        let sized = |change: &Change| change.after.filter(|after| !after.mode.is_submodule());
        let blobs: Vec<_> = changes.iter().filter_map(sized).map(|after| after.blob).collect();
        let mut sizes = self.sizes.of(&blobs)?.into_iter();
        for change in &mut changes {
            change.size = sized(change).and_then(|_| sizes.next());
        }
        Ok(changes)
    }

    fn next_change(&mut self) -> Result<Option<Change>> {
        let Some((path, before, after)) = self.versions.read(next_versions)? else {
            return match self.next_lines()? {
                None => Ok(None),
                Some((path, _)) => Err(unpaired(&path)),
            };
        };
        let lines = match self.next_lines()? {
            Some((of, lines)) if of == path => lines,
            later => {
                self.ahead = later;
                Some(Lines::default())
            }
        };
        Ok(Some(Change { path, before, after, size: None, lines }))
    }

    fn next_lines(&mut self) -> Result<Option<(Vec<u8>, Option<Lines>)>> {
        match self.ahead.take() {
            Some(ahead) => Ok(Some(ahead)),
            None => self.lines.read(next_lines),
        }
    }

    /// Git may also stop because it failed.
    fn end(&mut self) -> Result<Option<Commit>> {
        self.versions.finish()?;
        if self.lines.read(Fields::peek)?.is_some() {
            return Err(Error::internal("git tells the lines of more commits than it lists"));
        }
        self.lines.finish()?;
        Ok(None)
    }
}

/// `git rev-list | git diff-tree`, read while it runs.
struct Pipeline {
    commits: Process,
    differences: Process,
    fields: Fields<ChildStdout>,
}

impl Pipeline {
    fn start(room: &Room, after: Option<ObjectId>, to: ObjectId, shown: &[&str]) -> Result<Self> {
        let mut list = ["rev-list", "--first-parent", "--reverse"].map(str::to_owned).to_vec();
        list.push(to.to_string());
        list.extend(after.map(|after| format!("^{after}")));
        let mut commits = room.start(&list, Stdio::null())?;
        let diff = [
            "diff-tree",
            "--stdin",
            "--always",
            "--root",
            "-r",
            "-z",
            "--no-renames",
            "--diff-merges=first-parent",
        ];
        let diff = [&diff[..], shown].concat();
        let mut differences = room.start(&diff, Stdio::from(commits.output()?))?;
        let fields = Fields::new(differences.output()?);
        Ok(Self { commits, differences, fields })
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut Fields<ChildStdout>) -> Result<T>) -> Result<T> {
        match read(&mut self.fields) {
            Ok(read) => Ok(read),
            Err(error) => Err(self.differences.explain(error)),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.commits.finish()?;
        self.differences.finish()
    }
}

/// Git sets a line end between a commit and its differences.
fn skip_line_end(fields: &mut Fields<ChildStdout>) -> Result<Option<u8>> {
    if fields.peek()? == Some(b'\n') {
        fields.skip();
    }
    fields.peek()
}

type Versions = (Vec<u8>, Option<Version>, Option<Version>);

/// Reads `:100644 100755 <blob> <blob> M<NUL>path<NUL>`; none when a commit or the end follows.
fn next_versions(fields: &mut Fields<ChildStdout>) -> Result<Option<Versions>> {
    if skip_line_end(fields)? != Some(b':') {
        return Ok(None);
    }
    let field = fields.next()?;
    let words: Vec<_> = field.split(|byte| *byte == b' ').collect();
    let [before, after, blob_before, blob_after, _status] = words.as_slice() else {
        return Err(Error::internal(format!(
            "git lists what is no change: {:?}",
            String::from_utf8_lossy(field)
        )));
    };
    let before = version(before.strip_prefix(b":").unwrap_or(before), blob_before)?;
    let after = version(after, blob_after)?;
    Ok(Some((fields.next()?.to_vec(), before, after)))
}

/// A version with mode 000000 is none.
fn version(mode: &[u8], blob: &[u8]) -> Result<Option<Version>> {
    let blob = ObjectId::parse(blob)?;
    Ok(if mode == b"000000" { None } else { Some(Version { mode: Mode::parse(mode)?, blob }) })
}

/// Reads `12<TAB>3<TAB>path<NUL>`, with `-` for the lines of what is binary; none when a commit or the end follows.
fn next_lines(fields: &mut Fields<ChildStdout>) -> Result<Option<(Vec<u8>, Option<Lines>)>> {
    if !matches!(skip_line_end(fields)?, Some(b'-' | b'0'..=b'9')) {
        return Ok(None);
    }
    let field = fields.next()?;
    let mut words = field.splitn(3, |byte| *byte == b'\t');
    let (Some(added), Some(removed), Some(path)) = (words.next(), words.next(), words.next()) else {
        return Err(Error::internal(format!(
            "git counts lines of nothing: {:?}",
            String::from_utf8_lossy(field)
        )));
    };
    let number = |digits| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let lines = number(added).zip(number(removed)).map(|(added, removed)| Lines { added, removed });
    Ok(Some((path.to_vec(), lines)))
}

fn unpaired(path: &[u8]) -> Error {
    Error::internal(format!(
        "git counts lines of a path that it does not list: path={:?}",
        String::from_utf8_lossy(path)
    ))
}
