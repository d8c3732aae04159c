use std::collections::BTreeMap;

use foldstream_runtime::{control::Controls, redriving::Pace};
use serde_json::json;

use super::{gaps, lot, records, redrive::what, redriver, selected, sources, streams};
use crate::{
    cli::{DiscardParked, ParkedFilter},
    commands::{
        Context,
        projections::{actor, done, may_go_on},
    },
    exit::{Exit, Failure, Outcome},
    output::plural,
};

pub async fn execute(arguments: &DiscardParked, context: &mut Context) -> Outcome {
    let ParkedFilter { document, stream, error, since, until } = &arguments.filter;
    let is_narrowed =
        document.is_some() || stream.is_some() || error.is_some() || since.is_some() || until.is_some();
    if !is_narrowed && !arguments.all && arguments.gap.is_none() {
        let help = "say which: --document, --stream, --error, --since, --until, --gap, or --all of them";
        return Err(Failure::invalid(help));
    }
    let audited = &arguments.permission.audited;
    if audited.reason.is_none() && !audited.dry_run {
        return Err(Failure::invalid("say why with --reason: it is kept with each event that is left out"));
    }
    if let Some(stream) = &arguments.gap {
        return gaps::give_up(arguments, stream, context).await;
    }
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let (lot, parking) = (lot(&projection, &store).await?, store.parking());
    let documents = selected::documents(&*parking, &lot, &arguments.filter).await?;
    let streams = streams::found(&projection, &store, &arguments.filter).await?;
    let records = records::found(&sources(Some(&projection), context), &arguments.filter, &store).await?;
    let selected: u64 = documents.values().map(|document| document.selected).sum();
    let of = what(documents.len(), streams.len());
    let in_streams: u64 = streams.iter().map(|stream| stream.selected.len() as u64).sum();
    let mut plan = format!("discard {} of {of} of {projection}", plural(selected + in_streams, "event"));
    if !records.is_empty() {
        plan = format!("{plan} and {} of its source", plural(records.len() as u64, "record"));
    }
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    let redriver = redriver(&projection, Pace::default(), &store, context).await?;
    let actor = actor(audited, context);
    let (mut discarded, mut gone) = (0, 0);
    for document in documents.keys() {
        let events = selected::events(&*parking, &lot, document, &arguments.filter).await?;
        let ended = redriver.discard(document, &events, &actor).await?;
        gone += ended.gone;
        discarded += ended.discarded;
    }
    let details = BTreeMap::from([
        ("documents".to_owned(), documents.len().to_string()),
        ("events".to_owned(), discarded.to_string()),
        ("streams".to_owned(), streams.len().to_string()),
        ("events of streams".to_owned(), in_streams.to_string()),
        ("records".to_owned(), records.len().to_string()),
    ]);
    Controls::new(store.rows()).audit(&actor, "discard", &projection, details).await?;
    records::discard(&records, &projection, &actor, &store, context).await?;
    streams::let_back(&streams, &projection, Some(&actor), Pace::default(), &store, context).await?;
    if documents.is_empty() && !(streams.is_empty() && records.is_empty()) {
        return Ok(Exit::Done);
    }
    let of = plural(documents.len() as u64, "document");
    let behind = match discarded.saturating_sub(gone) {
        0 => String::new(),
        behind => format!("; {} of them when those before them are redriven", plural(behind, "event")),
    };
    let redriven = match selected.saturating_sub(discarded) {
        0 => String::new(),
        redriven => format!("; {} had been redriven already", plural(redriven, "event")),
    };
    let text = format!("discarded {} of {of} of {projection}{behind}{redriven}", plural(discarded, "event"));
    let object = json!({"projection": projection.row_name(), "discarded": discarded, "gone": gone});
    done(&text, &object, context)?;
    Ok(Exit::Done)
}
