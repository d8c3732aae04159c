use foldstream_model::DocumentKey;
use foldstream_runtime::rows::{self, Discard, DiscardRow};
use serde_json::{json, value::RawValue};

use super::{lot, records, selected, sources, streams};
use crate::{
    cli::{ByProjection, ParkedFilter},
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::{printable, seconds},
};

pub async fn execute(
    wanted: &ByProjection,
    document: Option<&str>,
    stream: Option<&str>,
    context: &mut Context,
) -> Outcome {
    let store = context.stores_to_read().await?;
    let projection = context.projection(wanted, &store).await?;
    let (lot, key) = match stream {
        Some(stream) => (streams::lot(&projection, &store).await?, stream),
        None => (lot(&projection, &store).await?, document.unwrap_or_default()),
    };
    let events =
        selected::events(&*store.parking(), &lot, &DocumentKey::new(key), &ParkedFilter::default()).await?;
    let of_key = ParkedFilter { stream: stream.map(str::to_owned), ..ParkedFilter::default() };
    let records = match stream {
        Some(_) => records::found(&sources(Some(&projection), context), &of_key, &store).await?,
        None => records::Found::new(),
    };
    if events.is_empty() && records.is_empty() {
        return Err(Failure::failed(format!("nothing of {projection} {key} is parked")));
    }
    records::describe(&records, &store, context).await?;
    let rows = store.rows();
    for parked in &events {
        let event = selected::event_of(parked)?;
        let discard =
            rows.get::<DiscardRow>(&rows::discard_key(&lot, &parked.document, &parked.order)).await?;
        let discard = discard.map(|row| row.body).filter(|row| row.discard != Discard::TooLate);
        if context.output.is_json() {
            let raw = RawValue::from_string(parked.event.clone()).ok();
            context.output.object(&json!({
                "event": raw,
                "before": parked.before,
                "state": parked.state,
                "error": parked.error,
                "parked_at": parked.parked_at,
                "discarded": discard.as_ref().map(|row| json!({"who": row.who, "reason": row.reason, "at": row.at})),
            }))?;
            continue;
        }
        let head = format!("{} #{} {}", event.stream_id, event.sequence, event.event_type);
        context.output.line(printable(&head))?;
        context.output.line(format!("  parked    {}", seconds(parked.parked_at)))?;
        let reason = parked.error.as_deref().unwrap_or("stands behind another");
        context.output.line(format!("  reason    {}", printable(reason)))?;
        context.output.line(format!("  event     {}", printable(&parked.event)))?;
        if let Some(discard) = discard {
            let why = discard.reason.unwrap_or_default();
            let said = format!("by {} at {}: {why}", discard.who, seconds(discard.at));
            context.output.line(format!("  discarded {}", printable(&said)))?;
        }
    }
    Ok(Exit::Done)
}
