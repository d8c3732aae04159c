use std::path::Path;

use foldstream_tests::repositories::{self, Kind, git};
use tempfile::TempDir;

use super::*;

fn repository(commits: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind { bare: true, sha256: false }).unwrap();
    repositories::long(folder.path(), commits, 5).unwrap();
    folder
}

fn id(folder: &Path, name: &str) -> ObjectId {
    Repository::open(folder).unwrap().resolve(name).unwrap().unwrap()
}

/// As if a run had taken everything up to a commit.
fn taken(folder: &Path, first: &str, last: &str) -> Taken {
    Taken { first: id(folder, first), last: id(folder, last), number: 7, recorded_at: Timestamp::EPOCH }
}

fn plan(folder: &Path, until: Option<&str>, taken: Option<&Taken>) -> Result<Plan> {
    Plan::make(&Repository::open(folder).unwrap(), until, taken)
}

fn refused(folder: &Path, until: Option<&str>, taken: Option<&Taken>) -> String {
    plan(folder, until, taken).unwrap_err().to_string()
}

#[test]
fn the_first_run_takes_everything() {
    let folder = repository(60);
    let to = id(folder.path(), "HEAD");
    assert_eq!(
        plan(folder.path(), None, None).unwrap(),
        Plan::Take { after: None, to, commits: 60, notes: vec![] }
    );
}

#[test]
fn the_next_run_takes_what_came_since() {
    let folder = repository(60);
    let taken = taken(folder.path(), "HEAD~59", "HEAD~4");
    let expected =
        Plan::Take { after: Some(taken.last), to: id(folder.path(), "HEAD"), commits: 4, notes: vec![] };
    assert_eq!(plan(folder.path(), None, Some(&taken)).unwrap(), expected);
    assert_eq!(plan(folder.path(), Some("HEAD~4"), Some(&taken)).unwrap(), Plan::UpToDate { at: taken.last });
}

#[test]
fn a_branch_without_commits_has_nothing_to_take() {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    assert_eq!(plan(folder.path(), None, None).unwrap(), Plan::Unborn);
    let other = repository(2);
    let taken = taken(other.path(), "HEAD~1", "HEAD");
    assert!(
        refused(folder.path(), None, Some(&taken)).contains("HEAD names a branch that has no commits yet")
    );
}

#[test]
fn until_takes_names_on_the_line_only() {
    let folder = repository(60);
    let Plan::Take { to, commits, .. } = plan(folder.path(), Some("main~50"), None).unwrap() else {
        panic!()
    };
    assert_eq!((to, commits), (id(folder.path(), "HEAD~50"), 10));
    let message = refused(folder.path(), Some("main~10^2"), None);
    assert!(message.contains("is not on the first-parent line of HEAD"), "{message}");
    assert!(refused(folder.path(), Some("v9"), None).contains("--until names no commit of this repository"));
}

#[test]
fn a_rewritten_history_is_refused_with_the_way_out() {
    let folder = repository(60);
    let before = taken(folder.path(), "HEAD~59", "HEAD");
    let tree = git(folder.path(), &["commit-tree", "-p", "HEAD~1", "-m", "Amended", "HEAD^{tree}"]).unwrap();
    git(folder.path(), &["update-ref", "HEAD", String::from_utf8(tree).unwrap().trim()]).unwrap();
    let message = refused(folder.path(), None, Some(&before));
    assert!(message.contains("it is not on the first-parent line of commit"), "{message}");
    assert!(message.contains("Use another folder with --data"), "{message}");
}

#[test]
fn a_commit_of_a_merged_branch_is_no_place_to_go_on() {
    let folder = repository(60);
    let side = taken(folder.path(), "HEAD~59", "HEAD~10^2");
    assert!(refused(folder.path(), None, Some(&side)).contains("it is not on the first-parent line"));
}

#[test]
fn going_back_is_refused_as_such() {
    let folder = repository(60);
    let taken = taken(folder.path(), "HEAD~59", "HEAD~3");
    assert!(refused(folder.path(), Some("HEAD~8"), Some(&taken)).contains("the data is already past commit"));
}

#[test]
fn the_data_of_another_repository_is_refused() {
    let other = TempDir::new().unwrap();
    repositories::hostile(other.path(), Kind::default()).unwrap();
    let (folder, foreign) = (repository(3), taken(other.path(), "HEAD~5", "HEAD"));
    assert!(refused(folder.path(), None, Some(&foreign)).contains("that commit is not in this repository"));
}

#[test]
fn a_shallow_clone_says_where_it_begins_and_a_deepened_one_what_it_lacks() {
    let (folder, clone) = (repository(60), TempDir::new().unwrap());
    repositories::shallow(folder.path(), clone.path(), 5).unwrap();
    let Plan::Take { commits, notes, .. } = plan(clone.path(), None, None).unwrap() else { panic!() };
    assert_eq!(commits, 5);
    assert!(notes.concat().contains("this clone is shallow"), "{notes:?}");

    let taken = taken(clone.path(), "HEAD~4", "HEAD~1");
    git(clone.path(), &["fetch", "--quiet", "--unshallow"]).unwrap();
    let Plan::Take { commits, notes, .. } = plan(clone.path(), None, Some(&taken)).unwrap() else { panic!() };
    assert_eq!(commits, 1);
    assert!(notes.concat().contains("the 55 commits before it are not taken"), "{notes:?}");
}

#[test]
fn a_clone_cut_behind_the_last_commit_taken_says_so() {
    let (folder, clone) = (repository(60), TempDir::new().unwrap());
    repositories::shallow(folder.path(), clone.path(), 9).unwrap();
    let taken = taken(clone.path(), "HEAD~8", "HEAD~6");
    git(clone.path(), &["fetch", "--quiet", "--depth=3"]).unwrap();
    assert!(refused(clone.path(), None, Some(&taken)).contains("try `git fetch --unshallow`"));
}
