//! The tree of a commit, as `git ls-tree` shows it.

use std::process::{ChildStdout, Stdio};

use foldstream_model::{Error, Result};

use super::{
    Mode, ObjectId,
    fields::Fields,
    room::{Process, Room},
};

/// A file, symlink or submodule of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    pub path: Vec<u8>,
    pub mode: Mode,
    /// The blob, or the commit of a submodule.
    pub blob: ObjectId,
}

/// The entries of a commit's tree with those of its folders, one after the other.
pub struct Tree {
    process: Process,
    entries: Fields<ChildStdout>,
    ended: bool,
}

impl Tree {
    pub(super) fn start(room: &Room, commit: ObjectId) -> Result<Self> {
        let arguments = ["ls-tree", "--full-tree", "-r", "-z", &commit.to_string()];
        let mut process = room.start(&arguments, Stdio::null())?;
        let entries = Fields::new(process.output()?);
        Ok(Self { process, entries, ended: false })
    }

    fn read(&mut self) -> Result<Option<TreeEntry>> {
        if self.entries.peek()?.is_none() {
            self.process.finish()?;
            return Ok(None);
        }
        let entry = self.entries.next().and_then(parse);
        entry.map(Some).map_err(|error| self.process.explain(error))
    }
}

impl Iterator for Tree {
    type Item = Result<TreeEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.read().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

/// Reads `100644 blob 78981922613b2afb6025042ff6bd878ac1994e85<TAB>path`.
fn parse(line: &[u8]) -> Result<TreeEntry> {
    let malformed =
        || Error::invalid(format!("git lists what is no tree entry: {:?}", String::from_utf8_lossy(line)));
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(malformed)?;
    let (head, path) = line.split_at(tab);
    let mut words = head.split(|byte| *byte == b' ');
    let (Some(mode), Some(_), Some(blob)) = (words.next(), words.next(), words.next()) else {
        return Err(malformed());
    };
    Ok(TreeEntry {
        path: path.get(1..).unwrap_or_default().to_vec(),
        mode: Mode::parse(mode)?,
        blob: ObjectId::parse(blob)?,
    })
}
