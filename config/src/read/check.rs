//! What a file says about its own parts: every name that is referred to exists.

use super::{Reader, section};
use crate::{
    diagnostic::{Place, nearest},
    settings::{Config, Name},
    yaml::Node,
};

/// The names as they stand in the file, so that a section's own mistakes are not reported as missing names too.
struct Declared {
    sources: Vec<Name>,
    sinks: Vec<Name>,
    reducers: Vec<Name>,
    projections: Vec<Name>,
}

pub(super) fn references(reader: &mut Reader<'_>, config: &Config, root: &Node) {
    let declared = Declared {
        sources: section::names(root, "sources"),
        sinks: section::names(root, "sinks"),
        reducers: section::names(root, "reducers"),
        projections: section::names(root, "projections"),
    };
    for (name, projection) in &config.projections {
        let path = format!("projections.{name}");
        let source = &projection.source;
        known(reader, "source", &declared.sources, source, source.place, &format!("{path}.source"));
        if let Some(sink) = &projection.sink {
            known(reader, "sink", &declared.sinks, sink, sink.place, &format!("{path}.sink"));
        }
        if let Some(reducer) = &projection.reducer {
            known(reader, "reducer", &declared.reducers, reducer, reducer.place, &format!("{path}.reducer"));
        }
    }
    tests(reader, config, &declared);
}

fn tests(reader: &mut Reader<'_>, config: &Config, declared: &Declared) {
    for (index, test) in config.tests.iter().enumerate() {
        let path = format!("tests[{index}]");
        for (index, event) in test.given.iter().enumerate() {
            let path = format!("{path}.given[{index}]");
            match &event.source {
                Some(source) => {
                    known(
                        reader,
                        "source",
                        &declared.sources,
                        source,
                        source.place,
                        &format!("{path}.source"),
                    );
                }
                None if declared.sources.len() > 1 => {
                    let help = format!("add `source:`, one of {}", join(&declared.sources));
                    let message = "it is not clear from which source this event comes";
                    reader.at(&path, |reader| reader.error(event.stream_id.place, message, help));
                }
                None => {}
            }
        }
        let expected = test.expect.iter().map(|expected| &expected.document);
        for document in expected.chain(&test.parked) {
            let path = format!("{path}.{}/{}", document.projection, document.key);
            known(reader, "projection", &declared.projections, &document.projection, document.place, &path);
        }
    }
}

fn known(reader: &mut Reader<'_>, what: &str, declared: &[Name], name: &str, place: Place, path: &str) {
    if declared.iter().any(|known| known.as_str() == name) {
        return;
    }
    let help = match nearest(name, declared.iter().map(Name::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if declared.is_empty() => format!("add it under `{what}s:`"),
        None => format!("add it under `{what}s:`, or use one of {}", join(declared)),
    };
    reader.at(path, |reader| reader.error(place, format!("there is no {what} `{name}`"), help));
}

fn join(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
