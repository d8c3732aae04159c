//! What git permits, the demo takes.

use std::collections::BTreeMap;

use foldstream_tests::repositories::{HOSTILE_COMMITS, Kind, git, hostile, long, shallow, unborn, wide};
use serde_json::Value;

use super::{Bed, verdict};

#[test]
fn everything_odd_that_git_permits_is_in_the_documents() {
    for kind in [Kind::default(), Kind { bare: true, sha256: false }, Kind { bare: true, sha256: true }] {
        let bed = Bed::new(|folder| hostile(folder, kind));
        let said = bed.demo("data", &[]).ok();
        assert!(verdict(&said).ends_with("equal `git ls-tree`: path, blob and mode"), "{said}");
        assert!(said.contains(&format!("\n{HOSTILE_COMMITS} commits by ")), "{said}");
        bed.assert_files_are_the_tree_of("HEAD", "data");
    }
}

#[test]
fn a_drawn_history_with_merges_submodules_and_clocks_that_step_back_equals_the_tree() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()).and_then(|()| long(folder, 5_000, 3)));
    let said = bed.demo("data", &["-o", "json"]).ok();
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["outcome"], "equal");
    assert_eq!(
        (&told["commits_taken"], &told["commit"]),
        (&Value::from(5_000), &bed.git(&["rev-parse", "HEAD"]).into())
    );
    bed.assert_files_are_the_tree_of("HEAD", "data");
    let pages = bed.documents("data", "changes");
    let pages: Vec<Value> = pages.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let commits = pages.iter().flat_map(|page| page["document"]["commits"].as_array().unwrap());
    let commits: Vec<_> = commits.map(|commit| commit["commit"].as_str().unwrap()).collect();
    assert_eq!((pages.len(), commits), (50, bed.line().iter().map(String::as_str).collect()));
}

#[test]
fn people_and_folders_are_counted_as_git_counts_them() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()).and_then(|()| long(folder, 200, 9)));
    bed.demo("data", &[]).ok();
    let authors = git(&bed.repository, &["log", "--first-parent", "--format=%an <%ae>"]).unwrap();
    let mut counted = BTreeMap::new();
    for author in String::from_utf8_lossy(&authors).lines() {
        *counted.entry(author.to_owned()).or_insert(0) += 1;
    }
    let number = |line: &str, field: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["key"].as_str().unwrap().to_owned(), line["document"][field].as_u64().unwrap())
    };
    let documents = bed.documents("data", "authors");
    let documents = documents.lines().map(|line| number(line, "commits"));
    assert_eq!(documents.collect::<BTreeMap<_, _>>(), counted);
    let history = ["log", "--first-parent", "--diff-merges=first-parent", "--root", "--no-renames", "-z"];
    let names = git(&bed.repository, &[&history[..], &["--name-only", "--format="]].concat()).unwrap();
    for (key, prefix) in [("/", ""), ("src", "src/"), ("docs", "docs/")] {
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let changes = names.filter(|name| name.starts_with(prefix.as_bytes())).count();
        let document = bed.run(&["documents", "get", "churn", key, "-o", "json", "--data", "data"]).ok();
        assert_eq!(number(&document, "changes"), (key.to_owned(), changes as u64));
    }
}

#[test]
fn commits_of_very_many_files_equal_the_tree() {
    let bed = Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| wide(folder, 3_000))
    });
    bed.demo("data", &[]).ok();
    bed.assert_files_are_the_tree_of("HEAD", "data");
}

#[test]
fn empty_commits_are_commits() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()));
    for _ in 0..3 {
        bed.git(&["commit", "--quiet", "--allow-empty", "--message=nothing"]);
    }
    let said = bed.demo("data", &[]).ok();
    assert!(said.contains("3 commits by 1 author, 0 files now"), "{said}");
    bed.assert_files_are_the_tree_of("HEAD", "data");
}

#[test]
fn a_repository_without_commits_leaves_nothing_behind_until_it_has_one() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()));
    assert!(bed.demo("data", &[]).ok().contains("no commits yet"));
    assert_eq!(bed.demo("data", &["-o", "json"]).ok(), "{\"outcome\":\"no_commits\"}\n");
    assert!(!bed.data("data").exists());
    bed.git(&["commit", "--quiet", "--allow-empty", "--message=first"]);
    bed.demo("data", &[]).ok();
}

#[test]
fn a_shallow_clone_says_that_it_is_one_and_equals_its_tree() {
    let origin = Bed::new(|folder| unborn(folder, Kind::default()).and_then(|()| long(folder, 60, 5)));
    let bed = Bed::new(|folder| shallow(&origin.repository, folder, 20));
    let ran = bed.demo("data", &[]);
    assert!(ran.err.contains("shallow"), "{}", ran.err);
    ran.ok();
    bed.assert_files_are_the_tree_of("HEAD", "data");
}

#[test]
fn the_head_of_a_work_tree_may_be_detached_and_a_folder_inside_named() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()).and_then(|()| long(folder, 30, 6)));
    bed.git(&["checkout", "--quiet", "--force", "--detach", "HEAD~9"]);
    std::fs::create_dir(bed.repository.join("inside")).unwrap();
    bed.run(&["demo", "--git", "repository/inside", "--data", "data"]).ok();
    bed.assert_files_are_the_tree_of("HEAD", "data");
}
