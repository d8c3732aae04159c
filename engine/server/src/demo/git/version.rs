//! Which git is needed.

use std::process::{Command, Stdio};

use foldstream_model::{Error, Result};

use super::room::Process;

/// The first git that compares a merge with its first parent only when asked to (`--diff-merges`, March 2021).
const OLDEST: (u32, u32) = (2, 31);

/// Refuses a git that is too old to be understood.
pub fn check() -> Result<()> {
    let mut command = Command::new("git");
    command.arg("--version");
    let told = Process::start(command, Stdio::null(), None)?.demand()?;
    let told = String::from_utf8_lossy(&told);
    match parse(&told) {
        Some(version) if version < OLDEST => Err(Error::invalid(format!(
            "git is too old: found={:?} needed={}.{} or newer",
            told.trim(),
            OLDEST.0,
            OLDEST.1
        ))),
        _ => Ok(()),
    }
}

/// Reads `git version 2.39.5 (Apple Git-154)`.
fn parse(told: &str) -> Option<(u32, u32)> {
    let mut numbers = told.split_whitespace().nth(2)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("git version 2.39.5 (Apple Git-154)\n"), Some((2, 39)));
        assert!(parse("git version 2.9.1").unwrap() < OLDEST);
        assert_eq!(parse("git version next"), None);
    }

    #[test]
    fn the_git_at_hand_is_new_enough() {
        check().unwrap();
    }
}
