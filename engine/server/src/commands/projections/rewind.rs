use std::collections::BTreeMap;

use foldstream_config::settings::SourceKind;
use foldstream_local::LocalStore;
use foldstream_model::{
    ProjectionId, ShardId, SourceName, Timestamp,
    ports::{From, Source},
};
use foldstream_runtime::{
    control::{Controls, RewindTo, Starts},
    rows::Rows,
};
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::RewindProjection,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::seconds,
};

pub async fn execute(arguments: &RewindProjection, context: &mut Context) -> Outcome {
    let store = context.store_to_change()?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let controls = Controls::new(Rows::new(store.checkpoints()));
    controls.get(&projection).await?;
    let starts = match arguments.to {
        None => Starts::new(),
        Some(time) => starts_at(&store, &controls, &projection, time, context).await?,
    };
    let place = match arguments.to {
        None => "to the beginning".to_owned(),
        Some(time) => format!("to the last save before {}", seconds(time)),
    };
    let documents = match arguments.rebuild {
        true => "make its documents anew",
        false => "deliver the events since then again; documents keep what they have",
    };
    let plan = format!("rewind {projection} {place} and {documents}");
    if !may_go_on(&plan, &arguments.permission, true, context)? {
        return Ok(Exit::Done);
    }
    let actor = actor(&arguments.permission, context);
    let generation = controls.rewind(&projection, starts, arguments.rebuild, &actor).await?;
    let text = format!("rewound {projection} {place}; `foldstream status` shows how it goes on");
    let object = json!({
        "projection": projection.row_name(),
        "generation": generation,
        "rebuild": arguments.rebuild,
    });
    done(&text, &object, context)?;
    Ok(Exit::Done)
}

/// For each shard the newest cut before the first record that arrived at or after a time.
async fn starts_at(
    store: &LocalStore,
    controls: &Controls,
    projection: &ProjectionId,
    time: Timestamp,
    context: &Context,
) -> Outcome<Starts> {
    let config = context.config()?;
    let configured = config.projections.get(projection.name.as_str());
    let configured = configured.filter(|configured| configured.version.value == projection.version.0);
    let source = configured.and_then(|configured| config.sources.get_key_value(&configured.source.value));
    let Some((name, source)) = source else {
        return Err(Failure::invalid(format!("{projection} is not configured, so its source is not known")));
    };
    let SourceKind::Local { stream, .. } = &source.kind.value;
    let Some(log) = store.existing_log(stream).await? else { return Ok(Starts::new()) };
    let source = log.source();
    let mut positions = BTreeMap::new();
    for shard in source.shards().await? {
        let reader = source.open(&shard.id, From::AtTimestamp(time)).await?;
        positions.insert(shard.id, reader.position());
    }
    let shards: Vec<ShardId> = positions.keys().cloned().collect();
    let name = SourceName::new(name.as_str());
    Ok(controls.plan_rewind(&name, &shards, &RewindTo::Positions(positions)).await?)
}
