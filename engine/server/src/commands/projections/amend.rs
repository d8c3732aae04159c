use foldstream_runtime::control::Controls;
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::AmendProjection,
    commands::{Context, mistaken},
    compose,
    exit::{Exit, Failure, Outcome},
};

pub async fn execute(arguments: &AmendProjection, context: &mut Context) -> Outcome {
    let audited = &arguments.permission.audited;
    if audited.reason.is_none() && !audited.dry_run {
        return Err(Failure::invalid("say why with --reason: it is kept in the audit"));
    }
    let config = context.config()?;
    let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let (clock, ids) = (context.clock.clone(), context.ids.clone());
    let line = compose::assemble(&config, &compiled, &store, clock, ids).await?;
    let rows = store.rows();
    let spec = line.assembly.projections.iter().find(|spec| spec.id == projection);
    let Some(spec) = spec else {
        return Err(Failure::invalid(format!(
            "{projection} is not configured, so there is nothing to take over"
        )));
    };
    let changed = compose::changed(std::slice::from_ref(spec), &rows).await?;
    let Some(changed) = changed.first() else {
        done(&format!("{projection} is as it is configured"), &json!({"changed": false}), context)?;
        return Ok(Exit::Done);
    };
    let plan = format!(
        "take over this change of {projection} under the same version, on your word that it is only about events that could not be taken before (for any other, its documents would differ from a replay): {}",
        changed.differences.join("; ")
    );
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    Controls::new(rows).amend(spec, &actor(audited, context)).await?;
    let text = format!(
        "took over the change of {projection}; processes with the older definition leave it alone from now on, `foldstream run` runs the new one, and `foldstream parked redrive` applies what waits by it"
    );
    done(&text, &json!({"changed": true, "differences": changed.differences}), context)?;
    Ok(Exit::Done)
}
