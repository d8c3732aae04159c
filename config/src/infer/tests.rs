use foldstream_model::Value;

use super::{Unclear, infer};
use crate::{Config, settings::*, unavailable};

mod parts;
mod text;

fn events(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| Value::parse(line.as_bytes()).unwrap())
        .collect()
}

/// What is inferred must be readable and available as it is.
fn inferred(lines: &str) -> (String, Config) {
    let text = infer(&events(lines), &[]).unwrap_or_else(|unclear| panic!("{unclear:#?}"));
    let config = Config::read("foldstream.yaml", &text, &|_| None).unwrap_or_else(|found| {
        panic!("{text}\n{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    });
    assert!(unavailable(&config).is_empty());
    (text, config)
}

fn unclear(lines: &str) -> Vec<Unclear> {
    infer(&events(lines), &[]).expect_err("something is unclear")
}

/// The parts as `stream_id=pk-ORDER# sequence=sk@0 …`.
fn parts(config: &Config) -> String {
    let event = &config.sources["events"].event;
    let part = |name: &str, part: Option<&Part>| {
        part.map(|part| {
            let prefix = part.strip_prefix.as_ref().map(|prefix| format!("-{prefix}")).unwrap_or_default();
            format!("{name}={}{prefix}", part.from)
        })
    };
    let payload = |name: &str, part: Option<&PayloadPart>| {
        part.map(|part| {
            let from = part.from.as_ref().map_or("*".to_owned(), ToString::to_string);
            let encoding =
                if part.encoding == Encoding::Map { String::new() } else { format!("/{:?}", part.encoding) };
            format!("{name}={from}{encoding}")
        })
    };
    let first = |sequence: &SequencePart| format!("@{}", sequence.first);
    let shown = [
        part("stream_id", Some(&event.stream_id)),
        event.sequence.as_ref().and_then(|s| Some(part("sequence", Some(&s.part))? + &first(s))),
        part("id", event.id.as_ref()),
        part("type", Some(&event.event_type)),
        part("schema_version", event.schema_version.as_ref()),
        part("recorded_at", event.recorded_at.as_ref()),
        part("effective_at", event.effective_at.as_ref()),
        payload("payload", Some(&event.payload)),
        payload("metadata", event.metadata.as_ref()),
    ];
    shown.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
