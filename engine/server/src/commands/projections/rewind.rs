use std::collections::BTreeMap;

use foldstream_config::settings::SourceKind;
use foldstream_local::LocalStore;
use foldstream_model::{
    Control, Lot, ProjectionId, ShardId, SourceName, Timestamp,
    ports::{From, ParkingLot, Source},
};
use foldstream_runtime::{
    control::{Actor, Controls, RewindTo, Starts},
    rows::Rows,
};
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::RewindProjection,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::seconds,
    status::Facts,
};

pub async fn execute(arguments: &RewindProjection, context: &mut Context) -> Outcome {
    let store = context.store_to_change()?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let controls = Controls::new(Rows::new(store.checkpoints()));
    let Control { paused, epoch, .. } = controls.get(&projection).await?;
    let before = Lot { projection: projection.clone(), epoch };
    let (starts, place) = match arguments.to {
        None => (Starts::new(), "to the beginning".to_owned()),
        Some(time) => {
            let (starts, shards) = starts_at(&store, &controls, &projection, time, context).await?;
            let place = place(&starts, shards, time);
            (starts, place)
        }
    };
    let documents = match arguments.rebuild {
        true => "make its documents anew",
        false => "deliver the events since then again; documents keep what they have",
    };
    let plan = format!("rewind {projection} {place} and {documents}");
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    let actor = rewinder(arguments, context);
    let generation = controls.rewind(&projection, starts, arguments.rebuild, &actor).await?;
    if arguments.rebuild {
        // What was parked is delivered again, too.
        store.parking().clear(&before).await?;
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

/// Where a projection goes back to for a time, as people say it.
fn place(starts: &Starts, shards: usize, time: Timestamp) -> String {
    let time = seconds(time);
    match shards.saturating_sub(starts.len()) {
        _ if starts.is_empty() => format!("to the beginning (nothing was saved before {time})"),
        0 => format!("to the last save before {time}"),
        without => {
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

/// For each shard the newest cut before the first record that arrived at or after a time; and how many shards there
/// are.
async fn starts_at(
    store: &LocalStore,
    controls: &Controls,
    projection: &ProjectionId,
    time: Timestamp,
    context: &Context,
) -> Outcome<(Starts, usize)> {
    let config = context.config()?;
    let configured = config.projections.get(projection.name.as_str());
    let configured = configured.filter(|configured| configured.version.value == projection.version.0);
    let source = configured.and_then(|configured| config.sources.get_key_value(&configured.source.value));
    let Some((name, source)) = source else {
        return Err(Failure::invalid(format!("{projection} is not configured, so its source is not known")));
    };
    let SourceKind::Local { stream, .. } = &source.kind.value;
    let Some(log) = store.existing_log(stream).await? else { return Ok((Starts::new(), 0)) };
    let source = log.source();
    let mut positions = BTreeMap::new();
    for shard in source.shards().await? {
        let reader = source.open(&shard.id, From::AtTimestamp(time)).await?;
        positions.insert(shard.id, reader.position());
    }
    let shards: Vec<ShardId> = positions.keys().cloned().collect();
    let name = SourceName::new(name.as_str());
    let starts =
        controls.plan_rewind(&name, source.as_ref(), &shards, &RewindTo::Positions(positions)).await?;
    Ok((starts, shards.len()))
}
