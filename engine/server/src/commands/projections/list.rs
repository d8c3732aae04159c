use foldstream_model::{Control, Ordering, ProjectionId};
use serde_json::json;

use crate::{
    commands::Context,
    exit::{Exit, Outcome},
    output::{Column, Table, seconds},
    status::{Facts, ProjectionStanding},
};

pub async fn execute(context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let config = context.config_if_any();
    let facts = Facts::gather(&store, config.as_ref(), context.clock.now()).await?;
    let mut table = Table::new([
        Column::Name("PROJECTION"),
        Column::Name("STATE"),
        Column::Name("ORDERING"),
        Column::Name("CONFIGURED"),
        Column::Name("SINCE"),
    ]);
    for standing in ProjectionStanding::all(&facts) {
        let projection = &standing.projection;
        let control = control(&facts, projection);
        let configured = facts.configured.contains_key(projection);
        if context.output.is_json() {
            context.output.object(&json!({
                "projection": projection.row_name(),
                "state": standing.state,
                "ordering": control.map(|control| control.ordering),
                "configured": configured,
                "registered_at": control.map(|control| control.registered_at),
            }))?;
            continue;
        }
        table.row([
            projection.row_name(),
            standing.state.as_str().to_owned(),
            control.map_or("-", |control| ordering(control.ordering)).to_owned(),
            if configured { "yes" } else { "no" }.to_owned(),
            control.map_or_else(|| "-".to_owned(), |control| seconds(control.registered_at)),
        ]);
    }
    if !context.output.is_json() {
        match table.is_empty() {
            true => context.output.line("no projections yet: `foldstream run` makes them")?,
            false => context.output.table(&table)?,
        }
    }
    Ok(Exit::Done)
}

pub fn control<'a>(facts: &'a Facts, projection: &ProjectionId) -> Option<&'a Control> {
    facts.controls.iter().find(|(known, _)| known == projection).map(|(_, control)| control)
}

/// As it is written in the configuration.
pub fn ordering(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::PerStream => "per_stream",
        Ordering::Commutative => "commutative",
        Ordering::Global => "global",
    }
}
