use foldstream_runtime::control::Controls;
use serde_json::json;

use super::{actor, done, only_says};
use crate::{
    cli::{Audited, ByProjection},
    commands::Context,
    exit::{Exit, Outcome},
};

/// Pauses or resumes.
pub async fn execute(
    wanted: &ByProjection,
    audited: &Audited,
    pause: bool,
    context: &mut Context,
) -> Outcome {
    let store = context.stores_to_change().await?;
    let projection = context.projection(wanted, &store).await?;
    let (verb, was) = if pause { ("pause", "paused") } else { ("resume", "resumed") };
    let controls = Controls::new(store.rows());
    controls.get(&projection).await?;
    if only_says(&format!("{verb} {projection}"), audited, context)? {
        return Ok(Exit::Done);
    }
    let actor = actor(audited, context);
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
