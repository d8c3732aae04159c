//! What the file format knows and this version has not.

use crate::{
    diagnostic::{Diagnostic, Place},
    settings::{Config, Gaps, OnModify, OnRemove, Projector, Source, SourceKind},
};

/// Everything in what could be read of a file that this version cannot do, kinds of sources and sinks aside,
/// which are refused as they are read, as errors, in the order of the file's lines.
pub fn unavailable(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut refuse = |place: Place, path: String, what: &str, help: &str| {
        let message = format!("{what} is not available in this version");
        found.push(config.file.error(place, path, message).with_help(help));
    };
    for (name, source) in &config.sources {
        check_source(&format!("sources.{name}"), source, &mut refuse);
    }
    for (name, projection) in &config.projections {
        if let Projector::Wasm(module) = &projection.projector {
            let help = "write `handlers:`, or register a native projector";
            refuse(module.place, format!("projections.{name}.projector"), "a projector in WebAssembly", help);
        }
    }
    found.sort_by_key(|diagnostic| diagnostic.place);
    found
}

fn check_source(path: &str, source: &Source, refuse: &mut impl FnMut(Place, String, &str, &str)) {
    let is_local = matches!(source.kind.value, SourceKind::Local { .. });
    if is_local {
        check_local(path, source, refuse);
    }
    // Items that are imported were never changed.
    let modify = match source.on_modify.value {
        OnModify::Redact if is_local => Some("`on_modify: redact` of a local source"),
        OnModify::Park if is_local => Some("`on_modify: park` of a local source"),
        _ => None,
    };
    let remove = source.on_remove.value == OnRemove::Park && is_local;
    let remove = remove.then_some("`on_remove: park` of a local source");
    let choices = [
        (modify, source.on_modify.place, "on_modify", "use `ignore`"),
        (remove, source.on_remove.place, "on_remove", "use `ignore`"),
    ];
    for (what, place, field, help) in choices {
        if let Some(what) = what {
            refuse(place, format!("{path}.{field}"), what, help);
        }
    }
}

/// What cannot be kept of lines that are imported into the embedded event store.
fn check_local(path: &str, source: &Source, refuse: &mut impl FnMut(Place, String, &str, &str)) {
    let event = &source.event;
    if let Some(sequence) = event.sequence.as_ref().filter(|sequence| sequence.gaps == Gaps::Allow) {
        let help = "leave `sequence` out: events are then numbered in the order in which they are imported";
        refuse(
            sequence.part.place,
            format!("{path}.event.sequence.gaps"),
            "`gaps: allow` of a local source",
            help,
        );
    }
}
