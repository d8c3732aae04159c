use std::time::Duration;

use serde_json::json;

use super::list::{control, ordering};
use crate::{
    cli::ByProjection,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::{Column, Table, count, duration, seconds},
    status::{Facts, ProjectionStanding, WHAT_TO_DO, stop_in_words},
};

pub async fn execute(wanted: &ByProjection, context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let config = context.config_if_any();
    let projection = context.projection(wanted, &store).await?;
    let facts = Facts::gather(&store, config.as_ref(), context.clock.now()).await?;
    let Some(standing) =
        ProjectionStanding::all(&facts).into_iter().find(|known| known.projection == projection)
    else {
        return Err(Failure::failed(format!("there is no projection {projection}")));
    };
    let control = control(&facts, &projection);
    if context.output.is_json() {
        context.output.object(&json!({
            "standing": standing,
            "source": facts.configured.get(&projection),
            "ordering": control.map(|control| control.ordering),
            "fingerprint": control.map(|control| &control.fingerprint),
            "generation": control.map(|control| control.generation),
            "epoch": control.map(|control| control.epoch),
            "registered_at": control.map(|control| control.registered_at),
        }))?;
        return Ok(Exit::Done);
    }
    let mut facts_of =
        vec![("projection", projection.row_name()), ("state", standing.state.as_str().to_owned())];
    if let Some(source) = facts.configured.get(&projection) {
        facts_of.push(("source", source.to_string()));
    }
    if let Some(control) = control {
        facts_of.push(("ordering", ordering(control.ordering).to_owned()));
        facts_of.push(("registered", seconds(control.registered_at)));
        facts_of.push(("definition", control.fingerprint.0.clone()));
        facts_of.push(("rewound", times(control.generation.0)));
        facts_of.push(("rebuilt", times(control.epoch.0)));
    }
    if let Some(lag) = standing.lag_micros {
        facts_of.push(("lag", duration(Duration::from_micros(lag))));
    }
    for (name, value) in facts_of {
        context.output.line(format!("{name:<12}{value}"))?;
    }
    shards(&standing, context)
}

fn times(number: u32) -> String {
    match number {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

fn shards(standing: &ProjectionStanding, context: &mut Context) -> Outcome {
    let mut table = Table::new([
        Column::Text("SHARD"),
        Column::Number("POSITION"),
        Column::Number("EVENTS BEHIND"),
        Column::Name("UNTIL"),
    ]);
    for shard in &standing.shards {
        table.row([
            format!("{}/{}", shard.source, shard.shard),
            shard.position.to_string(),
            shard.behind.map_or_else(|| "-".to_owned(), count),
            shard.settled_until.map_or_else(|| "-".to_owned(), seconds),
        ]);
    }
    if !table.is_empty() {
        context.output.line("")?;
        context.output.table(&table)?;
    }
    for shard in &standing.shards {
        if let Some(stop) = &shard.stop {
            let stopped = stop_in_words(&standing.projection, &shard.source, &shard.shard, stop);
            context.output.line(format!("\n{stopped}"))?;
        }
    }
    if standing.is_stopped_at_event() {
        context.output.line(format!("\n{WHAT_TO_DO}"))?;
    }
    Ok(Exit::Done)
}
