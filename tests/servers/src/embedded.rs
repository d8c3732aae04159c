//! The servers that are written in Rust: one binary, built when it is first needed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::Server;

pub(crate) fn start(arguments: &[&str]) -> Server {
    let mut process = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    let mut said = String::new();
    let output = process.stdout.take().expect("the output is piped");
    BufReader::new(output).read_line(&mut said).expect("the server says its port");
    let port = said.trim().parse().unwrap_or_else(|error| panic!("{arguments:?}: port={said:?} ({error})"));
    Server { process, port }
}

fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded");
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers");
        // Of the cargo that runs the tests nothing is taken over: flags of theirs would build everything anew.
        let built = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .unwrap_or_else(|error| panic!("cargo: {error}"));
        assert!(built.success(), "the servers for tests can be built: {built}");
        target.join("release/foldstream-embedded-servers")
    })
}
