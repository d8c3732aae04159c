use std::{collections::BTreeMap, fs, path::Path};

use foldstream_model::Result;
use foldstream_tests::repositories::{self, HOSTILE_COMMITS, HOSTILE_PATHS, Head, Kind, Writer, git};
use tempfile::TempDir;

use super::*;

/// What a repository has told, commit by commit.
type Told = Vec<(Commit, Vec<Change>)>;

fn told(folder: &Path) -> Told {
    let repository = Repository::open(folder).unwrap();
    let mut walk = repository.walk(None, repository.head().unwrap()).unwrap();
    let mut told = Vec::new();
    while let Some(commit) = walk.next_commit().unwrap() {
        let chunks =
            std::iter::from_fn(|| Some(walk.next_changes().unwrap()).filter(|changes| !changes.is_empty()));
        let changes = chunks.flatten().collect();
        told.push((commit, changes));
    }
    told
}

/// Folds every change of a repository and compares with `git ls-tree`, which knows nothing of changes.
fn fold_equals_tree(folder: &Path) -> Told {
    let told = told(folder);
    let mut files = BTreeMap::new();
    for change in told.iter().flat_map(|(_, changes)| changes) {
        assert_eq!(files.get(&change.path).copied(), change.before, "{change:?}");
        match change.after {
            Some(after) => files.insert(change.path.clone(), after),
            None => files.remove(&change.path),
        };
    }
    let repository = Repository::open(folder).unwrap();
    let head = repository.head().unwrap();
    let tree = repository.tree(head).unwrap().map(Result::unwrap);
    let tree: BTreeMap<_, _> =
        tree.map(|entry| (entry.path, Version { mode: entry.mode, blob: entry.blob })).collect();
    assert_eq!(files, tree);
    assert_eq!(repository.line(None, head).unwrap().commits, told.len() as u64);
    told
}

fn change<'a>(told: &'a Told, subject: &str, path: &[u8]) -> &'a Change {
    let (_, changes) = told.iter().find(|(commit, _)| commit.subject.starts_with(subject)).unwrap();
    changes.iter().find(|change| change.path == path).unwrap()
}

/// A repository with one file per commit.
fn small(commits: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    let mut writer = Writer::start(folder.path()).unwrap();
    let mut last = None;
    for number in 0..commits {
        let message = format!("Commit {number}");
        let head = Head { message: message.as_bytes(), parents: last.as_slice(), ..Head::default() };
        last = Some(writer.commit(&head).unwrap());
        writer.put("100644", format!("file-{number}.txt").as_bytes(), b"one\ntwo\n").unwrap();
    }
    writer.finish().unwrap();
    folder
}

fn hex(folder: &Path, name: &str) -> String {
    String::from_utf8(git(folder, &["rev-parse", name]).unwrap()).unwrap().trim().to_owned()
}

#[test]
fn the_changes_of_a_hostile_repository_fold_into_its_tree() {
    for kind in [Kind::default(), Kind { bare: true, sha256: true }] {
        let folder = TempDir::new().unwrap();
        repositories::hostile(folder.path(), kind).unwrap();
        let told = fold_equals_tree(folder.path());
        assert_eq!(told.len() as u64, HOSTILE_COMMITS);
        let (_, first) = told.first().unwrap();
        assert_eq!(first.len(), HOSTILE_PATHS.len());
    }
}

#[test]
fn the_changes_of_generated_repositories_fold_into_their_trees() {
    for seed in 0..8 {
        let folder = TempDir::new().unwrap();
        repositories::unborn(folder.path(), Kind { bare: seed % 2 == 0, sha256: seed % 4 == 3 }).unwrap();
        repositories::long(folder.path(), 300, seed).unwrap();
        assert_eq!(fold_equals_tree(folder.path()).len(), 300);
    }
}

#[test]
fn a_commit_of_many_files_is_read_in_chunks() {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    repositories::wide(folder.path(), 2_000).unwrap();
    let told = fold_equals_tree(folder.path());
    assert_eq!(told.iter().map(|(_, changes)| changes.len()).collect::<Vec<_>>(), [2_000, 1_000, 200]);
}

#[test]
fn kinds_of_entries_sizes_and_lines_are_told() {
    let folder = TempDir::new().unwrap();
    repositories::hostile(folder.path(), Kind::default()).unwrap();
    let told = told(folder.path());
    let seen = |subject, path: &str| {
        let change = change(&told, subject, path.as_bytes());
        let mode =
            |version: Option<Version>| version.map(|version| version.mode.to_string()).unwrap_or_default();
        let lines = change.lines.map(|lines| (lines.added, lines.removed));
        (mode(change.before), mode(change.after), change.size, lines)
    };
    let (file, script, link, module) =
        ("100644".to_owned(), "100755".to_owned(), "120000".to_owned(), "160000".to_owned());
    let none = String::new();
    assert_eq!(seen("A binary", "binary"), (none.clone(), file.clone(), Some(5), None));
    assert_eq!(seen("A binary", "empty"), (none.clone(), file.clone(), Some(0), Some((0, 0))));
    assert_eq!(seen("A binary", "no-line-end"), (none.clone(), file.clone(), Some(11), Some((1, 0))));
    assert_eq!(seen("A binary", "link"), (none.clone(), link.clone(), Some(9), Some((1, 0))));
    assert_eq!(seen("A binary", "vendor/module"), (none.clone(), module.clone(), None, Some((1, 0))));
    assert_eq!(seen("Only modes", "script"), (script, file.clone(), Some(10), Some((0, 0))));
    assert_eq!(seen("Types change", "script"), (file.clone(), link.clone(), Some(10), Some((0, 0))));
    assert_eq!(seen("Types change", "link"), (link, file.clone(), Some(11), Some((1, 1))));
    assert_eq!(seen("Types change", "empty"), (file.clone(), module.clone(), None, Some((1, 0))));
    assert_eq!(seen("The submodule becomes", "vendor/module"), (module, none.clone(), None, Some((0, 1))));
    assert_eq!(seen("Every hostile path goes", "it's"), (file, none, None, Some((0, 3))));
}

#[test]
fn people_and_dates_that_are_odd_are_told_as_far_as_they_can_be() {
    let folder = TempDir::new().unwrap();
    repositories::hostile(folder.path(), Kind::default()).unwrap();
    let told = told(folder.path());
    let of = |path: &str| {
        let written = |(_, changes): &&(Commit, Vec<Change>)| {
            changes.iter().any(|change| change.path == path.as_bytes())
        };
        told.iter().find(written).unwrap().0.clone()
    };
    assert_eq!(
        of("odd/0").author,
        Person { name: "Zo\u{fffd}".to_owned(), email: "zo\u{fffd}@example.org".to_owned() }
    );
    assert_eq!((of("odd/1").author.name.as_str(), of("odd/1").subject.as_str()), ("unknown", ""));
    assert_eq!(of("odd/2").author.email, "Nameless Address");
    assert_eq!((of("odd/3").authored, of("odd/3").committed), (0, 0));
    assert_eq!(of("odd/4").authored, 31_556_952_000_000_000);
    assert!(of("odd/5").subject.len() <= 500);
}

#[test]
fn a_merge_is_told_against_its_first_parent_only() {
    let folder = TempDir::new().unwrap();
    repositories::hostile(folder.path(), Kind::default()).unwrap();
    let told = told(folder.path());
    let (octopus, changes) = told.iter().find(|(commit, _)| commit.subject == "An octopus").unwrap();
    assert_eq!((octopus.parents.len(), changes.len()), (3, 2));
    assert_eq!(change(&told, "An evil merge", b"thing").lines, Some(Lines { added: 1, removed: 1 }));
    assert!(!told.iter().any(|(commit, _)| commit.subject == "On the side"));
}

#[test]
fn a_commit_whose_date_git_cannot_read_has_date_zero() {
    let folder = small(1);
    let tree = hex(folder.path(), "HEAD^{tree}");
    let commit = format!(
        "tree {tree}\nparent {}\nauthor Ada <ada@example.org> -77\ncommitter Ada <ada@example.org> 9{} +0000\n\nOdd\n",
        hex(folder.path(), "HEAD"),
        "9".repeat(30)
    );
    fs::write(folder.path().join("commit"), commit).unwrap();
    let id = git(folder.path(), &["hash-object", "-t", "commit", "-w", "--literally", "commit"]).unwrap();
    git(folder.path(), &["update-ref", "HEAD", String::from_utf8(id).unwrap().trim()]).unwrap();
    let told = told(folder.path());
    let (commit, changes) = told.last().unwrap();
    assert_eq!((commit.authored, commit.committed, changes.len()), (0, i64::MAX, 0));
}

#[test]
fn configuration_attributes_grafts_and_replace_refs_change_nothing() {
    let folder = TempDir::new().unwrap();
    repositories::hostile(folder.path(), Kind::default()).unwrap();
    let before = told(folder.path());
    let [head, second, fifth, ninth] =
        ["HEAD", "HEAD~2", "HEAD~5", "HEAD~9"].map(|name| hex(folder.path(), name));
    let set = [
        ["core.quotePath", "true"],
        ["core.abbrev", "5"],
        ["core.attributesFile", "/dev/stdin"],
        ["diff.renames", "copies"],
        ["diff.noprefix", "true"],
        ["diff.external", "false"],
        ["diff.algorithm", "patience"],
        ["diff.ignoreSubmodules", "all"],
        ["diff.submodule", "log"],
        ["diff.orderFile", "order"],
        ["diff.upper.textconv", "tr a-z A-Z <"],
        ["diff.upper.binary", "true"],
        ["log.showSignature", "true"],
        ["log.mailmap", "true"],
        ["log.date", "human"],
        ["i18n.logOutputEncoding", "UTF-16"],
        ["color.ui", "always"],
        ["core.pager", "false"],
        ["alias.rev-list", "!false"],
        ["submodule.recurse", "true"],
    ];
    for [name, value] in set {
        git(folder.path(), &["config", name, value]).unwrap();
    }
    fs::create_dir_all(folder.path().join(".git/info")).unwrap();
    fs::write(folder.path().join(".git/info/grafts"), format!("{fifth}\n")).unwrap();
    fs::write(folder.path().join(".git/info/attributes"), "* diff=upper\n").unwrap();
    fs::write(folder.path().join(".gitattributes"), "* -diff\n").unwrap();
    git(folder.path(), &["replace", &second, &ninth]).unwrap();
    git(folder.path(), &["replace", &head, &ninth]).unwrap();
    assert_eq!(told(folder.path()), before);
    let resolved = Repository::open(folder.path()).unwrap().resolve("HEAD~9").unwrap();
    assert_eq!(resolved.unwrap().to_string(), ninth);
}

#[test]
fn a_folder_inside_of_the_work_tree_stands_for_the_repository() {
    let folder = small(3);
    let inside = folder.path().join("some/where");
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(told(&inside), told(folder.path()));
    assert_eq!(told(&folder.path().join(".git")), told(folder.path()));
}

#[test]
fn a_linked_work_tree_has_its_own_head() {
    let folder = small(3);
    let other = TempDir::new().unwrap();
    let linked = other.path().join("linked");
    git(folder.path(), &["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap(), "HEAD~1"])
        .unwrap();
    assert_eq!(told(&linked).len(), 2);
}

#[test]
fn a_detached_head_is_a_commit_like_any_other() {
    let folder = small(4);
    git(folder.path(), &["checkout", "--quiet", "--detach", "HEAD~2"]).unwrap();
    assert_eq!(fold_equals_tree(folder.path()).len(), 2);
}

#[test]
fn borrowed_objects_are_found() {
    let folder = small(3);
    let other = TempDir::new().unwrap();
    git(other.path(), &["clone", "--quiet", "--shared", folder.path().to_str().unwrap(), "clone"]).unwrap();
    assert_eq!(told(&other.path().join("clone")), told(folder.path()));
}

#[test]
fn a_branch_without_commits_has_no_head() {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    assert_eq!(repository.head(), None);
    assert_eq!(repository.resolve("HEAD").unwrap(), None);
}

#[test]
fn a_shallow_clone_begins_where_it_was_cut() {
    let folder = small(6);
    let clone = TempDir::new().unwrap();
    repositories::shallow(folder.path(), clone.path(), 2).unwrap();
    let told = fold_equals_tree(clone.path());
    assert_eq!(told.iter().map(|(_, changes)| changes.len()).collect::<Vec<_>>(), [5, 1]);
    assert_eq!(told.first().unwrap().0.parents, []);
    let repository = Repository::open(clone.path()).unwrap();
    assert!(repository.begins_with(told.first().unwrap().0.id));
    assert!(!repository.begins_with(told.last().unwrap().0.id));
}

#[test]
fn a_part_of_the_line_is_read_behind_a_commit() {
    let folder = small(5);
    let repository = Repository::open(folder.path()).unwrap();
    let (after, to) =
        (repository.resolve("HEAD~3").unwrap().unwrap(), repository.resolve("HEAD~1").unwrap().unwrap());
    let line = repository.line(Some(after), to).unwrap();
    assert_eq!((line.commits, line.joins), (2, Some(after)));
    let mut walk = repository.walk(Some(after), to).unwrap();
    assert_eq!(walk.next_commit().unwrap().unwrap().subject, "Commit 2");
    assert_eq!(walk.next_commit().unwrap().unwrap().id, to);
    assert_eq!(walk.next_commit().unwrap(), None);
}

#[test]
fn what_is_no_repository_is_said_to_be_none() {
    let folder = TempDir::new().unwrap();
    let refused = |path: &Path| Repository::open(path).err().unwrap().to_string();
    assert!(
        refused(folder.path()).contains("no git repository can be read here"),
        "{}",
        refused(folder.path())
    );
    assert!(refused(&folder.path().join("nowhere")).contains("there is no such folder"));
}

#[test]
fn a_folder_of_somebody_else_is_explained() {
    let folder = small(1);
    let git_folder = folder.path().join(".git");
    let given_away =
        [folder.path(), &git_folder].map(|path| std::os::unix::fs::chown(path, Some(54_321), None).is_ok());
    if given_away == [true, true] {
        let refused = Repository::open(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("git config --global --add safe.directory"), "{refused}");
    }
}

#[test]
fn a_partial_clone_that_lacks_blobs_is_explained() {
    let folder = small(2);
    git(folder.path(), &["config", "uploadpack.allowFilter", "true"]).unwrap();
    let clone = TempDir::new().unwrap();
    let origin = format!("file://{}", folder.path().display());
    git(clone.path(), &["clone", "--quiet", "--bare", "--filter=blob:none", &origin, "."]).unwrap();
    let repository = Repository::open(clone.path()).unwrap();
    let mut walk = repository.walk(None, repository.head().unwrap()).unwrap();
    let read = walk.next_commit().and_then(|_| walk.next_changes());
    let error = read.unwrap_err().to_string();
    assert!(error.contains("this is a partial clone"), "{error}");
}

#[test]
fn names_that_are_no_commits_are_none() {
    let folder = small(1);
    let repository = Repository::open(folder.path()).unwrap();
    for name in
        ["nothing", "", "--all", "HEAD:file-0.txt", "HEAD~7", "1234567890123456789012345678901234567890"]
    {
        assert_eq!(repository.resolve(name).unwrap(), None, "{name}");
    }
    assert!(!repository.has_commit(ObjectId::parse(&[b'1'; 40]).unwrap()).unwrap());
}

#[test]
fn a_damaged_history_is_an_error_and_never_a_short_one() {
    let folder = small(4);
    let damage = |name: &str| {
        let id = hex(folder.path(), name);
        let (head, tail) = id.split_at(2);
        let object = folder.path().join(".git/objects").join(head).join(tail);
        fs::remove_file(&object).map(|()| object)
    };
    git(folder.path(), &["config", "gc.auto", "0"]).unwrap();
    let pack =
        fs::read_dir(folder.path().join(".git/objects/pack")).unwrap().flatten().map(|entry| entry.path());
    for path in
        pack.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect::<Vec<_>>()
    {
        let moved = folder.path().join("pack");
        fs::rename(&path, &moved).unwrap();
        fs::remove_file(path.with_extension("idx")).unwrap();
        let input = fs::File::open(&moved).unwrap();
        let mut unpack = std::process::Command::new("git");
        assert!(
            unpack
                .current_dir(folder.path())
                .args(["unpack-objects", "-q"])
                .stdin(input)
                .status()
                .unwrap()
                .success()
        );
    }
    assert_eq!(told(folder.path()).len(), 4);
    damage("HEAD~2:file-1.txt").unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let mut walk = repository.walk(None, repository.head().unwrap()).unwrap();
    let mut read = || -> Result<u64> {
        let mut commits = 0;
        while walk.next_commit()?.is_some() {
            while !walk.next_changes()?.is_empty() {}
            commits += 1;
        }
        Ok(commits)
    };
    let error = read().unwrap_err().to_string();
    assert!(error.contains("git") && error.contains(": "), "{error}");
    damage("HEAD~2").unwrap();
    let error = repository.line(None, repository.head().unwrap()).unwrap_err();
    assert!(error.message().contains("git failed: command=\"git rev-list"), "{error}");
}
