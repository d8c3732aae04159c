//! The stages of the line stand in the order in which the data flows, and know only what comes before them.

use std::collections::BTreeSet;

use crate::{
    check, rust,
    tree::{self, File},
};

const FOLDER: &str = "engine/runtime/src/";

/// Names of a later stage that an earlier one may use, and why: they are what it hands on.
const HANDED_ON: [(&str, &str, &str); 9] = [
    (
        "read",
        "decode::Intake",
        "a batch is decoded by the task that reads it, while the one before is put in order",
    ),
    (
        "decode",
        "upcast::Upcasts",
        "one call makes an event ready, whether it comes by a record, a cut or a journal",
    ),
    ("decode", "upcast::OnNewerSchema", "what is said of an event that no upcaster leads to"),
    ("decode", "upcast::on_newer_schema", "whether that is what is wrong with it"),
    ("dispatch", "guard::Origin", "what a touch tells the guard of where it comes from"),
    ("dispatch", "lanes::Delivery", "the form in which a lane takes a touch"),
    ("dispatch", "lanes::lane_of", "which lane that is"),
    ("dispatch", "progress::BatchId", "the batch that a touch settles"),
    ("lanes", "progress::BatchId", "the batch that a touch settles"),
];

/// Those that decide: plain structs that are told what happened and say what to do.
const DECIDING: [&str; 11] = [
    "upcast",
    "order",
    "journal",
    "lineage",
    "streams",
    "guard",
    "lanes",
    "merge",
    "progress",
    "leases",
    "retention",
];
/// Calls into users' code, which panics there and is as pure as what it calls; and what makes a rule wrong for a test.
const PURE: [&str; 2] = ["pure", "planted"];

/// What would make the answers of one of them depend on something that it was not told.
const FOREIGN_TO_DECISIONS: [&str; 9] =
    ["tokio", "async", "await", "Clock", "Ids", "Instant", "SystemTime", "thread", "dyn CheckpointStore"];

#[test]
fn no_stage_imports_a_later_one() {
    let stages = stages();
    let place = |name: &str| stages.iter().position(|stage| stage == name);
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in tree::rust_files() {
        let Some(stage) = stage_of(&file).and_then(|stage| place(&stage)) else { continue };
        for (at, path) in paths(&file) {
            let later = path.split("::").next().and_then(place).filter(|named| *named > stage);
            if later.is_none() {
                continue;
            }
            match handed_on(&stages[stage], &path) {
                Some(index) => drop(used.insert(index)),
                None => {
                    let line = file.line(at);
                    wrong.push(format!("{}:{line}: `{}` uses {path}", file.path, stages[stage]));
                }
            }
        }
    }
    for (index, (stage, path, _)) in HANDED_ON.iter().enumerate() {
        if !used.contains(&index) {
            wrong.push(format!("`{stage}` does not use {path} any more: take it off the list"));
        }
    }
    check("A stage knows what comes before it; move what both need to the earlier one.", &wrong);
}

#[test]
fn what_decides_is_told_everything() {
    let stages = stages();
    let mut wrong = Vec::new();
    for file in tree::rust_files().into_iter().filter(|file| !file.is_test()) {
        let Some(stage) = stage_of(&file).filter(|stage| DECIDING.contains(&stage.as_str())) else {
            continue;
        };
        let code = rust::without_tests(&rust::code(&file.text));
        for word in FOREIGN_TO_DECISIONS {
            let found = rust::words(&code, word).next().map(|at| file.line(at));
            wrong.extend(found.map(|line| format!("{}:{line}: `{stage}` knows `{word}`", file.path)));
        }
        for (at, path) in paths(&file) {
            let used = path.split("::").next();
            if !used.is_some_and(|used| PURE.contains(&used))
                && !stages.iter().any(|stage| used == Some(stage))
            {
                wrong.push(format!("{}:{}: `{stage}` uses {path}", file.path, file.line(at)));
            }
        }
    }
    check("What decides has no clock, no chance, no task and no store: give it what it must know.", &wrong);
}

#[test]
fn the_stages_that_decide_are_stages() {
    let stages = stages();
    for stage in DECIDING {
        assert!(stages.iter().any(|known| known == stage), "{stage} is not among {stages:?}");
    }
}

/// The modules that `lib.rs` lists under "The stages", in its order.
pub fn stages() -> Vec<String> {
    let lib = tree::file(&format!("{FOLDER}lib.rs"));
    let lines = lib.text.lines().skip_while(|line| *line != "// The stages.").skip(1);
    let lines = lines.take_while(|line| !line.starts_with("//"));
    let stages: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert!(stages.len() > 8, "{}: no list of stages under `// The stages.`: {stages:?}", lib.path);
    stages
}

/// The top module of the runtime that a file belongs to.
fn stage_of(file: &File) -> Option<String> {
    let path = file.path.strip_prefix(FOLDER)?;
    path.trim_end_matches(".rs").split('/').next().map(str::to_owned)
}

/// The paths from the crate's root that a file uses outside of its tests.
fn paths(file: &File) -> Vec<(usize, String)> {
    if file.is_test() {
        return Vec::new();
    }
    rust::crate_paths(&rust::without_tests(&rust::code(&file.text)))
}

fn handed_on(stage: &str, path: &str) -> Option<usize> {
    HANDED_ON.iter().position(|(from, name, _)| {
        let rest = path.strip_prefix(name);
        *from == stage && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}
