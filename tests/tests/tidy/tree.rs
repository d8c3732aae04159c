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
    is_test: bool,
}

impl File {
    /// Tests, benches and what only they use: they may be long, and may fail as they like.
    pub fn is_test(&self) -> bool {
        self.is_test
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
    let mut files = files(&[".rs"]);
    let of_tests: Vec<String> = files.iter().flat_map(modules_of_tests).collect();
    for file in &mut files {
        file.is_test |= of_tests.iter().any(|module| is_within(&file.path, module));
    }
    files
}

/// One file, which must be there.
pub fn file(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text, is_test: false }
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
            let is_test = is_of_tests(&path);
            files.push(File { path, text, is_test });
        }
    }
}

/// Not what cargo builds, git keeps, or a run of the engine has left.
fn is_ours(folder: &str) -> bool {
    let others = folder.starts_with("target") || folder.starts_with("foldstream-");
    folder == ".ci" || !(others || folder.starts_with('.'))
}

/// By the names of its folders.
fn is_of_tests(path: &str) -> bool {
    let folders = ["tests", "benches", "examples", "conformance"];
    path.trim_end_matches(".rs").split('/').any(|part| folders.contains(&part))
}

/// The modules that a file declares for tests only, as paths without an ending.
fn modules_of_tests(file: &File) -> Vec<String> {
    let path = file.path.trim_end_matches(".rs");
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let below = if ["lib", "main", "mod"].contains(&name) { folder } else { path };
    let declared = file.text.split("#[cfg(test)]\n").skip(1);
    let names = declared.filter_map(|behind| behind.trim_start().split_once(';')?.0.rsplit_once("mod "));
    names.filter(|(_, name)| !name.contains('\n')).map(|(_, name)| format!("{below}/{name}")).collect()
}

/// Whether a path is that of a module or of something in its folder.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
