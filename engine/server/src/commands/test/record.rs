use std::fs;

use foldstream_config::{Config, settings::Name};
use foldstream_declarative::Compiled;
use foldstream_model::{Sequence, StreamId, ports::EventStore};

use super::append;
use crate::{
    commands::Context,
    exit::{Exit, Failure, Outcome},
    output::plural,
    testing,
};

/// A test of more events is read by nobody.
const MAX_EVENTS: usize = 1_000;

/// Writes a test from a stream's events, and what they come to now.
pub async fn execute(
    stream: &str,
    write: bool,
    config: &Config,
    compiled: &Compiled,
    context: &mut Context,
) -> Outcome {
    let source = only_source(config)?;
    let events = context.local_to_read()?.events();
    let events = events.read_stream(&StreamId::new(stream), Sequence(0), MAX_EVENTS + 1).await?;
    if events.is_empty() {
        return Err(Failure::failed(format!(
            "there is no stream {stream}; `foldstream events tail` shows some"
        )));
    }
    if events.len() > MAX_EVENTS {
        return Err(Failure::failed(format!(
            "stream {stream} has more than {MAX_EVENTS} events, too many for a test"
        )));
    }
    let name = format!("what {stream} comes to");
    let entry = testing::record(config, compiled, source, &name, &events)?;
    if !write {
        context.output.bytes(entry.as_bytes())?;
        return Ok(Exit::Done);
    }
    let file = context.global.config.clone();
    let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, &error))?;
    let by_hand = || Failure::failed("the test could not be fitted into the file; paste it without --write");
    let longer = append::entry(&text, &entry).ok_or_else(by_hand)?;
    let read = Config::read(&file.display().to_string(), &longer, &|name| std::env::var(name).ok());
    if read.ok().is_none_or(|read| read.tests.len() != config.tests.len() + 1) {
        return Err(by_hand());
    }
    fs::write(&file, longer).map_err(|error| Failure::file(&file, &error))?;
    let events = plural(events.len() as u64, "event");
    context.output.line(format!("added the test `{name}`, of {events}, to {}", file.display()))?;
    Ok(Exit::Done)
}

fn only_source(config: &Config) -> Outcome<&Name> {
    match config.sources.keys().collect::<Vec<_>>()[..] {
        [source] => Ok(source),
        _ => Err(Failure::invalid("a test can be recorded only from a configuration with one source")),
    }
}
