use std::collections::BTreeMap;

use foldstream_model::{DocumentKey, ProjectionId};
use serde_json::json;

use super::{
    gaps, lot, records,
    selected::{self, ParkedDocument},
    sources,
    streams::{self, Found},
};
use crate::{
    cli::ListParked,
    commands::{Context, context::stored_projections},
    exit::{Exit, Outcome},
    output::{Column, Table, count, printable, seconds},
    stores::Stores,
};

type Documents = BTreeMap<DocumentKey, ParkedDocument>;

/// What stands in the place of a reason that is not known.
const UNKNOWN: &str = "-";

pub async fn execute(arguments: &ListParked, context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let parking = store.parking();
    let (mut found, mut streams) = (Vec::new(), Vec::new());
    let projections = projections(arguments, &store, context).await?;
    for projection in &projections {
        let lot = lot(projection, &store).await?;
        let documents = selected::documents(&*parking, &lot, &arguments.filter).await?;
        streams.push((projection.clone(), streams::found(projection, &store, &arguments.filter).await?));
        if !documents.is_empty() {
            found.push((projection.clone(), documents));
        }
    }
    streams.retain(|(_, streams)| !streams.is_empty());
    let sources = sources(arguments.projection.as_ref().and(projections.first()), context);
    let gaps = gaps::found(&sources, &arguments.filter, &store, context).await?;
    let records = records::found(&sources, &arguments.filter, &store).await?;
    let nothing = found.is_empty() && streams.is_empty() && gaps.is_empty() && records.is_empty();
    if nothing && !context.output.is_json() {
        context.output.line("nothing is parked")?;
    } else if arguments.by_error {
        if !(found.is_empty() && streams.is_empty()) {
            by_error(&found, &streams, context)?;
        }
        records::show_by_error(&records, context)?;
        gaps::show_count(&gaps, context)?;
    } else {
        if !found.is_empty() {
            by_document(&found, context)?;
        }
        streams::show(&streams, context)?;
        records::show(&records, context)?;
        gaps::show(&gaps, context)?;
    }
    Ok(Exit::Done)
}

async fn projections(
    arguments: &ListParked,
    store: &Stores,
    context: &Context,
) -> Outcome<Vec<ProjectionId>> {
    match &arguments.projection {
        Some(wanted) => Ok(vec![context.projection(wanted, store).await?]),
        None => stored_projections(store).await,
    }
}

fn by_document(found: &[(ProjectionId, Documents)], context: &mut Context) -> Outcome<()> {
    let mut table = Table::new([
        Column::Name("PROJECTION"),
        Column::Text("DOCUMENT"),
        Column::Number("EVENTS"),
        Column::Name("SINCE"),
        Column::Text("FIRST"),
        Column::Text("REASON"),
    ]);
    for (projection, documents) in found {
        for (key, parked) in documents {
            let first = &parked.first;
            if context.output.is_json() {
                context.output.object(&json!({
                    "projection": projection.row_name(),
                    "document": key,
                    "events": parked.events,
                    "since": parked.since,
                    "stream_id": first.stream_id,
                    "sequence": first.sequence,
                    "type": first.event_type,
                    "error": parked.error,
                }))?;
                continue;
            }
            table.row([
                projection.row_name(),
                printable(key.as_str()),
                count(parked.events),
                seconds(parked.since),
                printable(&format!("{} #{} {}", first.stream_id, first.sequence, first.event_type)),
                printable(parked.error.as_deref().unwrap_or(UNKNOWN)),
            ]);
        }
    }
    if !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

fn by_error(
    found: &[(ProjectionId, Documents)],
    streams: &[(ProjectionId, Vec<Found>)],
    context: &mut Context,
) -> Outcome<()> {
    let mut counts: BTreeMap<(String, Option<&str>), (u64, u64, u64)> = BTreeMap::new();
    for (projection, streams) in streams {
        for Found { parked, events, .. } in streams {
            let counted = counts.entry((projection.row_name(), Some(&*parked.error))).or_default();
            *counted = (counted.0, counted.1 + 1, counted.2 + events);
        }
    }
    for (projection, documents) in found {
        for parked in documents.values() {
            let counted = counts.entry((projection.row_name(), parked.error.as_deref())).or_default();
            *counted = (counted.0 + 1, counted.1, counted.2 + parked.events);
        }
    }
    let mut table = Table::new([
        Column::Name("PROJECTION"),
        Column::Number("DOCUMENTS"),
        Column::Number("STREAMS"),
        Column::Number("EVENTS"),
        Column::Text("REASON"),
    ]);
    for ((projection, error), (documents, streams, events)) in counts {
        match context.output.is_json() {
            true => context.output.object(&json!({
                "projection": projection, "documents": documents, "streams": streams, "events": events, "error": error,
            }))?,
            false => {
                let [documents, streams, events] = [documents, streams, events].map(count);
                table.row([projection, documents, streams, events, printable(error.unwrap_or(UNKNOWN))]);
            }
        }
    }
    if !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}
