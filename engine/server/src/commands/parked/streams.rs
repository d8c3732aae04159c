//! Parked streams: which are meant, and how they are let back.

use std::collections::BTreeSet;

use foldstream_model::{DocumentKey, LeftOut, Lot, ParkedStream, ProjectionId, Sequence};
use foldstream_runtime::{control::Actor, deciding::Decider, redriving::Pace};
use serde_json::json;

use super::{configured, selected};
use crate::{
    cli::ParkedFilter,
    commands::Context,
    exit::Outcome,
    output::{Column, Table, count, plural, printable, seconds},
    stores::Stores,
};

/// A stream that is parked now.
pub struct Found {
    pub parked: ParkedStream,
    /// All that waits.
    pub events: u64,
    /// Those of them that were asked for.
    pub selected: BTreeSet<Sequence>,
}

/// The streams that have an event that was asked for. Of a document there is none.
pub async fn found(projection: &ProjectionId, store: &Stores, filter: &ParkedFilter) -> Outcome<Vec<Found>> {
    if filter.document.is_some() {
        return Ok(Vec::new());
    }
    let (lot, parking) = (lot(projection, store).await?, store.parking());
    let mut found = Vec::new();
    for parked in store.rows().parked_streams(&lot).await? {
        let is_asked_for = filter.stream.as_deref().is_none_or(|stream| stream == parked.stream.as_str());
        if parked.until.is_some() || !is_asked_for {
            continue;
        }
        let document = DocumentKey::new(parked.stream.as_str());
        // What came back before may not have left the lot yet.
        let of_it = |filter| selected::events(&*parking, &lot, &document, filter);
        let mut sequences = [BTreeSet::new(), BTreeSet::new()];
        for (sequences, filter) in sequences.iter_mut().zip([&ParkedFilter::default(), filter]) {
            for event in of_it(filter).await?.iter().filter(|event| event.order >= parked.since) {
                sequences.insert(selected::event_of(event)?.sequence);
            }
        }
        let [all, selected] = sequences;
        // Behind a fork nothing may wait yet.
        let in_time = filter.since.is_none_or(|since| parked.parked_at >= since)
            && filter.until.is_none_or(|until| parked.parked_at < until);
        let is_meant = filter.error.as_ref().is_none_or(|text| parked.error.contains(text.as_str()));
        if !selected.is_empty() || (all.is_empty() && is_meant && in_time) {
            found.push(Found { parked, events: all.len() as u64, selected });
        }
    }
    Ok(found)
}

/// Lets streams come back, without the events that were asked for if there is a reason to leave them out.
pub async fn let_back(
    found: &[Found],
    projection: &ProjectionId,
    without: Option<&Actor>,
    pace: Pace,
    store: &Stores,
    context: &mut Context,
) -> Outcome<()> {
    if found.is_empty() {
        return Ok(());
    }
    let (source, _, lot, services) = configured(projection, store, context).await?;
    let decider = Decider::new(source, services);
    for (number, stream) in (1..).zip(found) {
        let without = without.map(|actor| LeftOut {
            sequences: stream.selected.clone(),
            who: actor.who.clone(),
            reason: actor.reason.clone(),
            at: actor.at,
        });
        let shard = decider.let_back(&lot, &stream.parked, without).await?;
        if context.output.is_json() {
            let (id, events) = (&stream.parked.stream, stream.events);
            context.output.object(&json!({"stream_id": id, "events": events, "shard": shard}))?;
        }
        // It comes back as a whole; the next one when that has had its time.
        if number < found.len() {
            pace.behind(stream.events).await;
        }
    }
    if !context.output.is_json() {
        let events = plural(found.iter().map(|stream| stream.events).sum(), "event");
        let streams = plural(found.len() as u64, "stream");
        context.output.line(format!(
            "{streams} of {projection} with {events} may come back: whoever runs {projection} takes them now, up to the next that cannot be taken; `foldstream parked list` shows what is left"
        ))?;
    }
    Ok(())
}

pub fn show(found: &[(ProjectionId, Vec<Found>)], context: &mut Context) -> Outcome<()> {
    let mut table = Table::new([
        Column::Name("PROJECTION"),
        Column::Text("STREAM"),
        Column::Number("EVENTS"),
        Column::Name("SINCE"),
        Column::Text("FIRST"),
        Column::Text("REASON"),
    ]);
    let streams = found.iter().flat_map(|(projection, found)| found.iter().map(move |one| (projection, one)));
    let mut is_empty = true;
    for (projection, Found { parked, events, .. }) in streams {
        is_empty = false;
        if context.output.is_json() {
            context.output.object(&json!({
                "projection": projection.row_name(),
                "stream_id": parked.stream,
                "events": events,
                "since": parked.parked_at,
                "sequence": parked.sequence,
                "type": parked.event_type,
                "error": parked.error,
            }))?;
            continue;
        }
        table.row([
            projection.row_name(),
            printable(parked.stream.as_str()),
            count(*events),
            seconds(parked.parked_at),
            printable(&format!("#{} {}", parked.sequence, parked.event_type)),
            printable(&parked.error),
        ]);
    }
    if !is_empty && !context.output.is_json() {
        context.output.table(&table)?;
    }
    Ok(())
}

/// The lot in which the events of a projection's parked streams wait.
pub async fn lot(projection: &ProjectionId, store: &Stores) -> Outcome<Lot> {
    let documents = super::lot(projection, store).await?;
    Ok(Lot::of_streams(projection, documents.epoch))
}
