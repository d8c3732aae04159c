//! Which crate may know which.

use crate::{
    check,
    manifest::{self, Manifest},
    rust, tree,
};

/// The crates of the workspace, and those of it that each may depend on.
const DIRECTIONS: [(&str, &[&str]); 10] = [
    ("foldstream-model", &[]),
    ("foldstream-runtime", &["foldstream-model"]),
    ("foldstream-config", &["foldstream-model"]),
    ("foldstream-declarative", &["foldstream-model", "foldstream-config"]),
    ("foldstream-local", &["foldstream-model", "foldstream-config"]),
    ("foldstream-aws", &["foldstream-model"]),
    ("foldstream-test-servers", &[]),
    (
        "foldstream",
        &[
            "foldstream-model",
            "foldstream-runtime",
            "foldstream-config",
            "foldstream-declarative",
            "foldstream-local",
            "foldstream-aws",
        ],
    ),
    (
        "foldstream-tests",
        &[
            "foldstream-model",
            "foldstream-runtime",
            "foldstream-config",
            "foldstream-declarative",
            "foldstream-local",
            "foldstream-aws",
            "foldstream",
        ],
    ),
    ("foldstream-models", &["foldstream-model", "foldstream-runtime"]),
];

/// What is kept out of all folders but these: vendors, and what is heavy to build. Tests may look at things by a
/// vendor's own means.
const HOMES: [(&str, &[&str]); 22] = [
    ("stateright", &["tests/models"]),
    ("rusqlite", &["connectors/local"]),
    ("md-5", &["connectors/local", "connectors/aws"]),
    ("aws-config", &["connectors/aws"]),
    ("aws-sdk-dynamodb", &["connectors/aws"]),
    ("aws-sdk-kinesis", &["connectors/aws"]),
    ("prost", &["connectors/aws"]),
    ("cel", &["projectors/declarative"]),
    ("flate2", &["projectors/declarative", "connectors/aws"]),
    ("saphyr-parser", &["config"]),
    ("schemars", &["config"]),
    ("anyhow", &["engine/server"]),
    ("axum", &["engine/server"]),
    ("clap", &["engine/server"]),
    ("clap_complete", &["engine/server"]),
    ("indicatif", &["engine/server"]),
    ("metrics-exporter-prometheus", &["engine/server"]),
    ("tracing-subscriber", &["engine/server"]),
    ("metrics", &["engine/runtime", "engine/server"]),
    ("tokio-util", &["engine/runtime", "engine/server"]),
    ("futures", &["engine/runtime", "engine/server", "connectors/local", "connectors/aws"]),
    ("tokio", &["engine/runtime", "engine/server", "connectors/local", "connectors/aws"]),
];

/// Vendors that the words and the line have never heard of.
const VENDORS: [&str; 7] = ["kinesis", "dynamo", "opensearch", "sqlite", "kafka", "aws", "parquet"];

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for Manifest { name, normal, dev, file, .. } in manifest::manifests() {
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{}: `{name}` has no place among the crates", file.path));
            continue;
        };
        let is_own = |dependency: &&String| dependency.starts_with("foldstream");
        for dependency in normal.keys().filter(is_own).filter(|own| !allowed.contains(&own.as_str())) {
            wrong.push(format!("{}: `{name}` depends on `{dependency}`", file.path));
        }
        let fine = |own: &&String| {
            allowed.contains(&own.as_str())
                || **own == name
                || name == "foldstream" && *own == "foldstream-tests"
                || *own == "foldstream-test-servers"
        };
        for dependency in dev.keys().filter(is_own).filter(|own| !fine(own)) {
            wrong.push(format!("{}: the tests of `{name}` depend on `{dependency}`", file.path));
        }
    }
    check(
        "What needs more than one crate is tested in `tests`; what both need is a word of the model.",
        &wrong,
    );
}

#[test]
fn vendors_and_heavy_crates_stay_in_their_folders() {
    let mut wrong = Vec::new();
    for Manifest { folder, normal, file, .. } in manifest::manifests() {
        for (dependency, homes) in HOMES {
            if normal.contains_key(dependency) && folder != "tests" && !homes.contains(&folder.as_str()) {
                wrong.push(format!("{}: `{dependency}` belongs to {}", file.path, homes.join(" and ")));
            }
        }
    }
    check("A crate of its own, or a port, keeps it out of everything else.", &wrong);
}

#[test]
fn the_runtime_knows_no_vendor() {
    let mut wrong = Vec::new();
    let files = tree::rust_files().into_iter().filter(|file| !file.is_test());
    for file in files.filter(|file| file.path.starts_with("engine/runtime/")) {
        let code = rust::code(&file.text).to_lowercase();
        for vendor in VENDORS {
            let found = code.find(vendor).map(|at| file.line(at));
            wrong.extend(found.map(|line| format!("{}:{line}: {vendor}", file.path)));
        }
    }
    check("Vendor types and names stop at the connector's folder.", &wrong);
}

#[test]
fn every_dependency_is_declared_once_and_used() {
    let mut wrong = Vec::new();
    let mut unused = manifest::workspace_dependencies();
    for Manifest { name, normal, dev, file, folder } in manifest::manifests() {
        let code = sources(&folder);
        for (dependency, line) in normal.iter().chain(&dev) {
            unused.remove(dependency);
            if !line.contains("workspace = true") {
                wrong.push(format!("{}: `{dependency}` has a version of its own", file.path));
            }
            if rust::words(&code, &module_of(dependency)).next().is_none() {
                wrong.push(format!("{}: nothing in `{name}` uses `{dependency}`", file.path));
            }
        }
        if !file.text.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{}: the workspace's lints are not taken", file.path));
        }
    }
    let unused = unused.into_keys().filter(|name| !name.starts_with("foldstream"));
    wrong.extend(unused.map(|name| format!("Cargo.toml: no crate uses `{name}`")));
    check("Versions stand in the workspace's manifest; what is not used is not built.", &wrong);
}

/// The tests that start the binary stand beside all others.
const OF_THE_BINARY: [&str; 2] = ["tests/processes/", "tests/end-to-end/"];

/// All code of one crate, its tests included.
fn sources(folder: &str) -> String {
    let prefix = format!("{folder}/");
    let is_of = |path: &str| {
        let of_the_binary = OF_THE_BINARY.iter().any(|tests| path.starts_with(tests));
        path.starts_with(&prefix) || folder == "engine/server" && of_the_binary
    };
    let files = tree::rust_files().into_iter().filter(|file| is_of(&file.path));
    files.map(|file| rust::code(&file.text)).collect::<Vec<_>>().join("\n")
}

fn module_of(dependency: &str) -> String {
    match dependency {
        "md-5" => "md5".to_owned(),
        _ => dependency.replace('-', "_"),
    }
}
