use std::collections::BTreeMap;

use foldstream_model::Value;

use crate::{Config, Diagnostic, settings::*};

mod examples;
mod mistakes;
mod traps;
mod values;

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<Diagnostic>> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    Config::read("foldstream.yaml", text, &|name| environment.get(name).map(|value| (*value).to_owned()))
}

fn read(text: &str) -> Config {
    read_with(text, &[]).unwrap_or_else(|found| panic!("{}", show(&found)))
}

fn show(found: &[Diagnostic]) -> String {
    found.iter().map(|one| format!("{one}\n")).collect()
}

/// Each mistake as `line:column path: message (help)`.
fn mistakes(text: &str) -> Vec<String> {
    let found = read_with(text, &[]).expect_err("the file has mistakes");
    found.iter().map(brief).collect()
}

fn brief(one: &Diagnostic) -> String {
    let help = one.help.as_deref().unwrap_or_default();
    format!("{} {}: {} ({help})", one.place, one.path, one.message)
}

/// A file with these lines as the handlers of a projection, indented by six blanks.
fn with_handlers(handlers: &str) -> String {
    let indented: String = handlers.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "config_version: 1\nsources: {{ shop: {{}} }}\nprojections:\n  orders:\n    version: 1\n    source: shop\n    \
         ordering: per_stream\n    handlers:\n{indented}"
    )
}

fn handlers(text: &str) -> Vec<Handler> {
    match read(&with_handlers(text)).projections.into_values().next().expect("one projection").projector {
        Projector::Declared(handlers) => handlers,
        other => panic!("{other:?}"),
    }
}

fn set_values(text: &str) -> Vec<(String, Argument)> {
    let operations = handlers(text).remove(0).operations;
    operations
        .into_iter()
        .map(|operation| match operation {
            Operation::Change(Change { path, kind: ChangeKind::Set { value, .. } }) => {
                (path.to_string(), value)
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

fn literal(argument: &Argument) -> Value {
    match argument {
        Argument::Literal(value) => value.value.clone(),
        other => panic!("{other:?}"),
    }
}

fn expression(argument: &Argument) -> &Expression {
    match argument {
        Argument::Expression(expression) => expression,
        other => panic!("{other:?}"),
    }
}
