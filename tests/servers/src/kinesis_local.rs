//! A server that is written for Node.js: a package, installed when it is first needed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Server, asked::answers};

/// It listens when it is asked first.
const TRIES: usize = 100;

/// What takes time on AWS takes none here, but for the least that it knows.
const DURATIONS: [&str; 6] = [
    "CREATE_STREAM_DURATION",
    "SPLIT_SHARD_DURATION",
    "MERGE_SHARDS_DURATION",
    "UPDATE_SHARD_COUNT_DURATION",
    "REGISTER_STREAM_CONSUMER_DURATION",
    "DEREGISTER_STREAM_CONSUMER_DURATION",
];

pub(crate) fn start() -> Server {
    let mut node = Command::new("node");
    node.arg("--require").arg(own().join("loopback.cjs")).arg("main.js").current_dir(package());
    node.env("LOG_LEVEL", "ERROR").env("SHARD_LIMIT", "1000");
    node.envs(DURATIONS.map(|name| (name, "1ms")));
    let server = Server::start(&mut node);
    let mut tries = 0..TRIES;
    let is_ready =
        tries.any(|_| answers(server.port, "kinesis", "Kinesis_20131202.ListStreams").unwrap_or(false));
    assert!(is_ready, "kinesis-local does not answer on port {}", server.port);
    server
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kinesis-local")
}

fn package() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/kinesis-local");
        let installed = Command::new(own().join("install")).arg(&folder).status();
        let installed = installed.unwrap_or_else(|error| panic!("kinesis-local/install: {error}"));
        assert!(installed.success(), "kinesis-local can be installed: {installed}");
        folder.join("node_modules/kinesis-local")
    })
}
