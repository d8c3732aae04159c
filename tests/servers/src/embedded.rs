//! The servers that are written in Rust: one binary, built when it is first needed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::Server;

pub(crate) fn start(arguments: &[&str]) -> Server {
    Server::start(Command::new(binary()).args(arguments))
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
