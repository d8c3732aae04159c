use std::process::Command;

use super::Folder;

fn git(folder: &Folder, arguments: &[&str]) {
    let mut command = Command::new("git");
    let person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"];
    let ran = command.current_dir(folder.path()).args(person).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

fn commit(folder: &Folder, name: &str, text: &str) {
    folder.write(name, text);
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-qm", name]);
}

fn repository() -> Folder {
    let folder = Folder::new();
    git(&folder, &["init", "-q"]);
    std::fs::create_dir(folder.path().join("src")).unwrap();
    commit(&folder, "src/a.txt", "one\n");
    commit(&folder, "b c.txt", "two\n");
    commit(&folder, "src/a.txt", "one\nmore\n");
    folder
}

#[test]
fn git_finds_its_own_tree_in_the_documents_and_again_when_it_has_grown() {
    let folder = repository();
    let said = folder.run(&["demo"]).ok();
    assert!(
        said.contains("all 2 files equal `git ls-tree`") && said.contains("3 commits by 1 author"),
        "{said}"
    );
    let churn =
        folder.run(&["documents", "get", "churn", "src", "-o", "json", "--data", "foldstream-demo"]).ok();
    assert!(churn.contains("\"changes\":2,\"lines_added\":2"), "{churn}");
    commit(&folder, "src/new.txt", "x\n");
    std::fs::remove_file(folder.path().join("b c.txt")).unwrap();
    commit(&folder, "src/new.txt", "y\n");
    let ran = folder.run(&["demo"]);
    assert!(ran.err.contains("3 commits were taken before"), "{}", ran.err);
    assert!(ran.ok().contains("all 2 files equal `git ls-tree`"));
    let ran = folder.run(&["demo", "-o", "json"]);
    assert!(ran.err.contains("was taken before"), "{}", ran.err);
    assert!(ran.ok().contains("\"outcome\":\"equal\""));
}

#[test]
fn another_history_is_refused_with_what_to_do() {
    let folder = repository();
    folder.run(&["demo", "--until", "HEAD~1"]).ok();
    git(&folder, &["checkout", "-q", "--orphan", "other"]);
    commit(&folder, "z", "z");
    let error = folder.run(&["demo"]).fails(2);
    assert!(error.contains("--data"), "{error}");
}

#[test]
fn a_repository_without_commits_is_said_to_have_none() {
    let folder = Folder::new();
    git(&folder, &["init", "-q"]);
    assert!(folder.run(&["demo"]).ok().contains("no commits yet"));
    let elsewhere = Folder::new();
    elsewhere.run(&["demo"]).fails(2);
}
