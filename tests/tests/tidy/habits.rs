//! What no code does.

use crate::{
    check, rust,
    tree::{self, File},
};

/// Where amounts, positions and hashes pass: no float may touch them.
const DATA_PATH: [&str; 5] =
    ["engine/model/", "engine/runtime/", "projectors/declarative/", "connectors/local/", "config/"];
/// The recorder of metrics takes nothing else.
const FLOATS: [&str; 1] = ["engine/runtime/src/metrics.rs"];

#[test]
fn no_float_is_on_the_data_path() {
    let on_path = |file: &File| DATA_PATH.iter().any(|folder| file.path.starts_with(folder));
    let mut wrong = Vec::new();
    for file in product().filter(|file| on_path(file) && !FLOATS.contains(&file.path.as_str())) {
        find(&file, &["f32", "f64"], &mut wrong);
    }
    check("Numbers are exact: `foldstream_model::Decimal`, or integers.", &wrong);
}

#[test]
fn nothing_is_left_undone_or_assumed_away() {
    let mut wrong = Vec::new();
    for file in product() {
        find(&file, &["todo!", "unimplemented!", "dbg!", "unwrap()", "unwrap_err()", "unsafe"], &mut wrong);
    }
    check("Return an error that says what, where and what to do; `expect` where it cannot fail.", &wrong);
}

#[test]
fn a_lint_that_is_switched_off_says_why() {
    let mut wrong = Vec::new();
    for file in tree::rust_files() {
        let code = rust::code(&file.text);
        for attribute in ["#[allow(", "#![allow("] {
            let found = code.match_indices(attribute).map(|(at, _)| file.line(at));
            wrong.extend(found.map(|line| format!("{}:{line}: {attribute}…)]", file.path)));
        }
        for (at, _) in code.match_indices("#[expect(").chain(code.match_indices("#![expect(")) {
            let end = code[at..].find(")]").map_or(code.len(), |length| at + length);
            if rust::words(&code[at..end], "reason").next().is_none() {
                wrong.push(format!("{}:{}: #[expect(…)] without a reason", file.path, file.line(at)));
            }
        }
    }
    check("Write `#[expect(…, reason = \"…\")]`.", &wrong);
}

/// What is shipped.
fn product() -> impl Iterator<Item = File> {
    tree::rust_files().into_iter().filter(|file| !file.is_test())
}

fn find(file: &File, words: &[&str], wrong: &mut Vec<String>) {
    let code = rust::without_tests(&rust::code(&file.text));
    for word in words {
        let name = word.trim_end_matches(['!', '(', ')']);
        let whole = |at: &usize| code[*at..].starts_with(word);
        let found = rust::words(&code, name).filter(whole).map(|at| file.line(at));
        wrong.extend(found.map(|line| format!("{}:{line}: {word}", file.path)));
    }
}
