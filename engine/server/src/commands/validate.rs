mod online;

use foldstream_config::{Config, Diagnostic, Severity};
use serde_json::json;

use crate::{
    cli::Validate,
    commands::Context,
    compose,
    exit::{Exit, Outcome},
    output::plural,
};

pub async fn execute(arguments: &Validate, context: &mut Context) -> Outcome {
    let (config, found) = match context.read_config()? {
        Ok(config) => {
            let found = compose::check(&config);
            (Some(config), found)
        }
        Err(mistakes) => (None, mistakes),
    };
    let errors = found.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    if context.output.is_json() {
        for diagnostic in &found {
            context.output.object(&as_json(diagnostic))?;
        }
    } else {
        for diagnostic in &found {
            context.output.line(format!("{diagnostic}\n"))?;
        }
        let summary = summary(config.as_ref().filter(|_| errors == 0), errors, found.len() - errors);
        context.output.line(format!("{}: {summary}", context.global.config.display()))?;
    }
    match config {
        _ if errors > 0 => Ok(Exit::Invalid),
        Some(config) if arguments.online => online::execute(&config, arguments.relay, context).await,
        _ => Ok(Exit::Done),
    }
}

fn as_json(diagnostic: &Diagnostic) -> serde_json::Value {
    json!({
        "severity": diagnostic.severity.to_string(),
        "file": &*diagnostic.file,
        "line": diagnostic.place.line,
        "column": diagnostic.place.column,
        "path": diagnostic.path,
        "message": diagnostic.message,
        "help": diagnostic.help,
        "source": diagnostic.source_line(),
    })
}

fn summary(valid: Option<&Config>, errors: usize, warnings: usize) -> String {
    let warnings = match warnings {
        0 => String::new(),
        _ => format!(", {}", plural(warnings as u64, "warning")),
    };
    match valid {
        None => format!("{}{warnings}", plural(errors as u64, "error")),
        Some(config) => {
            let counted = |number: usize, word| plural(number as u64, word);
            format!(
                "valid: {}, {}, {}{warnings}",
                counted(config.sources.len(), "source"),
                counted(config.projections.len(), "projection"),
                counted(config.tests.len(), "test")
            )
        }
    }
}
