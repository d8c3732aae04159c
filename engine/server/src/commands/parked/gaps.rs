//! Events that wait for a missing one of their stream.

use std::collections::BTreeMap;

use foldstream_model::SourceName;
use foldstream_runtime::{
    control::Controls,
    deciding::{Decider, OpenGap, open_gaps},
};
use serde_json::json;

use super::configured;
use crate::{
    cli::{DiscardParked, ParkedFilter},
    commands::{
        Context,
        projections::{actor, done, may_go_on},
    },
    exit::{Exit, Failure, Outcome},
    output::{Column, Table, count, printable, seconds},
    status::{GAP, missing, missing_for_programs, sequences},
    stores::Stores,
};

/// What is missing in these sources, of the streams that were asked for.
pub async fn found(
    sources: &[SourceName],
    filter: &ParkedFilter,
    store: &Stores,
    context: &Context,
) -> Outcome<Vec<(SourceName, OpenGap)>> {
    let is_meant = filter.error.as_ref().is_none_or(|text| GAP.contains(text.as_str()));
    if filter.document.is_some() || !is_meant {
        return Ok(Vec::new());
    }
    let Some(config) = context.config_if_any() else { return Ok(Vec::new()) };
    let mut found = missing(&config, store).await?;
    found.retain(|(source, OpenGap { gap, .. })| {
        sources.contains(source)
            && filter.stream.as_deref().is_none_or(|stream| stream == gap.stream.as_str())
            && filter.since.is_none_or(|since| gap.since >= since)
            && filter.until.is_none_or(|until| gap.since < until)
    });
    Ok(found)
}

pub fn show(found: &[(SourceName, OpenGap)], context: &mut Context) -> Outcome<()> {
    let mut table = Table::new([
        Column::Name("SOURCE"),
        Column::Text("STREAM"),
        Column::Number("EVENTS"),
        Column::Name("SINCE"),
        Column::Text("REASON"),
    ]);
    for found in found {
        if context.output.is_json() {
            context.output.object(&missing_for_programs(found))?;
            continue;
        }
        let (source, open) = found;
        let gap = &open.gap;
        table.row([
            source.to_string(),
            printable(gap.stream.as_str()),
            count(gap.waiting as u64),
            seconds(gap.since),
            format!("{GAP}: waits for {}", sequences(open)),
        ]);
    }
    if !found.is_empty() && !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

/// How many streams have one, and how many events wait.
pub fn show_count(found: &[(SourceName, OpenGap)], context: &mut Context) -> Outcome<()> {
    let mut counts: BTreeMap<&SourceName, (u64, u64)> = BTreeMap::new();
    for (source, OpenGap { gap, .. }) in found {
        let counted = counts.entry(source).or_default();
        *counted = (counted.0 + 1, counted.1 + gap.waiting as u64);
    }
    let mut table = Table::new([
        Column::Name("SOURCE"),
        Column::Number("STREAMS"),
        Column::Number("EVENTS"),
        Column::Text("REASON"),
    ]);
    for (source, (streams, events)) in counts {
        if context.output.is_json() {
            let object = json!({"source": source, "streams": streams, "events": events, "error": GAP});
            context.output.object(&object)?;
            continue;
        }
        table.row([source.to_string(), count(streams), count(events), GAP.to_owned()]);
    }
    if !found.is_empty() && !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

/// Gives up the first gap of a stream.
pub async fn give_up(arguments: &DiscardParked, stream: &str, context: &mut Context) -> Outcome {
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let (source, _, _, services) = configured(&projection, &store, context).await?;
    let (rows, name) = (store.rows(), source.name.clone());
    let open = open_gaps(&rows, &name, source.first, &|key| source.source.hash_key(key)).await?;
    let Some(open) = open.into_iter().find(|open| open.gap.stream.as_str() == stream) else {
        return Err(Failure::failed(format!(
            "no event of {stream} waits for a missing one in source {name}"
        )));
    };
    let missing = sequences(&open);
    let plan = format!(
        "give up what is missing of {stream}, {missing}, for all projections of source {name}: they will never have it"
    );
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    let shard = Decider::new(source, services).give_up(&open).await?;
    let actor = actor(&arguments.permission.audited, context);
    let details =
        BTreeMap::from([("missing".to_owned(), missing.clone()), ("shard".to_owned(), shard.to_string())]);
    Controls::new(rows).audit(&actor, "give up", &format!("{name}/{stream}"), details).await?;
    let text = format!(
        "{missing} of {stream} are given up: what waits for them goes on without them where source {name} is read"
    );
    let object = json!({"source": name, "stream_id": stream, "missing": {"from": open.gap.first_missing, "to": open.gap.last_missing}});
    done(&text, &object, context)?;
    Ok(Exit::Done)
}
