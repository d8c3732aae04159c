use foldstream_runtime::{control::Controls, rows::AuditRow};

use crate::{
    cli::Audit,
    commands::Context,
    exit::{Exit, Outcome},
    output::{Column, Table, printable, seconds},
};

pub async fn execute(arguments: &Audit, context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let audits = Controls::new(store.rows()).audits().await?;
    let newest = audits.len().saturating_sub(arguments.limit);
    let audits = audits.get(newest..).unwrap_or_default();
    if context.output.is_json() {
        for audit in audits {
            context.output.object(audit)?;
        }
    } else if audits.is_empty() {
        context.output.line("nothing was changed by hand so far")?;
    } else {
        context.output.table(&table(audits))?;
    }
    Ok(Exit::Done)
}

fn table(audits: &[AuditRow]) -> Table {
    let mut table = Table::new([
        Column::Name("WHEN"),
        Column::Name("WHO"),
        Column::Name("WHAT"),
        Column::Name("TO WHAT"),
        Column::Text("WHY"),
        Column::Text("DETAILS"),
    ]);
    for audit in audits {
        let details = audit.details.iter().filter(|(_, value)| !value.is_empty());
        let details = details.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        table.row([
            seconds(audit.at),
            printable(&audit.who),
            audit.action.clone(),
            audit.target.clone(),
            printable(audit.reason.as_deref().unwrap_or_default()),
            details,
        ]);
    }
    table
}
