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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn made(make: impl Fn(&Path) -> Result<()>, question: &[&str]) -> Vec<u8> {
        let folder = TempDir::new().unwrap();
        make(folder.path()).unwrap();
        git(folder.path(), question).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_commits_again_and_another_seed_others() {
        let long = |seed| {
            let make =
                move |folder: &Path| unborn(folder, Kind::default()).and_then(|()| long(folder, 150, seed));
            made(make, &["rev-parse", "HEAD"])
        };
        assert_eq!(long(1), long(1));
        assert_ne!(long(1), long(2));
    }

    #[test]
    fn every_repository_passes_gits_own_check() {
        let wide = |folder: &Path| unborn(folder, Kind::default()).and_then(|()| wide(folder, 300));
        let hostile = |folder: &Path| hostile(folder, Kind { bare: true, sha256: true });
        let long = |folder: &Path| unborn(folder, Kind::default()).and_then(|()| long(folder, 300, 9));
        let check = ["fsck", "--full"];
        made(wide, &check);
        made(hostile, &check);
        made(long, &check);
    }

    #[test]
    fn the_line_has_as_many_commits_as_were_asked_for() {
        let count = ["rev-list", "--first-parent", "--count", "HEAD"];
        let long = |folder: &Path| unborn(folder, Kind::default()).and_then(|()| long(folder, 300, 9));
        assert_eq!(made(long, &count), b"300\n");
        assert_eq!(
            made(|folder| hostile(folder, Kind::default()), &count),
            format!("{HOSTILE_COMMITS}\n").as_bytes()
        );
    }
}
