//! Commits written as a stream of `git fast-import`.

use std::{
    fmt::Write as _,
    io::{BufWriter, Error, Result, Write},
    path::Path,
    process::{Child, ChildStdin, Stdio},
};

use super::command;

/// A commit of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// What a commit is besides its files.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    pub branch: &'a str,
    /// Name and email as git keeps them, `Ada <ada@example.org>`; any bytes.
    pub author: &'a [u8],
    /// Seconds since 1970; git takes any that are not negative.
    pub authored: u64,
    pub committed: u64,
    pub message: &'a [u8],
    /// The first one's files are what the commit begins with. None for a root.
    pub parents: &'a [Mark],
}

impl Default for Head<'_> {
    fn default() -> Self {
        Self {
            branch: "main",
            author: b"Ada <ada@example.org>",
            authored: 1_700_000_000,
            committed: 1_700_000_000,
            message: b"A commit",
            parents: &[],
        }
    }
}

/// Writes commits into an existing repository. The files that follow a commit belong to it.
pub struct Writer {
    git: Child,
    stream: BufWriter<ChildStdin>,
    marks: u64,
}

impl Writer {
    pub fn start(folder: &Path) -> Result<Self> {
        let arguments = ["fast-import", "--quiet", "--force", "--date-format=raw-permissive"];
        let mut git = command(folder, &arguments).stdin(Stdio::piped()).spawn()?;
        let input = git.stdin.take().ok_or_else(|| Error::other("git has no input"))?;
        Ok(Self { git, stream: BufWriter::with_capacity(1 << 16, input), marks: 0 })
    }

    /// Begins a commit.
    pub fn commit(&mut self, head: &Head<'_>) -> Result<Mark> {
        self.marks += 1;
        writeln!(self.stream, "commit refs/heads/{}\nmark :{}", head.branch, self.marks)?;
        self.stream.write_all(b"author ")?;
        self.stream.write_all(head.author)?;
        writeln!(self.stream, " {} +0000", head.authored)?;
        writeln!(self.stream, "committer Carl <carl@example.org> {} +0200", head.committed)?;
        self.data(head.message)?;
        for (place, parent) in head.parents.iter().enumerate() {
            writeln!(self.stream, "{} :{}", if place == 0 { "from" } else { "merge" }, parent.0)?;
        }
        Ok(Mark(self.marks))
    }

    /// Sets a file, `100644` or `100755`, or a symlink, `120000`, whose content is where it points to.
    pub fn put(&mut self, mode: &str, path: &[u8], content: &[u8]) -> Result<()> {
        writeln!(self.stream, "M {mode} inline {}", quoted(path))?;
        self.data(content)
    }

    /// Sets a submodule at a commit that need not exist.
    pub fn submodule(&mut self, path: &[u8], commit: &str) -> Result<()> {
        writeln!(self.stream, "M 160000 {commit} {}", quoted(path))
    }

    /// Deletes a file, or a folder with all that is in it.
    pub fn delete(&mut self, path: &[u8]) -> Result<()> {
        writeln!(self.stream, "D {}", quoted(path))
    }

    /// Waits until everything is written.
    pub fn finish(mut self) -> Result<()> {
        self.stream.flush()?;
        drop(self.stream);
        let status = self.git.wait()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("git fast-import: {status}"))) }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        writeln!(self.stream, "data {}", bytes.len())?;
        self.stream.write_all(bytes)?;
        self.stream.write_all(b"\n")
    }
}

fn quoted(path: &[u8]) -> String {
    let mut text = String::from('"');
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' => text.push(char::from(*byte)),
            other => write!(text, "\\{other:03o}").expect("writing to a string cannot fail"),
        }
    }
    text + "\""
}
