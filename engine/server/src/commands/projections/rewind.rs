use std::collections::BTreeMap;

use foldstream_model::{Control, Lot, ProjectionId, Timestamp, ports::From};
use foldstream_runtime::control::{Actor, Controls, RewindPlan, RewindTo};
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::RewindProjection,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::seconds,
    status::Facts,
    stores::Stores,
};

pub async fn execute(arguments: &RewindProjection, context: &mut Context) -> Outcome {
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let controls = Controls::new(store.rows());
    let Control { paused, epoch, .. } = controls.get(&projection).await?;
    let before = [Lot::of_documents(&projection, epoch), Lot::of_streams(&projection, epoch)];
    let rewind = plan(&store, &controls, &projection, arguments.to, context).await?;
    let place = place(&rewind, arguments.to);
    let documents = match arguments.rebuild {
        true => "make its documents anew",
        false => "deliver the events since then again; documents keep what they have",
    };
    let plan = format!("rewind {projection} {place} and {documents}");
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    let actor = rewinder(arguments, context);
    let generation = controls.rewind(&projection, &rewind, arguments.rebuild, &actor).await?;
    if arguments.rebuild {
        // What was parked is delivered again, too.
        for lot in &before {
            store.parking().clear(lot).await?;
        }
    }
    let facts = Facts::gather(&store, None, context.clock.now()).await?;
    let next = match facts.worker().is_some() {
        _ if paused => "it is paused: `foldstream projections resume` lets that begin",
        true => "the running worker does it, and `foldstream status` shows how far it is",
        false => "the next `foldstream run` does it",
    };
    let outcome = match arguments.rebuild {
        true => "its documents are to be made anew",
        false => "the events since then are to be delivered again; documents keep what they have",
    };
    let text = format!("rewound {projection} {place}: {outcome}; {next}");
    let object = json!({
        "projection": projection.row_name(),
        "generation": generation,
        "rebuild": arguments.rebuild,
    });
    done(&text, &object, context)?;
    Ok(Exit::Done)
}

/// Where a projection goes back to, as people say it.
fn place(plan: &RewindPlan, to: Option<Timestamp>) -> String {
    let Some(time) = to.map(seconds) else { return "to the beginning".to_owned() };
    match (plan.starts.len(), plan.to_beginning.len()) {
        (0, _) => format!("to the beginning (nothing was saved before {time})"),
        (_, 0) => format!("to the last save before {time}"),
        (starts, without) => {
            let shards = starts + without;
            format!("to the last save before {time} (in {without} of {shards} shards to the beginning)")
        }
    }
}

/// Who rewinds, and why: the time that was asked for is kept with the reason.
fn rewinder(arguments: &RewindProjection, context: &Context) -> Actor {
    let actor = actor(&arguments.permission.audited, context);
    let Some(time) = arguments.to else { return actor };
    let to = format!("to {time}");
    let reason = actor.reason.map_or_else(|| to.clone(), |reason| format!("{reason} ({to})"));
    Actor { reason: Some(reason), ..actor }
}

/// Back to the first record of each shard that arrived at or after a time, or to the beginning.
async fn plan(
    store: &Stores,
    controls: &Controls,
    projection: &ProjectionId,
    to: Option<Timestamp>,
    context: &Context,
) -> Outcome<RewindPlan> {
    let config = context.config()?;
    let configured = config.projections.get(projection.name.as_str());
    let configured = configured.filter(|configured| configured.version.value == projection.version.0);
    let source = configured.and_then(|configured| config.sources.get_key_value(&configured.source.value));
    let Some((name, source)) = source else {
        return Err(Failure::invalid(format!("{projection} is not configured, so its source is not known")));
    };
    let Some(source) = store.source(name, source).await? else {
        return Err(Failure::invalid("its stream is not there yet, so nothing can be read again"));
    };
    let Some(time) = to else {
        return Ok(controls.plan_rewind(projection, source.as_ref(), &RewindTo::Beginning).await?);
    };
    let mut positions = BTreeMap::new();
    for shard in source.shards().await? {
        let reader = source.open(&shard.id, From::AtTimestamp(time)).await?;
        positions.insert(shard.id, reader.position());
    }
    Ok(controls.plan_rewind(projection, source.as_ref(), &RewindTo::Positions(positions)).await?)
}
