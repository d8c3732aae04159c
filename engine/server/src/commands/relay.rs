use std::sync::Arc;

use foldstream_config::{Config, diagnostic::nearest};
use foldstream_model::{Error, ErrorKind};
use foldstream_runtime::{retry, tasks::Tasks};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{RelaySources, Watching},
    commands::{Context, mistaken},
    compose,
    exit::{Exit, Failure, Outcome},
    running::{Service, WatchedRelays, stop_on_signals},
    stores::{Stores, TableRelay},
};

/// Runs until it is told to stop, or one of the relays fails for good; or forgets how far they are.
pub async fn execute(arguments: RelaySources, context: &mut Context) -> Outcome {
    let config = context.config()?;
    compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    let stores = context.stores_to_relay(&config).await?;
    let relays = relays(&config, &stores, arguments.source.as_deref())?;
    match arguments.forget {
        true => forget(relays, context).await,
        false => run(relays, &arguments.watching, context).await,
    }
}

async fn forget(relays: Vec<(String, TableRelay)>, context: &mut Context) -> Outcome {
    for (name, relay) in relays {
        relay.forget().await?;
        if context.output.is_json() {
            context.output.object(&json!({ "source": name, "forgotten": true }))?;
        } else {
            let begins = "the next relay begins with the oldest changes that are kept";
            context.output.line(format!("{name}: {begins}"))?;
        }
    }
    Ok(Exit::Done)
}

async fn run(relays: Vec<(String, TableRelay)>, watching: &Watching, context: &Context) -> Outcome {
    let stop = CancellationToken::new();
    // What ends with the process: signals are waited for, and questions answered, until then.
    let mut beside = Tasks::new();
    if let Some(service) = Service::open(watching).await? {
        let figures = relays.iter().map(|(name, relay)| (name.clone(), relay.figures()));
        let watched =
            WatchedRelays { relays: figures.collect(), clock: context.clock.clone(), stop: stop.clone() };
        service.start(Arc::new(watched), context.clock.clone(), &mut beside);
    }
    stop_on_signals(stop.clone(), &mut beside)?;
    let mut tasks = Tasks::new();
    for (name, relay) in relays {
        let stopped = stop.clone();
        tracing::info!(source = name, "relaying");
        tasks.start(format!("relay of {name}"), async move {
            let run = || relay.run(stopped.clone().cancelled_owned());
            retry::until_done("relaying", run).await
        });
    }
    let mut failure: Option<Error> = None;
    while let Some((name, ended)) = tasks.next().await {
        if let Err(error) = ended {
            failure.get_or_insert(error.context(name));
            stop.cancel();
        }
    }
    match failure {
        None => Ok(Exit::Done),
        Some(error) if error.kind() == ErrorKind::Invalid => Err(Failure::unusable(error.to_string())),
        Some(error) => Err(error.into()),
    }
}

fn relays(config: &Config, stores: &Stores, wanted: Option<&str>) -> Outcome<Vec<(String, TableRelay)>> {
    if let Some(wanted) = wanted.filter(|wanted| !config.sources.contains_key(*wanted)) {
        let hint = match nearest(wanted, config.sources.keys().map(|name| name.as_str())) {
            Some(near) => format!("did you mean {near}?"),
            None => "the configuration names those that there are".to_owned(),
        };
        return Err(Failure::invalid(format!("there is no source {wanted}; {hint}")));
    }
    let mut found = Vec::new();
    for (name, source) in &config.sources {
        if wanted.is_none_or(|wanted| wanted == name.as_str())
            && let Some(relay) = stores.relay(name, source)?
        {
            found.push((name.to_string(), relay));
        }
    }
    match found.is_empty() {
        true => Err(nothing_to_relay()),
        false => Ok(found),
    }
}

pub fn nothing_to_relay() -> Failure {
    Failure::invalid(
        "there is nothing to relay: a source of kind kinesis needs its `event_table`, whose DynamoDB stream is moved into its `stream`",
    )
}
