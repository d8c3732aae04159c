use foldstream_local::WorkerLock;
use foldstream_model::ProjectionId;
use foldstream_runtime::control::Controls;
use serde_json::json;

use super::{actor, done, may_go_on};
use crate::{
    cli::DeleteProjection,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    status::Facts,
    stores::Stores,
};

pub async fn execute(arguments: &DeleteProjection, context: &mut Context) -> Outcome {
    let store = context.stores_to_change().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    if arguments.projection.version.is_none() {
        return Err(Failure::invalid(format!("say which version, as in `{}`", projection.row_name())));
    }
    let controls = Controls::new(store.rows());
    controls.get(&projection).await?;
    let plan = format!("delete {projection} with all its documents and checkpoints");
    if !may_go_on(&plan, &arguments.permission, context)? {
        return Ok(Exit::Done);
    }
    let _lock = refuse_while_it_runs(&store, &projection, context).await?;
    let actor = actor(&arguments.permission.audited, context);
    controls.delete(&projection, &*store.documents(&projection)?, &*store.parking(), &actor).await?;
    let object = json!({"projection": projection.row_name(), "deleted": true});
    done(&format!("deleted {projection}"), &object, context)?;
    Ok(Exit::Done)
}

/// A worker may run beside, as long as it does not run this projection. Without one, none can start meanwhile.
async fn refuse_while_it_runs(
    store: &Stores,
    projection: &ProjectionId,
    context: &Context,
) -> Outcome<Option<WorkerLock>> {
    let now = context.clock.now();
    let held = match WorkerLock::acquire(&context.global.data, now) {
        Ok(lock) => return Ok(Some(lock)),
        Err(held) => held,
    };
    let facts = Facts::gather(store, context.config_if_any().as_ref(), now).await?;
    let runs = facts
        .worker()
        .is_none_or(|worker| worker.projections.iter().any(|known| known.projection == *projection));
    match runs || facts.configured.contains_key(projection) {
        true => Err(Failure::unusable(format!("{projection} may be running; {held}"))),
        false => Ok(None),
    }
}
