//! `foldstream parked …`

mod describe;
mod discard;
mod gaps;
mod list;
mod records;
mod redrive;
mod selected;
mod streams;

use foldstream_config::settings::Name;
use foldstream_model::{Epoch, Lot, ProjectionId, SourceName};
use foldstream_runtime::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    control::Controls,
    redriving::{Pace, Redriver},
};

use crate::{
    cli::ParkedCommand,
    commands::{Context, mistaken},
    compose,
    exit::{Failure, Outcome},
    stores::Stores,
};

pub async fn execute(command: ParkedCommand, context: &mut Context) -> Outcome {
    match command {
        ParkedCommand::List(arguments) => list::execute(&arguments, context).await,
        ParkedCommand::Describe { projection, document, stream } => {
            describe::execute(&projection, document.as_deref(), stream.as_deref(), context).await
        }
        ParkedCommand::Redrive(arguments) => redrive::execute(&arguments, context).await,
        ParkedCommand::Discard(arguments) => discard::execute(&arguments, context).await,
    }
}

/// The lot that a projection parks in now; none if it was never run.
async fn lot(projection: &ProjectionId, store: &Stores) -> Outcome<Lot> {
    let control = store.rows().control(projection).await?;
    let epoch = control.map_or(Epoch::default(), |stored| stored.body.epoch);
    Ok(Lot::of_documents(projection, epoch))
}

/// What applies parked events by the definition that is configured now, which must be the one that is run.
async fn redriver(
    projection: &ProjectionId,
    pace: Pace,
    store: &Stores,
    context: &Context,
) -> Outcome<Redriver> {
    let (source, spec, lot, services) = configured(projection, store, context).await?;
    Ok(Redriver::new(&source, spec, lot.epoch, &services, pace))
}

/// The source that a projection reads, if it is configured; or all that are.
fn sources(projection: Option<&ProjectionId>, context: &Context) -> Vec<SourceName> {
    let Some(config) = context.config_if_any() else { return Vec::new() };
    let Some(projection) = projection else {
        return config.sources.keys().map(|name| SourceName::new(name.as_str())).collect();
    };
    let is_meant = |(name, _): &(&Name, _)| name.as_str() == projection.name.as_str();
    let meant = config.projections.iter().find(is_meant);
    meant.map(|(_, spec)| SourceName::new(spec.source.value.as_str())).into_iter().collect()
}

/// A projection as it is configured now, its source, and where the events of its parked streams wait.
async fn configured(
    projection: &ProjectionId,
    store: &Stores,
    context: &Context,
) -> Outcome<(SourceSpec, ProjectionSpec, Lot, Services)> {
    let config = context.config()?;
    let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    let (clock, ids) = (context.clock.clone(), context.ids.clone());
    let assembly = compose::assemble(&config, &compiled, store, clock, ids).await?.assembly;
    let spec = assembly.projections.iter().find(|spec| spec.id == *projection);
    let source = spec.and_then(|spec| assembly.sources.iter().find(|source| source.name == spec.source));
    let Some((spec, source)) = spec.zip(source) else {
        return Err(Failure::invalid(format!(
            "{projection} is not configured, so nobody knows what its events do to its documents"
        )));
    };
    let controls = Controls::new(store.rows());
    let control = controls.get(projection).await?;
    if control.fingerprint != spec.fingerprint {
        return Err(Failure::invalid(format!(
            "the definition of {projection} was changed under the same version: `foldstream projections amend {}` takes the change over if it is only about what could not be taken before; for any other, raise the version",
            projection.row_name()
        )));
    }
    let lot = Lot::of_streams(projection, control.epoch);
    Ok((source.clone(), spec.clone(), lot, assembly.services.clone()))
}
