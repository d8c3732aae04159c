use std::io;

use foldstream_model::{Error, Result};
use foldstream_runtime::tasks::Tasks;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit codes of a process that a signal ended, as shells count them.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// The first Ctrl-C or SIGTERM asks to stop, which settles what was read and saves how far it is. The second ends the
/// process at once: what is not saved is repeated by the next run, and does no harm there.
pub fn stop_on_signals(stop: CancellationToken, tasks: &mut Tasks) -> Result<()> {
    let refuse = |error: io::Error| Error::internal(format!("signals cannot be waited for: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refuse)?;
    tasks.start("signals", async move {
        first_of(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping; a second signal stops at once");
        stop.cancel();
        let code = first_of(&mut interrupt, &mut terminate).await;
        std::process::exit(code)
    });
    Ok(())
}

async fn first_of(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        biased;
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    }
}
