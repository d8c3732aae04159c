//! The repository speaks of itself alone, and of what is, not of what is still to be done.

use crate::{check, tree};

const ENDINGS: [&str; 9] = [".rs", ".md", ".toml", ".yaml", ".yml", ".json", ".sql", ".sh", "run"];

/// Taken apart, so that this file may be read too.
fn forbidden() -> Vec<String> {
    let documents =
        ["DESIGN", "CONFIG", "STYLE", "DEPENDENCIES", "SERVERS"].map(|name| format!("{name}{}", ".md"));
    let machines = ["work", "root"].map(|folder| format!("/{folder}/"));
    let places = ["\u{a7}".to_owned(), format!("..{}", "/shared")];
    let undone = ["TO", "FIX"].iter().zip(["DO", "ME"]).map(|(a, b)| format!("{a}{b}"));
    documents.into_iter().chain(machines).chain(places).chain(undone).collect()
}

#[test]
fn nothing_is_named_that_a_reader_does_not_have() {
    let mut wrong = Vec::new();
    for file in tree::files(&ENDINGS) {
        for word in forbidden() {
            let found = file.text.match_indices(&word).map(|(at, _)| file.line(at));
            wrong.extend(found.map(|line| format!("{}:{line}: {word}", file.path)));
        }
    }
    check("Say the rule itself, and what is true today.", &wrong);
}
