//! Ctrl-C.

use std::process::{Child, Command};

use foldstream_tests::repositories::{Kind, long, unborn};

use super::{Bed, facts::Facts, ran};

fn signal(child: &Child, name: &str) {
    let ended = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
}

#[test]
fn interrupted_it_saves_all_says_what_is_left_and_goes_on_from_there() {
    let bed = Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| long(folder, 3_000, 8))
    });
    let mut child = bed.start_demo("data", &[]);
    let facts = Facts::of(&bed, "data");
    facts.wait_until(&mut child, |facts| facts.projected() > 0);
    drop(facts);
    signal(&child, "-INT");
    let ran = ran(child);
    assert!(ran.out.starts_with("interrupted: ") && ran.out.contains("run it again"), "{ran:?}");
    let left = ran.ok();
    assert!(left.contains(" of 3,000 commits are left to take"), "{left}");
    let temporary = std::fs::read_dir(bed.folder.path().join("temporary")).unwrap();
    assert_eq!(temporary.count(), 0);
    bed.demo("data", &[]).ok();
    bed.assert_files_are_the_tree_of("HEAD", "data");
}
