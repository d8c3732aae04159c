//! What cannot be done is refused with what to do.

use foldstream_tests::repositories::{Kind, long, unborn};

use super::Bed;

fn bed(seed: u64) -> Bed {
    Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| long(folder, 30, seed))
    })
}

#[test]
fn a_history_that_was_rewritten_is_refused() {
    let bed = bed(1);
    bed.demo("data", &[]).ok();
    let tree = bed.git(&["rev-parse", "HEAD^{tree}"]);
    let rewritten = bed.git(&["commit-tree", &tree, "-p", "HEAD~3", "-m", "rewritten"]);
    bed.git(&["update-ref", "HEAD", &rewritten]);
    let error = bed.demo("data", &[]).fails(2);
    assert!(error.contains("the history was rewritten, or another branch is checked out"), "{error}");
    assert!(error.contains("--data"), "{error}");
    bed.demo("other data", &[]).ok();
}

#[test]
fn another_repository_is_refused() {
    let (one, other) = (bed(1), bed(2));
    one.demo("data", &[]).ok();
    let data = one.data("data");
    let error = other.demo(data.to_str().unwrap(), &[]).fails(2);
    assert!(error.contains("that commit is not in this repository") && error.contains("--data"), "{error}");
}

#[test]
fn events_of_something_else_are_left_alone() {
    let bed = bed(1);
    bed.run(&["events", "append", "o-1", "OrderPlaced", "{}", "--data", "data"]).ok();
    let error = bed.demo("data", &[]).fails(2);
    assert!(error.contains("events of something else") && error.contains("--data"), "{error}");
}

#[test]
fn a_last_commit_must_be_one_of_the_line() {
    let bed = bed(1);
    for until in ["no-such-name", "side", ""] {
        let error = bed.demo("data", &["--until", until]).fails(2);
        assert!(error.contains("--until"), "{error}");
    }
    bed.demo("data", &[]).ok();
    let error = bed.demo("data", &["--until", "HEAD~1"]).fails(2);
    assert!(error.contains("already past"), "{error}");
}

#[test]
fn what_is_no_repository_is_refused() {
    let bed = Bed::new(|_| Ok(()));
    for folder in [".", "no such folder"] {
        let error = bed.run(&["demo", "--git", folder]).fails(2);
        assert!(error.contains("path="), "{error}");
    }
    assert!(!bed.data("foldstream-demo").exists());
}

#[test]
fn a_data_folder_in_use_is_refused_with_who_uses_it() {
    let bed = bed(1);
    bed.demo("data", &[]).ok();
    let lock = std::fs::File::options().write(true).open(bed.data("data/run.lock")).unwrap();
    lock.lock().unwrap();
    let error = bed.demo("data", &[]).fails(3);
    assert!(error.contains("another process runs this data folder"), "{error}");
}
