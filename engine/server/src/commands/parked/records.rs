//! Records that could not be decoded, of whole sources.

use std::collections::BTreeMap;

use foldstream_model::{ErrorKind, ProjectionId, SourceName};
use foldstream_runtime::{
    control::Actor,
    deciding::Decider,
    redriving::Pace,
    rows::records::{Decided, Fate, RecordAside},
};
use serde_json::json;

use super::configured;
use crate::{
    cli::ParkedFilter,
    commands::Context,
    exit::Outcome,
    output::{Column, Table, count, plural, printable, seconds},
    stores::Stores,
};

/// Records that wait, each with its source.
pub type Found = Vec<(SourceName, RecordAside)>;

/// Those of these sources.
pub async fn found(sources: &[SourceName], filter: &ParkedFilter, store: &Stores) -> Outcome<Found> {
    let mut found = Found::new();
    for source in sources {
        found.extend(of_source(source, filter, store).await?);
    }
    Ok(found)
}

/// Of a document there is none, and the stream is named by the key that records are partitioned by.
async fn of_source(source: &SourceName, filter: &ParkedFilter, store: &Stores) -> Outcome<Found> {
    let mut records = store.rows().records_aside(source).await?;
    records.retain(|record| {
        let in_time = filter.since.is_none_or(|since| record.parked_at >= since)
            && filter.until.is_none_or(|until| record.parked_at < until);
        record.fate == Fate::Waits
            && filter.document.is_none()
            && filter.stream.as_ref().is_none_or(|stream| *stream == record.partition_key)
            && filter.error.as_ref().is_none_or(|text| record.error.contains(text.as_str()))
            && in_time
    });
    Ok(records.into_iter().map(|record| (source.clone(), record)).collect())
}

pub fn show(found: &Found, context: &mut Context) -> Outcome<()> {
    let mut table = Table::new([
        Column::Name("SOURCE"),
        Column::Text("RECORD OF"),
        Column::Text("POSITION"),
        Column::Name("SINCE"),
        Column::Text("REASON"),
    ]);
    for (source, record) in found {
        if context.output.is_json() {
            context.output.object(&object(source, record))?;
            continue;
        }
        table.row([
            source.to_string(),
            printable(&record.partition_key),
            record.position.to_string(),
            seconds(record.parked_at),
            printable(&record.error),
        ]);
    }
    if !found.is_empty() && !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

/// How many wait for each reason.
pub fn show_by_error(found: &Found, context: &mut Context) -> Outcome<()> {
    let mut counts: BTreeMap<(&SourceName, &str), u64> = BTreeMap::new();
    for (source, record) in found {
        *counts.entry((source, &*record.error)).or_default() += 1;
    }
    let mut table = Table::new([Column::Name("SOURCE"), Column::Number("RECORDS"), Column::Text("REASON")]);
    for ((source, error), records) in counts {
        if context.output.is_json() {
            context.output.object(&json!({"source": source, "records": records, "error": error}))?;
            continue;
        }
        table.row([source.to_string(), count(records), printable(error)]);
    }
    if !found.is_empty() && !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

fn object(source: &SourceName, record: &RecordAside) -> serde_json::Value {
    json!({
        "source": source,
        "partition_key": record.partition_key,
        "shard_number": record.shard,
        "position": record.position,
        "since": record.parked_at,
        "error": record.error,
    })
}

/// Each with its bytes, what is no text in them escaped.
pub async fn describe(found: &Found, store: &Stores, context: &mut Context) -> Outcome<()> {
    let rows = store.rows();
    for (source, record) in found {
        let bytes = rows.record_as_read(source, record).await?.data.escape_ascii().to_string();
        if context.output.is_json() {
            let mut shown = object(source, record);
            shown["bytes"] = json!(bytes);
            context.output.object(&shown)?;
            continue;
        }
        let head = format!("record of {} at position {}", record.partition_key, record.position);
        context.output.line(printable(&head))?;
        context.output.line(format!("  parked    {}", seconds(record.parked_at)))?;
        context.output.line(format!("  reason    {}", printable(&record.error)))?;
        context.output.line(format!("  bytes     {bytes}"))?;
    }
    Ok(())
}

/// Reads records anew, by the mapping that is configured now; how many of them still are no events.
pub async fn read_anew(
    found: &Found,
    projection: &ProjectionId,
    actor: &Actor,
    pace: Pace,
    store: &Stores,
    context: &mut Context,
) -> Outcome<u64> {
    if found.is_empty() {
        return Ok(0);
    }
    let decider = decider(projection, store, context).await?;
    let (mut came, mut refused) = (0, 0);
    for (source, record) in found {
        let mut shown = object(source, record);
        match decider.read_anew(record, decided(actor)).await {
            Ok(Some((shard, event))) => {
                came += 1;
                pace.behind(1).await;
                shown["came_as"] = json!({"stream_id": event.stream_id, "sequence": event.sequence, "type": event.event_type, "shard": shard});
            }
            Ok(None) => shown["came_as"] = serde_json::Value::Null,
            Err(error) if error.kind() == ErrorKind::Poison => {
                refused += 1;
                shown["refused"] = json!(error.message());
                if !context.output.is_json() {
                    let head = format!(
                        "the record of {} at position {} stays parked",
                        record.partition_key, record.position
                    );
                    context.output.line(printable(&head))?;
                    context.output.line(format!("  reason    {}", printable(error.message())))?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        if context.output.is_json() {
            context.output.object(&shown)?;
        }
    }
    if !context.output.is_json() {
        context.output.line(format!(
            "{} came back as events: whoever reads their source takes them now",
            plural(came, "record")
        ))?;
    }
    Ok(refused)
}

/// Leaves records out, for all projections of their source; how many.
pub async fn discard(
    found: &Found,
    projection: &ProjectionId,
    actor: &Actor,
    store: &Stores,
    context: &mut Context,
) -> Outcome<u64> {
    if found.is_empty() {
        return Ok(0);
    }
    let decider = decider(projection, store, context).await?;
    let mut discarded = 0;
    for (source, record) in found {
        discarded += u64::from(decider.discard_record(record, decided(actor)).await?);
        if context.output.is_json() {
            context.output.object(&object(source, record))?;
        }
    }
    if !context.output.is_json() {
        context.output.line(format!(
            "discarded {} for all projections of their source; what waits for an event that was in one goes on once that is filled from the event store, or given up with --gap",
            plural(discarded, "record")
        ))?;
    }
    Ok(discarded)
}

async fn decider(projection: &ProjectionId, store: &Stores, context: &Context) -> Outcome<Decider> {
    let (source, _, _, services) = configured(projection, store, context).await?;
    Ok(Decider::new(source, services))
}

fn decided(actor: &Actor) -> Decided {
    Decided { who: actor.who.clone(), reason: actor.reason.clone(), at: actor.at }
}
