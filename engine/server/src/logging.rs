//! What the process says on standard error beside its messages.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    cli::{Cli, Command},
    output::Format,
};

/// Which lines are shown is decided by `FOLDSTREAM_LOG` (`debug`, `foldstream_runtime=trace,warn`), else by `-q` and
/// `-v`. With `-o json` they are JSON too.
pub fn start(cli: &Cli) {
    let filter =
        EnvFilter::builder().with_env_var("FOLDSTREAM_LOG").with_default_directive(level(cli).into());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(|| StandardError)
        .with_ansi(io::stderr().is_terminal());
    match cli.global.output {
        Format::Text => lines.with_target(false).init(),
        Format::Json => lines.json().init(),
    }
}

/// What runs for long tells what it does; what answers a question does not talk beside its answer.
fn level(cli: &Cli) -> LevelFilter {
    let usual = match cli.command {
        Command::Run(_) | Command::Relay(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    match (cli.global.quiet, cli.global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => usual,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

/// Standard error whose reader may be gone: nothing ends because nobody listens any more.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(io::stderr().write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
