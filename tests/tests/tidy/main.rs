//! What would hurt most if it crept in, found in the text of the repository: no compiler and no linter looks for it.
//!
//! Every rule shows all that is wrong at once, each with its place.

mod tree;
mod rust;
mod manifest;
mod sizes;
mod stages;
mod crates;
mod habits;
mod words;
mod documents;

/// Fails with all mistakes of a rule, and what to do about them.
fn check(way_out: &str, mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n\n  {}\n\n{way_out}\n", mistakes.join("\n  "));
}
