//! The life of a process: read the command line, do what it says, exit with what came of it.

use std::process::ExitCode;

use foldstream::{
    cli::Cli,
    commands::{self, Context},
    exit::{Exit, Failure},
    logging,
    output::say,
};

/// The line makes and drops many small values; this allocator gave it a third more events a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(failure) => return end(Err(failure)),
    };
    logging::start(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::failed(format!("cannot start threads: {error}")))),
    };
    let mut context = Context::new(cli.global);
    let outcome = runtime.block_on(commands::execute(cli.command, &mut context));
    let flushed = context.output.flush().map_err(Failure::from);
    end(outcome.and_then(|exit| flushed.map(|()| exit)))
}

fn end(outcome: Result<Exit, Failure>) -> ExitCode {
    let exit = match outcome {
        Ok(exit) => exit,
        Err(Failure::PipeClosed) => Exit::Done,
        Err(Failure::Because(exit, message)) => {
            say(format!("foldstream: {message}"));
            exit
        }
    };
    ExitCode::from(exit as u8)
}
