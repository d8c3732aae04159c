use std::{io, time::Duration};

use foldstream_model::ports::EventStore;
use foldstream_runtime::retry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::ctrl_c;

use super::show;
use crate::{
    cli::TailEvents,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    stores::TableEvents,
};

const PAGE: usize = 1_000;
/// How often a table is asked, in each partition of its index.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody still reads.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub async fn execute(arguments: TailEvents, context: &mut Context) -> Outcome {
    match context.event_table(arguments.source.as_deref()).await? {
        Some(table) => of_table(&table, &arguments, context).await,
        None => embedded(&arguments, context).await,
    }
}

async fn embedded(arguments: &TailEvents, context: &mut Context) -> Outcome {
    let events = context.local_to_read()?.events();
    let last = events.last_offset().await?;
    let mut after = last.saturating_sub(arguments.limit);
    loop {
        let page = events.read_behind(after, PAGE).await?;
        for (offset, event) in &page {
            show::event(&mut context.output, event, true)?;
            after = *offset;
        }
        if page.is_empty() {
            context.output.flush()?;
            if !arguments.follow {
                return Ok(Exit::Done);
            }
            tokio::select! {
                biased;
                _ = ctrl_c() => return Ok(Exit::Done),
                () = output_closed() => return Err(Failure::PipeClosed),
                waited = events.wait_beyond(after) => waited?,
            }
        }
    }
}

async fn of_table(events: &TableEvents, arguments: &TailEvents, context: &mut Context) -> Outcome {
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    // The last one says where to go on, though it is not shown.
    let newest = events.newest(limit.max(1)).await?;
    let mut after = newest.last().map(|(offset, _)| offset.clone()).unwrap_or_default();
    for (_, event) in newest.iter().take(limit) {
        show::event(&mut context.output, event, true)?;
    }
    context.output.flush()?;
    if !arguments.follow {
        return Ok(Exit::Done);
    }
    loop {
        tokio::select! {
            biased;
            _ = ctrl_c() => return Ok(Exit::Done),
            () = output_closed() => return Err(Failure::PipeClosed),
            () = tokio::time::sleep(ASK_INTERVAL) => {}
        }
        let page = retry::until_done("reading all events", || events.read_all(&after, PAGE)).await?;
        for (offset, event) in page {
            show::event(&mut context.output, &event, true)?;
            after = offset;
        }
        context.output.flush()?;
    }
}

/// Returns when whoever reads standard output is gone. A pipe says so to who asks, and wakes nobody who waits.
async fn output_closed() {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    loop {
        interval.tick().await;
        let output = io::stdout();
        let mut asked = [PollFd::new(&output, PollFlags::empty())];
        let answered = poll(&mut asked, Some(&Timespec::default()));
        if answered.is_ok() && asked[0].revents().intersects(PollFlags::ERR) {
            return;
        }
    }
}
