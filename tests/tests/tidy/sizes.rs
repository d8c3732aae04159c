//! Files and functions stay small enough to be read at once.

use crate::{check, rust, tree};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

#[test]
fn no_file_has_more_than_500_lines() {
    let files = tree::rust_files().into_iter().filter(|file| !file.is_test());
    let long = files.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", file.path))
    });
    check("A file does one thing: move what is another to a file of its own.", &long.collect::<Vec<_>>());
}

#[test]
fn no_function_has_more_than_70_lines() {
    let mut long = Vec::new();
    for file in tree::rust_files().into_iter().filter(|file| !file.is_test()) {
        let code = rust::without_tests(&rust::code(&file.text));
        for function in rust::functions(&code).into_iter().filter(|function| function.lines > FUNCTION_LINES)
        {
            let line = file.line(function.at);
            long.push(format!("{}:{line}: `{}` has {} lines", file.path, function.name, function.lines));
        }
    }
    check("A function says what happens; how is for the functions that it calls.", &long);
}
