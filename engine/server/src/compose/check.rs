use foldstream_config::{
    Config, Diagnostic, Severity, diagnostic::nearest, settings::Projector, unavailable,
};
use foldstream_declarative::{Compiled, compile};

use crate::natives;

/// Everything that is wrong with a configuration that could be read, in the order of its lines.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut found = unavailable(config);
    found.extend(unknown_natives(config));
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
