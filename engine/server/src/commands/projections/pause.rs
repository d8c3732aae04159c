use foldstream_runtime::{control::Controls, rows::Rows};
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::{ByProjection, Permission},
    commands::Context,
    exit::{Exit, Outcome},
};

/// Pauses or resumes.
pub async fn execute(
    wanted: &ByProjection,
    permission: &Permission,
    pause: bool,
    context: &mut Context,
) -> Outcome {
    let store = context.store_to_change()?;
    let projection = context.projection(wanted, &store).await?;
    let (verb, was) = if pause { ("pause", "paused") } else { ("resume", "resumed") };
    let controls = Controls::new(Rows::new(store.checkpoints()));
    controls.get(&projection).await?;
    if !may_go_on(&format!("{verb} {projection}"), permission, false, context)? {
        return Ok(Exit::Done);
    }
    let actor = actor(permission, context);
    let changed = controls.set_paused(&projection, pause, &actor).await?;
    let text = match (changed, pause) {
        (true, true) => format!("{was} {projection}; a running worker notices within a second"),
        (true, false) => format!("{was} {projection}; it goes on from where it stopped"),
        (false, true) => format!("{projection} was paused already"),
        (false, false) => format!("{projection} was not paused"),
    };
    let object = json!({"projection": projection.row_name(), "paused": pause, "changed": changed});
    done(&text, &object, context)?;
    Ok(Exit::Done)
}
