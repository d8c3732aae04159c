//! A worker of the Kinesis Client Library, a program in Java: compiled when it is first needed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

/// Lines that wait to be read; it says no more before that.
const LINES: usize = 10_000;

/// A worker that runs until this is dropped. What it says are lines of JSON, which its source describes.
pub struct KclWorker {
    process: Child,
    said: mpsc::Receiver<String>,
}

impl KclWorker {
    /// `options` are those of the program, such as `--application NAME`.
    pub fn start(options: &[&str]) -> Self {
        let installed = installed();
        let (classes, libraries) = (installed.join("target/classes"), installed.join("lib/*"));
        let mut java = Command::new("java");
        // It starts in half the time where its code is not optimized.
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        java.arg("-cp").arg(format!("{}:{}", classes.display(), libraries.display())).arg("KclWorker");
        java.args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = java.spawn().unwrap_or_else(|error| panic!("{java:?}: {error}"));
        let output = process.stdout.take().expect("the output is piped");
        let (say, said) = mpsc::sync_channel(LINES);
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // Whoever has started it may be gone.
            lines.map(|line| say.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        Self { process, said }
    }

    /// Of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it says; none if it says nothing for so long, or has ended.
    pub fn line(&self, patience: Duration) -> Option<String> {
        self.said.recv_timeout(patience).ok()
    }

    /// Has it stop as KCL does when it may; what it says until it has ended can still be read.
    pub fn stop(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Ends it where it stands.
    pub fn kill(&mut self) {
        // One that has ended already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for KclWorker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = here.join("../../target/servers/kcl");
        let installed = Command::new(here.join("kcl/install")).arg(&folder).status();
        let installed = installed.unwrap_or_else(|error| panic!("kcl/install: {error}"));
        assert!(installed.success(), "the KCL worker can be compiled: {installed}");
        folder
    })
}
