use std::sync::Arc;

use foldstream_config::diagnostic::nearest;
use foldstream_local::LocalStore;
use foldstream_model::{Sequence, StreamId, ports::EventStore};

use super::show;
use crate::{
    cli::ReadStream,
    commands::Context,
    exit::{Exit, Failure, Outcome},
};

const PAGE: usize = 1_000;

pub async fn execute(arguments: ReadStream, context: &mut Context) -> Outcome {
    let stream = StreamId::new(arguments.stream.as_str());
    let (events, local): (Arc<dyn EventStore>, _) =
        match context.event_table(arguments.source.as_deref()).await? {
            Some(table) => (table, None),
            None => {
                let local = context.local_to_read()?;
                (local.events(), Some(local))
            }
        };
    let last = events.last_sequences(std::slice::from_ref(&stream)).await?;
    if last.iter().all(Option::is_none) {
        return Err(match local {
            Some(local) => unknown(&local, &stream).await?,
            None => Failure::failed(format!("there is no stream {stream} in the event table")),
        });
    }
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let mut from = Some(Sequence(arguments.from));
    while let Some(sequence) = from.filter(|_| left > 0) {
        let page = events.read_stream(&stream, sequence, PAGE.min(left)).await?;
        for event in &page {
            show::event(&mut context.output, event, false)?;
        }
        left -= page.len();
        from = page.last().and_then(|event| event.sequence.next());
    }
    Ok(Exit::Done)
}

/// Says that there is no such stream, and which one may have been meant.
async fn unknown(store: &LocalStore, stream: &StreamId) -> Outcome<Failure> {
    let streams = store.events().streams(None, PAGE).await?;
    let near = nearest(stream.as_str(), streams.iter().map(|summary| summary.stream.as_str()));
    let hint = match (near, streams.first()) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, Some(first)) => format!("the first of those that are there is {}", first.stream),
        (None, None) => "the store holds no events yet".to_owned(),
    };
    Ok(Failure::failed(format!("there is no stream {stream}; {hint}")))
}
