//! One `foldstream run`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use jiff::Timestamp;
use serde_json::Value;

pub struct Process {
    child: Child,
    log: PathBuf,
}

/// A line of what a process said.
#[derive(Debug, Clone)]
pub struct Said {
    pub at: Timestamp,
    pub message: String,
    pub fields: Value,
}

impl Process {
    pub fn start(folder: &Path, log: PathBuf) -> Self {
        let mut command = command(folder, &["run", "-o", "json"]);
        command
            .env("FOLDSTREAM_LOG", "info,foldstream_runtime::line=debug,foldstream_runtime::leasing=debug");
        let said = File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It has come so far that it heeds SIGTERM.
    pub fn runs(&self) -> bool {
        self.said().iter().any(|said| said.message == "running")
    }

    pub fn said(&self) -> Vec<Said> {
        Said::all(&self.log)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.unwrap().success(), "{name} to process {}", self.id());
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Said {
    /// Whole lines only: the last one may be in the making.
    pub fn all(log: &Path) -> Vec<Self> {
        let text = fs::read_to_string(log).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said = lines.map(|line| Self {
            at: line["timestamp"].as_str().unwrap().parse().unwrap(),
            message: line["fields"]["message"].as_str().unwrap_or_default().to_owned(),
            fields: line["fields"].clone(),
        });
        said.collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary in a folder of its own, untouched by the settings of whoever runs the tests.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foldstream"));
    command.current_dir(folder).args(arguments);
    for variable in ["FOLDSTREAM_CONFIG", "FOLDSTREAM_DATA", "FOLDSTREAM_LOG", "FOLDSTREAM_LISTEN"] {
        command.env_remove(variable);
    }
    command
}
