//! Git repositories made for tests: the same bytes on every machine, and quickly, since they are written as one stream
//! of `git fast-import`.
//!
//! [`hostile`] holds everything odd that git permits, commit by commit; [`long`] any number of commits drawn by a seed;
//! [`wide`] commits with any number of files. [`Writer`] writes what a test needs besides.

mod chance;
mod writer;
mod hostile;
mod generated;

use std::{
    io::{Error, Result},
    path::Path,
    process::Command,
};

pub use chance::Chance;
pub use generated::{long, wide};
pub use hostile::{COMMITS as HOSTILE_COMMITS, PATHS as HOSTILE_PATHS, hostile};
pub use writer::{Head, Mark, Writer};

/// What `git init` is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kind {
    pub bare: bool,
    pub sha256: bool,
}

/// Makes an empty repository whose HEAD names the branch `main`, which does not exist yet.
pub fn unborn(folder: &Path, kind: Kind) -> Result<()> {
    let mut arguments = vec!["init", "--quiet", "--initial-branch=main"];
    if kind.bare {
        arguments.push("--bare");
    }
    if kind.sha256 {
        arguments.push("--object-format=sha256");
    }
    arguments.push(".");
    std::fs::create_dir_all(folder)?;
    git(folder, &arguments).map(drop)
}

/// Clones the last `depth` commits of a repository into `folder`, as a bare one.
pub fn shallow(origin: &Path, folder: &Path, depth: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let origin = format!("file://{}", origin.canonicalize()?.display());
    git(folder, &["clone", "--quiet", "--bare", &format!("--depth={depth}"), &origin, "."]).map(drop)
}

/// Runs git in a folder, with nobody's configuration but the repository's, at a fixed time; what it says.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = command(folder, arguments).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error::other(format!("git {} in {}: {complaint}", arguments.join(" "), folder.display())))
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    command.current_dir(folder).args(arguments);
    command
}
