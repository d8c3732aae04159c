//! The manifests of the workspace's crates.

use std::collections::BTreeMap;

use crate::tree::{self, File};

/// A crate.
pub struct Manifest {
    pub file: File,
    pub name: String,
    pub folder: String,
    /// Each dependency's line, by its name.
    pub normal: BTreeMap<String, String>,
    /// Those of tests.
    pub dev: BTreeMap<String, String>,
}

/// A workspace of its own, for servers that tests talk to.
const OF_ITS_OWN: &str = "tests/servers/embedded/Cargo.toml";

/// All of them, sorted by folder.
pub fn manifests() -> Vec<Manifest> {
    let found = tree::files(&["Cargo.toml"]);
    let others = ["Cargo.toml", OF_ITS_OWN];
    found.into_iter().filter(|file| !others.contains(&file.path.as_str())).map(read).collect()
}

/// What the workspace lets its crates depend on.
pub fn workspace_dependencies() -> BTreeMap<String, String> {
    section(&tree::file("Cargo.toml").text, "[workspace.dependencies]")
}

fn read(file: File) -> Manifest {
    let package = section(&file.text, "[package]");
    let name = package.get("name").and_then(|line| line.split('"').nth(1)).unwrap_or_default().to_owned();
    let folder = file.path.trim_end_matches("/Cargo.toml").to_owned();
    let normal = section(&file.text, "[dependencies]");
    let dev = section(&file.text, "[dev-dependencies]");
    Manifest { file, name, folder, normal, dev }
}

/// The lines of a section by their first word. Dependencies for some targets or builds only are not used here.
fn section(text: &str, header: &str) -> BTreeMap<String, String> {
    let lines = text.lines().skip_while(|line| line.trim() != header).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let name = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), line.to_owned()))
        })
        .collect()
}

#[test]
fn sections_are_read_by_their_first_words() {
    let text = "[a]\nx = 1\n\n[b]\n# no\ny.workspace = true\nz-z = { path = \"..\" }\n[c]\nw = 2\n";
    assert_eq!(section(text, "[b]").into_keys().collect::<Vec<_>>(), ["y", "z-z"]);
}
