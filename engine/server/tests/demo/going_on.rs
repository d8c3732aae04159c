//! Run again, the demo goes on; what it prints leads further.

use std::{path::Path, process::Command, sync::Arc};

use foldstream::clock::{SystemClock, UniqueIds};
use foldstream_local::{LocalStore, OpenOptions};
use foldstream_model::{
    ProjectionId, Value,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument},
};
use foldstream_tests::repositories::{Kind, long, unborn};

use super::Bed;

fn bed(commits: u64) -> Bed {
    Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| long(folder, commits, 11))
    })
}

#[test]
fn a_history_taken_in_parts_makes_the_documents_of_one_that_is_taken_at_once() {
    let bed = bed(200);
    let line = bed.line();
    for until in [&line[0], &line[79], &line[150]] {
        bed.demo("parts", &["--until", until]).ok();
        bed.assert_files_are_the_tree_of(until, "parts");
    }
    let ran = bed.demo("parts", &[]);
    assert!(
        ran.err.contains("151 commits were taken before") && ran.err.contains("going on with 49"),
        "{}",
        ran.err
    );
    ran.ok();
    bed.demo("once", &[]).ok();
    bed.assert_same_documents("parts", "once");
}

#[test]
fn with_nothing_new_git_judges_again() {
    let bed = bed(10);
    bed.demo("data", &[]).ok();
    let ran = bed.demo("data", &[]);
    assert!(ran.err.contains("was taken before"), "{}", ran.err);
    assert!(ran.ok().starts_with("all "));
}

/// Changes the mode of the first file, and deletes the second.
#[tokio::main(flavor = "current_thread")]
async fn damage(data: &Path) {
    let options = OpenOptions { create: false, read_only: false };
    let store = LocalStore::open(data, Arc::new(SystemClock), Arc::new(UniqueIds), options).unwrap();
    let (documents, files) = (store.documents(), ProjectionId::new("files", 1));
    let mut writes = Vec::new();
    for (number, (key, stored)) in documents.list(&files, None, 2).await.unwrap().into_iter().enumerate() {
        let document = stored.document.filter(|_| number == 0).map(|mut document| {
            let mode = Value::Text("100000".into());
            Arc::make_mut(&mut document.fields).insert("mode".into(), mode);
            document
        });
        let condition = Condition::GuardIs(stored.guard.clone());
        writes.push(DocumentWrite { key, condition, put: StoredDocument { guard: stored.guard, document } });
    }
    documents.write(&files, writes).await.unwrap();
}

#[test]
fn documents_that_are_not_gits_tree_are_shown_and_fail() {
    let bed = bed(10);
    bed.demo("data", &[]).ok();
    damage(&bed.data("data"));
    let ran = bed.demo("data", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for said in
        ["differ", "1 in git but not among the documents", "1 with another mode", "document 100000, git 1"]
    {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
}

#[test]
fn the_commands_that_it_prints_work_as_they_are() {
    let bed = bed(40);
    let said = bed.demo("a data folder", &[]).ok();
    let commands: Vec<_> =
        said.lines().skip_while(|line| *line != "Look further").skip(1).step_by(2).collect();
    assert!(commands.len() >= 5, "{said}");
    let sqlite = Command::new("sqlite3").arg("-version").output();
    assert!(sqlite.is_ok(), "one of the commands needs sqlite3: `tests/run unit` installs it");
    for command in commands {
        let ran = Command::new("sh").args(["-c", command]).current_dir(bed.folder.path()).output().unwrap();
        assert!(ran.status.success() && !ran.stdout.is_empty(), "{command}: {ran:?}");
    }
}

#[test]
fn the_configuration_in_the_data_folder_passes_its_own_tests() {
    let bed = bed(3);
    bed.demo("data", &[]).ok();
    assert!(bed.run(&["test", "-c", "data/git-history.yaml"]).ok().ends_with("tests passed\n"));
}

#[test]
fn the_data_folder_is_apart_from_others_and_not_seen_by_git() {
    let bed = Bed::new(|folder| unborn(folder, Kind::default()).and_then(|()| long(folder, 3, 1)));
    bed.git(&["checkout", "--quiet", "--force", "HEAD"]);
    let mut command = bed.command(&["demo"]);
    super::ran(command.current_dir(&bed.repository).spawn().unwrap()).ok();
    assert!(bed.repository.join("foldstream-demo/foldstream.db").exists());
    assert_eq!(bed.git(&["status", "--porcelain", "--ignore-submodules"]), "");
}
