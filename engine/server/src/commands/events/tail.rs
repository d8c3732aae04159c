use foldstream_model::ports::{EventStore, Offset};
use tokio::signal::ctrl_c;

use super::show;
use crate::{
    cli::TailEvents,
    commands::Context,
    exit::{Exit, Outcome},
};

const PAGE: usize = 1_000;

pub async fn execute(arguments: TailEvents, context: &mut Context) -> Outcome {
    let events = context.store_to_read()?.events();
    let last = events.last_offset().await?;
    let mut after = Offset(last.0.saturating_sub(arguments.limit));
    loop {
        let page = events.read_all(after, PAGE).await?;
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
                waited = events.wait_beyond(after) => waited?,
            }
        }
    }
}
