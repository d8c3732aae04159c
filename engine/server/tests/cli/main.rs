//! The binary as a user meets it: started with arguments in a folder of its own.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "other processes are waited for by the clock on the wall")]

mod command_line;
mod configuration;
mod events;
mod import;
mod parked;
mod projections;
mod run;
mod validate;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A folder to work in; the commands run in it and keep their data in it.
struct Folder(TempDir);

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_foldstream")), arguments)
    }

    fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.current_dir(self.path()).args(arguments);
        for variable in ["FOLDSTREAM_CONFIG", "FOLDSTREAM_DATA", "FOLDSTREAM_LOG", "FOLDSTREAM_LISTEN"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// With something on standard input.
    fn run_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        Self::finish(self.command(arguments), input)
    }

    /// By a user who may read the folder and everything in it, and write none of it.
    #[cfg(unix)]
    fn run_as_reader(&self, arguments: &[&str]) -> Ran {
        use std::os::unix::{
            fs::{MetadataExt, PermissionsExt},
            process::CommandExt,
        };
        const NOBODY: u32 = 65_534;
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let mut folders = vec![self.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => allow(&path, 0o444),
                }
            }
            allow(&folder, 0o555);
        }
        let is_root = fs::metadata(self.path()).unwrap().uid() == 0;
        if !is_root {
            return Self::finish(self.command(arguments), "");
        }
        // The superuser may write everywhere, and others may not reach the binary where it was built.
        let reachable = tempfile::tempdir().unwrap();
        let binary = reachable.path().join("foldstream");
        // By a process of its own: a command that another test begins meanwhile would have the copy open for writing, too.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_foldstream")).arg(&binary).status();
        assert!(copied.unwrap().success());
        allow(&binary, 0o555);
        allow(reachable.path(), 0o755);
        let mut command = self.command_of(&binary, arguments);
        command.uid(NOBODY).gid(NOBODY);
        Self::finish(command, "")
    }

    fn finish(mut command: Command, input: impl AsRef<[u8]>) -> Ran {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// Its standard output, if it ended well.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its standard error, if it ended with this code.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}
