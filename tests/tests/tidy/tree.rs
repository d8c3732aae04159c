//! The files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file.
pub struct File {
    /// From the root of the repository, with slashes.
    pub path: String,
    pub text: String,
}

impl File {
    /// Tests, benches and what only they use: they may be long, and may fail as they like.
    pub fn is_test(&self) -> bool {
        let path = self.path.trim_end_matches(".rs");
        let folders = ["tests", "benches", "examples", "conformance"];
        path.split('/').any(|part| folders.contains(&part))
    }

    /// The line, counted from 1, of a byte.
    pub fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All text files whose names end so, sorted by path.
pub fn files(endings: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    walk(&root(), "", endings, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

pub fn rust_files() -> Vec<File> {
    files(&[".rs"])
}

/// One file, which must be there.
pub fn file(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text }
}

fn walk(folder: &Path, prefix: &str, endings: &[&str], files: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder that was opened can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_folder = entry.file_type().expect("an entry has a type").is_dir();
        if is_folder && is_ours(&name) {
            walk(&entry.path(), &format!("{path}/"), endings, files);
        } else if !is_folder
            && endings.iter().any(|ending| name.ends_with(ending))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
}

/// Not what cargo builds, git keeps, or a run of the engine has left.
fn is_ours(folder: &str) -> bool {
    let others = folder.starts_with("target") || folder.starts_with("foldstream-data");
    folder == ".ci" || !(others || folder.starts_with('.'))
}
