//! A server that is written in Python: a package, installed when it is first needed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Server, asked::answers};

/// It loads some seconds between its port and its first answer, in which connections wait.
const TRIES: usize = 100;

pub(crate) fn start() -> Server {
    let mut python = Command::new(installed().join("venv/bin/python3"));
    python.arg(own().join("serve.py"));
    let server = Server::start(&mut python);
    let mut tries = 0..TRIES;
    let is_ready =
        tries.any(|_| answers(server.port, "dynamodb", "DynamoDB_20120810.ListTables").unwrap_or(false));
    assert!(is_ready, "ministack does not answer on port {}", server.port);
    server
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ministack")
}

fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/ministack");
        let installed = Command::new(own().join("install")).arg(&folder).status();
        let installed = installed.unwrap_or_else(|error| panic!("ministack/install: {error}"));
        assert!(installed.success(), "ministack can be installed: {installed}");
        folder
    })
}
