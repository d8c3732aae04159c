//! `foldstream test`

mod append;
mod record;
mod show;

use foldstream_config::Config;
use foldstream_declarative::Compiled;

use crate::{
    cli::Test,
    commands::{Context, mistaken},
    compose,
    exit::{Exit, Failure, Outcome},
    output::plural,
    testing,
};

pub async fn execute(arguments: Test, context: &mut Context) -> Outcome {
    let config = context.config()?;
    let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    match &arguments.record {
        Some(stream) => record::execute(stream, arguments.write, &config, &compiled, context).await,
        None => run(&arguments.names, config, &compiled, context),
    }
}

fn run(names: &[String], mut config: Config, compiled: &Compiled, context: &mut Context) -> Outcome {
    let all = config.tests.len();
    config
        .tests
        .retain(|test| names.is_empty() || names.iter().any(|name| test.name.value.contains(name.as_str())));
    if config.tests.is_empty() && all > 0 {
        return Err(Failure::invalid(format!("none of the {} has such a name", plural(all as u64, "test"))));
    }
    let outcomes = testing::run(&config, compiled);
    for outcome in &outcomes {
        show::outcome(outcome, context)?;
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    if !context.output.is_json() {
        let summary = match (outcomes.len(), failed) {
            (0, _) => format!("{} has no tests; write some under `tests:`", context.global.config.display()),
            (all, 0) => format!("{} passed", plural(all as u64, "test")),
            (all, failed) => format!("{failed} of {} failed", plural(all as u64, "test")),
        };
        context.output.line(summary)?;
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}
