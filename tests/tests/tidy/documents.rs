//! Documents say where things are: they must be there.

use std::collections::BTreeSet;

use crate::{check, rust, stages, tree};

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut wrong = Vec::new();
    for file in tree::files(&[".md"]) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, _) in file.text.match_indices("](") {
            let target = file.text[at + 2..].split([')', '#']).next().unwrap_or_default();
            let is_elsewhere = target.is_empty() || target.contains("://");
            if !is_elsewhere && !tree::root().join(folder).join(target).exists() {
                wrong.push(format!("{}:{}: {target}", file.path, file.line(at)));
            }
        }
    }
    check("Link to what is there.", &wrong);
}

#[test]
fn every_decision_is_in_the_list_of_decisions() {
    let list = tree::file("engine/adr/README.md");
    let decisions = tree::files(&[".md"]).into_iter().filter(|file| file.path.starts_with("engine/adr/0"));
    let missing = decisions.filter_map(|file| {
        let name = file.path.trim_start_matches("engine/adr/").to_owned();
        (!list.text.contains(&format!("]({name})"))).then_some(name)
    });
    check("Add it to engine/adr/README.md.", &missing.collect::<Vec<_>>());
}

#[test]
fn every_stage_is_in_the_architecture() {
    let document = tree::file("engine/ARCHITECTURE.md");
    let missing = stages::stages().into_iter().filter(|stage| !document.text.contains(&format!("`{stage}`")));
    check("Say in engine/ARCHITECTURE.md what it does.", &missing.collect::<Vec<_>>());
}

#[test]
fn every_schedule_has_its_test() {
    let document = tree::file("tests/README.md");
    let section = document.text.split("\n## ").find(|section| section.starts_with("Schedules\n"));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_suffix("` |"));
    let named: Vec<_> = rows.filter_map(|row| row.rsplit('`').next()).collect();
    assert!(named.len() > 15, "no table of schedules in {}: {named:?}", document.path);
    let mut known = BTreeSet::new();
    for file in tree::rust_files().iter().filter(|file| file.is_test()) {
        known.extend(rust::functions(&rust::code(&file.text)).into_iter().map(|function| function.name));
    }
    let missing = named.into_iter().filter(|name| !known.contains(*name)).map(str::to_owned);
    check("Name the test that keeps it, in tests/README.md.", &missing.collect::<Vec<_>>());
}
