//! The demo as a user meets it, on repositories that hold everything git permits; git itself is the oracle.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "other processes are waited for by the clock on the wall")]

mod facts;
mod repositories;
mod going_on;
mod refusals;
mod stops;
mod kills;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use foldstream::demo::path_text;
use foldstream_tests::repositories::git;
use serde_json::Value;
use tempfile::TempDir;

const MODELS: [&str; 5] = ["activity", "authors", "changes", "churn", "files"];

/// A folder with a repository, the demo's data, and all that is temporary.
struct Bed {
    folder: TempDir,
    repository: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Bed {
    /// With a repository made by `make`, in a folder that it finds empty.
    fn new(make: impl FnOnce(&Path) -> std::io::Result<()>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repository");
        fs::create_dir(&repository).unwrap();
        fs::create_dir(folder.path().join("temporary")).unwrap();
        make(&repository).unwrap();
        Self { folder, repository }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        String::from_utf8(git(&self.repository, arguments).unwrap()).unwrap().trim_end().to_owned()
    }

    /// The commits on the first-parent line, oldest first.
    fn line(&self) -> Vec<String> {
        let line = self.git(&["rev-list", "--first-parent", "--reverse", "HEAD"]);
        line.lines().map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldstream"));
        command.current_dir(self.folder.path()).args(arguments);
        for variable in ["FOLDSTREAM_CONFIG", "FOLDSTREAM_DATA", "FOLDSTREAM_LOG", "FOLDSTREAM_LISTEN"] {
            command.env_remove(variable);
        }
        command.env("TMPDIR", self.folder.path().join("temporary"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).spawn().unwrap())
    }

    fn start_demo(&self, data: &str, more: &[&str]) -> Child {
        let mut arguments = vec!["demo", "--git", "repository", "--data", data];
        arguments.extend(more);
        self.command(&arguments).spawn().unwrap()
    }

    fn demo(&self, data: &str, more: &[&str]) -> Ran {
        ran(self.start_demo(data, more))
    }

    /// The documents of a read model, one a line, as they are printed.
    fn documents(&self, data: &str, model: &str) -> String {
        self.run(&["documents", "list", model, "--limit", "0", "-o", "json", "--data", data]).ok()
    }

    /// Compares `files` with what git says of a commit, path by path.
    #[track_caller]
    fn assert_files_are_the_tree_of(&self, commit: &str, data: &str) {
        let listed = git(&self.repository, &["ls-tree", "--full-tree", "-r", "-z", commit]).unwrap();
        let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let tree: BTreeMap<Vec<u8>, (String, String)> = entries
            .map(|entry| {
                let tab = entry.iter().position(|byte| *byte == b'\t').unwrap();
                let words = String::from_utf8(entry[..tab].to_vec()).unwrap();
                let words: Vec<_> = words.split(' ').collect();
                (entry[tab + 1..].to_vec(), (words[0].to_owned(), words[2].to_owned()))
            })
            .collect();
        let text = |document: &Value, field: &str| document[field].as_str().unwrap().to_owned();
        let documents = self.documents(data, "files");
        let documents = documents.lines().map(|line| {
            let document = &serde_json::from_str::<Value>(line).unwrap()["document"];
            let path = path_text::to_path(&text(document, "path")).unwrap();
            (path, (text(document, "mode"), text(document, "blob")))
        });
        assert!(documents.collect::<BTreeMap<_, _>>() == tree, "the documents differ from {commit}");
    }

    /// All read models of two data folders, byte for byte.
    #[track_caller]
    fn assert_same_documents(&self, one: &str, other: &str) {
        for model in MODELS {
            let (one, other) = (self.documents(one, model), self.documents(other, model));
            assert!(!one.is_empty() && one == other, "{model} differs\n{one}\n{other}");
        }
    }
}

fn ran(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// Its standard output, if it ended well.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Its standard error, if it ended with this code.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.err
    }
}

/// The first line of what a demo says that went well: git's verdict.
#[track_caller]
fn verdict(said: &str) -> &str {
    said.lines().next().unwrap()
}
