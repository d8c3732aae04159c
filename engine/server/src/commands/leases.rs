//! `foldstream leases …`

use std::collections::BTreeSet;

use foldstream_model::{Lease, LeaseKey, SourceName, ports::PutLease};
use foldstream_runtime::control::Controls;
use serde_json::json;

use super::projections::{actor, done, only_says};
use crate::{
    cli::{LeasesCommand, ReleaseLease},
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::{Column, Table, count},
    stores::Stores,
};

pub async fn execute(command: LeasesCommand, context: &mut Context) -> Outcome {
    match command {
        LeasesCommand::List => list(context).await,
        LeasesCommand::Release(arguments) => release(&arguments, context).await,
    }
}

async fn list(context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let leases = of_all_sources(&store).await?;
    if context.output.is_json() {
        for (source, lease) in &leases {
            context.output.object(&json!({
                "source": source,
                "kind": kind(&lease.key),
                "name": name(&lease.key),
                "owner": lease.owner,
                "passed_on_by": lease.from,
                "counter": lease.counter,
                "checkpoint": lease.checkpoint,
            }))?;
        }
    } else if leases.is_empty() {
        context.output.line("no leases: nothing runs, or nothing has run yet")?;
    } else {
        context.output.table(&table(&leases))?;
    }
    Ok(Exit::Done)
}

fn table(leases: &[(SourceName, Lease)]) -> Table {
    let mut table = Table::new([
        Column::Name("SOURCE"),
        Column::Name("KIND"),
        Column::Text("NAME"),
        Column::Name("WORKER"),
        Column::Name("PASSED ON BY"),
        Column::Number("CHECKPOINT"),
        Column::Number("RENEWALS"),
    ]);
    for (source, lease) in leases {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            source.to_string(),
            kind(&lease.key).to_owned(),
            name(&lease.key),
            or_none(lease.owner.as_ref().map(ToString::to_string)),
            or_none(lease.from.as_ref().map(ToString::to_string)),
            or_none(lease.checkpoint.as_ref().map(ToString::to_string)),
            count(lease.counter),
        ]);
    }
    table
}

async fn release(arguments: &ReleaseLease, context: &mut Context) -> Outcome {
    let store = context.stores_to_change().await?;
    let (source, lease) = find(arguments, &store).await?;
    let shown = format!("{} {} of {source}", kind(&lease.key), name(&lease.key));
    let Some((holder, free)) = lease.holder().cloned().zip(lease.released()) else {
        let object = json!({"source": source, "name": name(&lease.key), "changed": false});
        done(&format!("{shown} is free already"), &object, context)?;
        return Ok(Exit::Done);
    };
    if only_says(&format!("take {shown} away from worker {holder}"), &arguments.audited, context)? {
        return Ok(Exit::Done);
    }
    if store.leases().put(&source, Some(&lease), &free).await? != PutLease::Done {
        return Err(Failure::failed(format!("{shown} has just changed hands or was renewed; try again")));
    }
    let actor = actor(&arguments.audited, context);
    let controls = Controls::new(store.rows());
    controls.audit(&actor, "release", &format!("{source}/{}", lease.key), Default::default()).await?;
    let object = json!({"source": source, "name": name(&lease.key), "worker": holder, "changed": true});
    let text =
        format!("released {shown}; worker {holder} passes it on when what it has read is in the documents");
    done(&text, &object, context)?;
    Ok(Exit::Done)
}

async fn find(arguments: &ReleaseLease, store: &Stores) -> Outcome<(SourceName, Lease)> {
    let of_source = |source: &SourceName| {
        arguments.source.as_ref().is_none_or(|wanted| wanted.as_str() == source.as_str())
    };
    let mut found = of_all_sources(store).await?;
    found.retain(|(source, lease)| of_source(source) && name(&lease.key) == arguments.name);
    found.retain(|(_, lease)| !matches!(lease.key, LeaseKey::Worker(_)));
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Failure::invalid(format!(
            "several sources have a shard `{}`; say which with --source",
            arguments.name
        ))),
        (None, _) => Err(Failure::invalid(format!(
            "nobody has a lease of `{}`; `foldstream leases list` shows those that are there",
            arguments.name
        ))),
    }
}

/// Shards and merges first, then the workers; by source.
async fn of_all_sources(store: &Stores) -> Outcome<Vec<(SourceName, Lease)>> {
    let controls = Controls::new(store.rows()).list().await?;
    let sources: BTreeSet<SourceName> = controls.into_iter().map(|(_, control)| control.source).collect();
    let mut all = Vec::new();
    for source in sources {
        let leases = store.leases().list(&source).await?;
        all.extend(leases.into_iter().map(|lease| (source.clone(), lease)));
    }
    let is_worker = |key: &LeaseKey| matches!(key, LeaseKey::Worker(_));
    all.sort_by(|(a, one), (b, other)| {
        (a, is_worker(&one.key), &one.key).cmp(&(b, is_worker(&other.key), &other.key))
    });
    Ok(all)
}

fn kind(key: &LeaseKey) -> &'static str {
    match key {
        LeaseKey::Worker(_) => "worker",
        LeaseKey::Shard(_) => "shard",
        LeaseKey::Merge(_) => "merge",
    }
}

fn name(key: &LeaseKey) -> String {
    match key {
        LeaseKey::Worker(worker) => worker.to_string(),
        LeaseKey::Shard(shard) => shard.to_string(),
        LeaseKey::Merge(projection) => projection.row_name(),
    }
}
