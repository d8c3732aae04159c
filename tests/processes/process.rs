//! One `foldstream run`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use crate::said::Said;

pub struct Process {
    child: Child,
    log: PathBuf,
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
