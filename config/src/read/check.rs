//! What a file says about its own parts: every name that is referred to exists.

use super::{Reader, section};
use crate::{
    diagnostic::{Place, nearest},
    settings::{Config, Name, Source, SourceKind, Start, Store},
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
    takeovers(reader, config);
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

/// Where a source begins where an application has left it, there is one.
fn takeovers(reader: &mut Reader<'_>, config: &Config) {
    let begins_so = |(_, source): &(&Name, &Source)| source.start.value == Start::LeaseTable;
    for (name, source) in config.sources.iter().filter(begins_so) {
        let help = match (&source.kind.value, &config.store) {
            (SourceKind::Kinesis { lease_table: Some(_), .. }, Store::Dynamodb { .. }) => continue,
            (SourceKind::Kinesis { lease_table: Some(_), .. }, Store::Local) => {
                "leases are in DynamoDB where the store is: add `store: { kind: dynamodb }`"
            }
            (SourceKind::Kinesis { lease_table: None, .. }, _) => {
                "add `lease_table:` with the name of the application of the Kinesis Client Library"
            }
            (SourceKind::Local { .. } | SourceKind::DynamodbStreams { .. }, _) => {
                "only a Kinesis stream has such a table; begin at TRIM_HORIZON, LATEST or AT_TIMESTAMP"
            }
        };
        let message = "there is no lease table to begin with";
        reader.at(&format!("sources.{name}.start"), |reader| reader.error(source.start.place, message, help));
    }
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
