use std::collections::BTreeMap;

use foldstream_model::DocumentKey;
use foldstream_runtime::{control::Controls, parking::Ended, redriving::Pace};
use serde_json::json;

use super::{lot, records, redriver, selected, sources, streams};
use crate::{
    cli::RedriveParked,
    commands::{
        Context,
        projections::{actor, only_says},
    },
    exit::{Exit, Outcome},
    output::{plural, printable},
};

pub async fn execute(arguments: &RedriveParked, context: &mut Context) -> Outcome {
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let lot = lot(&projection, &store).await?;
    let documents = selected::documents(&*store.parking(), &lot, &arguments.filter).await?;
    let streams = streams::found(&projection, &store, &arguments.filter).await?;
    let records = records::found(&sources(Some(&projection), context), &arguments.filter, &store).await?;
    let waiting: u64 = documents.values().map(|document| document.events).sum();
    let waiting = waiting + streams.iter().map(|stream| stream.events).sum::<u64>();
    let mut what = format!("{} of {}", plural(waiting, "event"), what(documents.len(), streams.len()));
    if !records.is_empty() {
        what = format!("{what} and {}", plural(records.len() as u64, "record"));
    }
    if only_says(&format!("redrive {what} of {projection}"), &arguments.audited, context)? {
        return Ok(Exit::Done);
    }
    let pace = Pace(arguments.rate);
    let redriver = redriver(&projection, pace, &store, context).await?;
    let (mut events, mut refused) = (0, 0);
    for document in documents.keys() {
        let ended = redriver.redrive(document).await?;
        events += ended.done;
        refused += u64::from(ended.refused.is_some() || ended.is_under_way);
        say(document, &ended, context)?;
    }
    let actor = actor(&arguments.audited, context);
    let details = BTreeMap::from([
        ("documents".to_owned(), documents.len().to_string()),
        ("events".to_owned(), events.to_string()),
        ("still parked".to_owned(), refused.to_string()),
        ("streams".to_owned(), streams.len().to_string()),
        ("records".to_owned(), records.len().to_string()),
    ]);
    Controls::new(store.rows()).audit(&actor, "redrive", &projection, details).await?;
    // What a record held may be what a stream waits for.
    let unread = records::read_anew(&records, &projection, &actor, pace, &store, context).await?;
    let nothing_else = streams.is_empty() && records.is_empty();
    if !context.output.is_json() && (!documents.is_empty() || nothing_else) {
        let documents = plural(documents.len() as u64 - refused, "document");
        context.output.line(format!(
            "redriven {}: {documents} of {projection} parked no more",
            plural(events, "event")
        ))?;
    }
    streams::let_back(&streams, &projection, None, pace, &store, context).await?;
    Ok(if refused + unread > 0 { Exit::Failed } else { Exit::Done })
}

/// `2 documents`, `1 stream`, or both.
pub fn what(documents: usize, streams: usize) -> String {
    let [documents_text, streams_text] =
        [plural(documents as u64, "document"), plural(streams as u64, "stream")];
    match (documents, streams) {
        (_, 0) => documents_text,
        (0, _) => streams_text,
        _ => format!("{documents_text} and {streams_text}"),
    }
}

fn say(document: &DocumentKey, ended: &Ended, context: &mut Context) -> Outcome<()> {
    let refused = ended.refused.as_ref();
    if context.output.is_json() {
        let refused = refused.map(|(origin, error)| {
            json!({"stream_id": origin.stream, "sequence": origin.sequence, "type": origin.event_type, "error": error.message()})
        });
        context.output.object(&json!({
            "document": document,
            "redriven": ended.done,
            "refused": refused,
            "under_way": ended.is_under_way,
        }))?;
    } else if let Some((origin, error)) = refused {
        let at = format!(
            "{document} stays parked at {} #{} {}",
            origin.stream, origin.sequence, origin.event_type
        );
        context.output.line(printable(&at))?;
        context.output.line(format!("  reason    {}", printable(error.message())))?;
    } else if ended.is_under_way {
        context.output.line(printable(&format!("{document} stays parked")))?;
        context.output.line(
            "  reason    a worker is just parking more of its events: redrive again when it has; \
             if that does not end, `foldstream status` tells why the projection does not go on",
        )?;
    }
    Ok(())
}
