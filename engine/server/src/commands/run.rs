use std::collections::{BTreeMap, BTreeSet};

use foldstream_config::{Config, settings::Store};
use foldstream_local::{FleetLock, LocalStore};
use foldstream_model::{ProjectionId, SourceName, WorkerId, ports::Table};
use foldstream_runtime::{
    control::{Actor, Controls},
    deciding::OpenGap,
    retry,
    rows::{REPORTS, Rows},
    tasks::Tasks,
    worker::Outcome as Ended,
};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Run,
    commands::{Context, mistaken, who},
    compose::{self, Changed, Line},
    exit::{Exit, Failure, Outcome},
    output::{Output, plural},
    running::{Running, Service, stop_on_signals},
    status::{WHAT_TO_DO, missing, missing_for_programs, missing_in_words, stop_in_words},
};

pub async fn execute(arguments: Run, context: &mut Context) -> Outcome {
    let config = context.config()?;
    let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    let stores = context.stores_or_new(&config).await?;
    let lock = join_fleet(&config, context)?;
    let is_alone = lock.as_ref().is_some_and(FleetLock::is_alone);
    // Another process of the fleet may hold the database while it is frozen.
    let assemble =
        || compose::assemble(&config, &compiled, &stores, context.clock.clone(), context.ids.clone());
    let mut line = retry::until_done("opening the streams", assemble).await?;
    settle_definitions(&line, arguments.dev, is_alone, context).await?;
    if is_alone {
        line.assembly.dead = forget_the_dead(stores.local()?).await?;
    }
    lock.as_ref().map_or(Ok(()), FleetLock::let_others_in)?;
    let service = Service::open(&arguments.watching).await?;
    let stop = CancellationToken::new();
    let mut signals = Tasks::new();
    stop_on_signals(stop.clone(), &mut signals)?;
    let (_complete, complete) = watch::channel(true);
    let until_complete = arguments.until_caught_up.then_some(complete);
    tracing::info!(data = %context.global.data.display(), projections = config.projections.len(), "running");
    let service = service.map(|service| (service, config.clone()));
    let ended = Running { stores: &stores, until_complete, stop, service }.run(line).await?;
    match arguments.until_caught_up {
        true => {
            let missing = match ended.gaps.is_empty() {
                true => Ok(Vec::new()),
                false => missing(&config, &stores).await,
            };
            let missing = missing.unwrap_or_else(|error| {
                tracing::warn!(%error, "what is missing could not be looked up; `foldstream parked list` shows it");
                Vec::new()
            });
            report(&ended, &missing, context)
        }
        false => {
            tracing::info!("stopped; the checkpoints of what is in the documents are saved");
            Ok(Exit::Done)
        }
    }
}

/// The processes of one machine know each other by a lock. Whether a fleet has other workers is not known.
fn join_fleet(config: &Config, context: &Context) -> Outcome<Option<FleetLock>> {
    if config.store != Store::Local {
        return Ok(None);
    }
    let lock = FleetLock::join(&context.global.data, context.clock.now());
    lock.map(Some).map_err(|error| Failure::unusable(error.to_string()))
}

/// Of workers that did not stop by themselves nothing is waited for. Says which they were.
pub async fn forget_the_dead(store: &LocalStore) -> Outcome<BTreeSet<WorkerId>> {
    let leases = store.leases().clear().await?;
    Rows::new(store.checkpoints()).clear(Table::Reports, REPORTS).await?;
    Ok(leases.iter().filter_map(|lease| lease.holder().cloned()).collect())
}

/// Refuses definitions that were changed under the same version; with `--dev` drops what they made, to make it anew.
async fn settle_definitions(line: &Line, dev: bool, is_alone: bool, context: &Context) -> Outcome<()> {
    let rows = Rows::new(line.assembly.services.checkpoints.clone());
    let look_up = || compose::changed(&line.assembly.projections, &rows);
    let changed = retry::until_done("looking up definitions", look_up).await?;
    if changed.is_empty() {
        return Ok(());
    }
    if !dev {
        return Err(refused(&changed));
    }
    if !is_alone {
        return Err(Failure::unusable(
            "definitions were changed, and other processes run with the old ones, or it cannot be known that none does; stop those, or raise the versions",
        ));
    }
    let controls = Controls::new(rows);
    for changed in &changed {
        let specs = &line.assembly.projections;
        let Some(spec) = specs.iter().find(|spec| spec.id == changed.projection) else { continue };
        let reason = Some(format!("run --dev: {}", changed.differences.join("; ")));
        let actor = Actor { who: who(), reason, at: context.clock.now() };
        let parking = &*line.assembly.services.parking;
        controls.delete(&changed.projection, &*spec.documents, parking, &actor).await?;
        tracing::warn!(projection = %changed.projection, "its definition was changed: its documents are made anew");
    }
    Ok(())
}

fn refused(changed: &[Changed]) -> Failure {
    let mut message =
        "definitions were changed under the same version; their documents would differ from a replay\n"
            .to_owned();
    for changed in changed {
        message.push_str(&format!("\n  {}\n", changed.projection));
        for difference in &changed.differences {
            message.push_str(&format!("    {difference}\n"));
        }
    }
    message.push_str(
        "\nRaise `version:`, and a new read model is built beside the old one; or, while developing,\nrun with --dev, which drops \
         these read models and makes them anew.",
    );
    Failure::invalid(message)
}

/// How `--until-caught-up` ended.
fn report(ended: &Ended, missing: &[(SourceName, OpenGap)], context: &mut Context) -> Outcome {
    let is_parked = !(ended.parked.is_empty() && ended.records.is_empty());
    let is_whole = ended.gaps.is_empty() && !is_parked && ended.outdated.is_empty();
    let clean = ended.stops.is_empty() && is_whole;
    match context.output.is_json() {
        true => context.output.object(&for_programs(ended, missing))?,
        false => for_people(ended, missing, clean, &mut context.output)?,
    }
    Ok(if clean { Exit::Done } else { Exit::Stopped })
}

fn for_programs(ended: &Ended, missing: &[(SourceName, OpenGap)]) -> serde_json::Value {
    let stops = ended.stops.iter().map(|stopped| {
        json!({
            "projection": stopped.projection.row_name(),
            "shard": stopped.shard,
            "source": stopped.source,
            "position": stopped.stop.place.position,
            "event": stopped.stop.event,
            "reason": stopped.stop.reason,
        })
    });
    json!({
        "caught_up": ended.caught_up,
        "stopped": stops.collect::<Vec<_>>(),
        "gaps": ended.gaps,
        "missing": missing.iter().map(missing_for_programs).collect::<Vec<_>>(),
        "parked": ended.parked.iter().map(|(id, events)| (id.row_name(), events)).collect::<BTreeMap<_, _>>(),
        "parked_records": ended.records,
        "paused": ended.paused.iter().map(ProjectionId::row_name).collect::<Vec<_>>(),
        "outdated": ended.outdated.iter().map(ProjectionId::row_name).collect::<Vec<_>>(),
    })
}

fn for_people(
    ended: &Ended,
    missing: &[(SourceName, OpenGap)],
    clean: bool,
    output: &mut Output,
) -> Outcome<()> {
    let said = match (ended.caught_up, clean) {
        (true, true) => "caught up",
        (true, false) => "caught up, except for",
        (false, true) => "stopped before everything was caught up",
        (false, false) => "stopped before everything was caught up; besides",
    };
    output.line(said)?;
    for stopped in &ended.stops {
        let words = stop_in_words(&stopped.projection, &stopped.source, &stopped.shard, &stopped.stop);
        words.lines().try_for_each(|line| output.line(format!("  {line}")))?;
    }
    if ended.stops.iter().any(|stopped| stopped.stop.event.is_some()) {
        WHAT_TO_DO.lines().try_for_each(|line| output.line(format!("  {line}")))?;
    }
    for (shard, gaps) in &ended.gaps {
        let streams = plural(*gaps as u64, "stream");
        output.line(format!("  {streams} in {shard} that wait for a missing event"))?;
    }
    for line in missing_in_words(missing) {
        output.line(format!("    {line}"))?;
    }
    for (projection, events) in &ended.parked {
        let events = plural(*events, "event");
        output.line(format!("  {events} of {projection} parked; `foldstream parked list` shows them"))?;
    }
    for (source, records) in &ended.records {
        let records = plural(*records, "record");
        output
            .line(format!("  {records} of source {source} set aside; `foldstream parked list` shows them"))?;
    }
    for outdated in &ended.outdated {
        output.line(format!("  {outdated}, whose definition was changed meanwhile; run the new one"))?;
    }
    for paused in &ended.paused {
        output.line(format!("  {paused}, paused; `foldstream projections resume {}`", paused.row_name()))?;
    }
    Ok(())
}
