//! What the events carry. Fields stand in the order of their names.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        git::{Change, Commit, Lines},
        path_text,
    },
    clock,
};

/// The payload of the five events of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEvent {
    /// The author's name.
    pub author: String,
    /// Whether git takes the content for binary: then no lines are counted.
    pub binary: bool,
    /// The id of the blob, or of a submodule's commit; null when the file is deleted.
    pub blob: Option<String>,
    pub commit: String,
    pub email: String,
    pub lines_added: u64,
    pub lines_removed: u64,
    /// `100644`, `100755`, `120000` (symlink) or `160000` (submodule); null when the file is deleted.
    pub mode: Option<String>,
    /// The path as text without loss; see [`path_text`].
    pub path: String,
    /// Bytes of the blob; null when the file is deleted, and of a submodule.
    pub size: Option<u64>,
}

impl FileEvent {
    pub(super) fn new(change: &Change, commit: &Commit) -> Self {
        let lines = change.lines.unwrap_or_default();
        Self {
            author: commit.author.name.clone(),
            binary: change.lines.is_none(),
            blob: change.after.map(|after| after.blob.to_string()),
            commit: commit.id.to_string(),
            email: commit.author.email.clone(),
            lines_added: lines.added,
            lines_removed: lines.removed,
            mode: change.after.map(|after| after.mode.to_string()),
            path: path_text::of_path(&change.path),
            size: change.size,
        }
    }
}

/// The payload of `Committed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    pub author: String,
    /// When it was written, RFC 3339 in UTC.
    pub authored_at: String,
    pub commit: String,
    /// The day of `authored_at`, `2026-11-21`.
    pub day: String,
    pub email: String,
    /// How many paths it changes against its first parent.
    pub files: u64,
    pub lines_added: u64,
    pub lines_removed: u64,
    /// Its place on the first-parent line, from 1.
    pub number: u64,
    pub parents: Vec<String>,
    pub subject: String,
}

impl Committed {
    pub(super) fn new(commit: &Commit, number: u64) -> Self {
        let authored_at = clock::instant(commit.authored);
        Self {
            author: commit.author.name.clone(),
            authored_at: authored_at.to_string(),
            commit: commit.id.to_string(),
            day: authored_at.date(),
            email: commit.author.email.clone(),
            files: 0,
            lines_added: 0,
            lines_removed: 0,
            number,
            parents: commit.parents.iter().map(ToString::to_string).collect(),
            subject: commit.subject.clone(),
        }
    }

    pub(super) fn count(&mut self, lines: Option<Lines>) {
        let lines = lines.unwrap_or_default();
        self.files += 1;
        self.lines_added += lines.added;
        self.lines_removed += lines.removed;
    }
}
