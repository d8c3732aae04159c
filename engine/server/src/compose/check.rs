use foldstream_config::{
    Config, Diagnostic, Severity,
    diagnostic::nearest,
    settings::{GivenEvent, Projector, Source},
    unavailable,
};
use foldstream_declarative::{Compiled, compile};

use crate::natives;

/// Everything that is wrong with a configuration that could be read, in the order of its lines.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut found = unavailable(config);
    found.extend(unknown_natives(config));
    found.extend(unknown_types_in_tests(config));
    found.extend(compile(config).err().into_iter().flatten());
    found.sort_by_key(|diagnostic| diagnostic.place);
    found.dedup();
    found
}

/// What runs of a configuration in which nothing is wrong.
pub fn checked(config: &Config) -> Result<Compiled, Vec<Diagnostic>> {
    let found = check(config);
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(found);
    }
    compile(config)
}

fn unknown_natives(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, projection) in &config.projections {
        let Projector::Native { name: native, .. } = &projection.projector else { continue };
        if natives::NAMES.contains(&native.value.as_str()) {
            continue;
        }
        let help = match nearest(&native.value, natives::NAMES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", natives::NAMES.join(", ")),
        };
        let path = format!("projections.{name}.projector.native");
        let message = format!("there is no native projector `{}`", native.value);
        found.push(config.file.error(native.place, path, message).with_help(help));
    }
    found
}

/// A test may give an event that its source does not know, to show what becomes of it; most often it is misspelt.
fn unknown_types_in_tests(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (test_index, test) in config.tests.iter().enumerate() {
        for (index, event) in test.given.iter().enumerate() {
            let types = source_of(config, event).and_then(|source| source.types.as_ref());
            let Some(types) =
                types.filter(|types| types.iter().all(|known| known.value != event.event_type.value))
            else {
                continue;
            };
            let help = match nearest(&event.event_type.value, types.iter().map(|known| known.value.as_str()))
            {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it to the `types` of the source".to_owned(),
            };
            let path = format!("tests[{test_index}].given[{index}].type");
            let message = format!("the source has no event type `{}`", event.event_type.value);
            found.push(config.file.warning(event.event_type.place, path, message).with_help(help));
        }
    }
    found
}

/// The source that a test's event names; without a name the only one.
fn source_of<'c>(config: &'c Config, event: &GivenEvent) -> Option<&'c Source> {
    match &event.source {
        Some(name) => config.sources.get(&name.value),
        None => config.sources.values().next(),
    }
}
