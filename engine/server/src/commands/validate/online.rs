//! What the services say that a configuration names.

use foldstream_aws::inspection::{Finding, Severity};
use foldstream_config::Config;
use serde_json::json;

use crate::{
    commands::{Context, relay::nothing_to_relay},
    exit::{Exit, Outcome},
    output::{Column, Table, plural, printable},
    stores,
};

pub(super) async fn execute(config: &Config, is_relay: bool, context: &mut Context) -> Outcome {
    let (region, profile) = (context.global.region.clone(), context.global.profile.clone());
    let found = match is_relay {
        true => stores::inspect_relay(config, region, profile).await,
        false => stores::inspect(config, region, profile, context.clock.clone(), context.ids.clone()).await,
    };
    if is_relay && found.is_empty() {
        return Err(nothing_to_relay());
    }
    match context.output.is_json() {
        true => found.iter().try_for_each(|finding| context.output.object(&for_programs(finding)))?,
        false => for_people(&found, context)?,
    }
    let is_wrong = found.iter().any(|finding| finding.severity == Severity::Wrong);
    Ok(if is_wrong { Exit::Invalid } else { Exit::Done })
}

fn for_programs(finding: &Finding) -> serde_json::Value {
    json!({
        "severity": word(finding.severity),
        "service": finding.service,
        "resource": finding.resource,
        "check": finding.check,
        "message": finding.message,
        "help": finding.help,
        "missing_permission": finding.missing_permission,
    })
}

fn for_people(found: &[Finding], context: &mut Context) -> Outcome<()> {
    if found.is_empty() {
        context.output.line("no service to ask: everything is embedded")?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::Name("RESULT"),
        Column::Name("SERVICE"),
        Column::Name("RESOURCE"),
        Column::Name("CHECK"),
        Column::Text("FOUND"),
    ]);
    for finding in found {
        let (result, service) = (word(finding.severity).to_owned(), finding.service.to_owned());
        let said = printable(finding.message.lines().next().unwrap_or_default());
        table.row([result, service, finding.resource.clone(), finding.check.to_owned(), said]);
    }
    context.output.table(&table)?;
    for finding in found.iter().filter(|finding| finding.severity != Severity::Fine) {
        in_detail(finding, context)?;
    }
    let count = |severity| found.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (wrong, warned) =
        (plural(count(Severity::Wrong), "error"), plural(count(Severity::Warning), "warning"));
    let checks = plural(found.len() as u64, "check");
    context.output.line(format!("\n{checks}: {wrong}, {warned}"))?;
    Ok(())
}

fn in_detail(finding: &Finding, context: &mut Context) -> Outcome<()> {
    let Finding { service, resource, check, message, .. } = finding;
    context.output.line(format!("\n{}: {service} {resource} {check}", word(finding.severity)))?;
    for line in message.lines() {
        context.output.line(format!("  {}", printable(line)))?;
    }
    if let Some(help) = &finding.help {
        context.output.line(format!("  help: {help}"))?;
    }
    Ok(())
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "ok",
        Severity::Warning => "warning",
        Severity::Wrong => "error",
    }
}
