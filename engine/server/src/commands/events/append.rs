use std::io::{self, BufReader, Read};

use bytes::Bytes;
use foldstream_model::{
    EventId, EventType, SchemaVersion, Sequence, StreamId, Timestamp, Value,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    cli::AppendEvents,
    commands::{AppendTo, Context},
    exit::{Exit, Failure, Outcome},
    import::Lines,
    output::plural,
};

/// All events of one append are held in memory, and stored in one transaction.
const MAX_EVENTS: usize = 10_000;

/// An event as it is given to `events append`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    schema_version: SchemaVersion,
    #[serde(default)]
    recorded_at: Option<Timestamp>,
    #[serde(default)]
    effective_at: Option<Timestamp>,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    metadata: Option<Box<RawValue>>,
}

pub async fn execute(arguments: AppendEvents, context: &mut Context) -> Outcome {
    let given = match arguments.event_type {
        Some(event_type) => vec![from_arguments(event_type, arguments.payload.as_deref())?],
        None => from_lines()?,
    };
    let now = context.clock.now();
    let events: Vec<_> = given.into_iter().map(|given| given.into_new(now, context.ids.unique())).collect();
    let source = arguments.source.as_deref();
    let AppendTo { events: store, .. } = context.events_to_append_to(source, arguments.dry_run).await?;
    let stream = StreamId::new(arguments.stream);
    let count = events.len() as u64;
    let begin = first_sequence(context, source);
    let expected = match arguments.expected {
        ExpectedSequence::Empty { .. } => ExpectedSequence::Empty { first: begin },
        expected => expected,
    };
    let first = append(&*store, &stream, expected, begin, events).await?;
    let last = first.0 + count - 1;
    let said = if arguments.dry_run { "would append" } else { "appended" };
    match context.output.is_json() {
        true => context.output.object(&json!({
            "stream_id": stream,
            "events": count,
            "last_sequence": last,
            "dry_run": arguments.dry_run,
        }))?,
        false => context.output.line(format!("{said} {}: {stream} #{last}", plural(count, "event")))?,
    }
    Ok(Exit::Done)
}

fn from_arguments(event_type: String, payload: Option<&str>) -> Outcome<Given> {
    let payload = match payload {
        None => None,
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::invalid(format!("standard input: {error}")))?;
            Some(text)
        }
        Some(text) => Some(text.to_owned()),
    };
    let payload = payload.map(|text| raw("the payload", &text)).transpose()?;
    let (schema_version, id) = (SchemaVersion::default(), None);
    Ok(Given {
        event_type,
        id,
        schema_version,
        recorded_at: None,
        effective_at: None,
        payload,
        metadata: None,
    })
}

fn raw(what: &str, text: &str) -> Outcome<Box<RawValue>> {
    if let Err(error) = Value::parse(text.as_bytes()) {
        return Err(Failure::invalid(format!("{what} is no JSON that can be taken: {error}")));
    }
    let raw = RawValue::from_string(text.trim().to_owned());
    raw.map_err(|error| Failure::invalid(format!("{what} is no JSON: {error}")))
}

fn from_lines() -> Outcome<Vec<Given>> {
    let mut lines = Lines::new(BufReader::new(io::stdin()));
    let mut events = Vec::new();
    let next = |error| Failure::invalid(format!("standard input: {error}"));
    while let Some(line) = lines.next_line().map_err(next)? {
        let refuse = |reason: String| {
            Failure::invalid(format!("line {}: {reason}; nothing was appended", line.number))
        };
        let text = line.text.as_deref().ok_or_else(|| refuse("longer than 16 MiB".to_owned()))?;
        Value::parse(text).map_err(|error| refuse(format!("no JSON that can be taken: {error}")))?;
        events.push(serde_json::from_slice(text).map_err(|error| refuse(error.to_string()))?);
        if events.len() > MAX_EVENTS {
            return Err(refuse(format!(
                "more than {MAX_EVENTS} events; `foldstream events import` takes any number"
            )));
        }
    }
    match events.is_empty() {
        true => Err(Failure::invalid("no TYPE was given, and standard input holds no events")),
        false => Ok(events),
    }
}

impl Given {
    fn into_new(self, now: Timestamp, unique: String) -> NewEvent {
        let bytes = |raw: Option<Box<RawValue>>| {
            raw.map(|raw| Bytes::from(raw.get().as_bytes().to_vec())).unwrap_or_default()
        };
        let recorded_at = self.recorded_at.unwrap_or(now);
        NewEvent {
            id: EventId::new(self.id.unwrap_or(unique)),
            event_type: EventType::new(self.event_type),
            schema_version: self.schema_version,
            recorded_at,
            effective_at: self.effective_at.unwrap_or(recorded_at),
            payload: bytes(self.payload),
            metadata: bytes(self.metadata),
        }
    }
}

/// The sequence that streams begin with, as the configuration has it of the source that is named, or the only one.
fn first_sequence(context: &Context, named: Option<&str>) -> Sequence {
    let config = context.config_if_any();
    let sources = config.iter().flat_map(|config| &config.sources);
    let meant = sources.filter(|(name, _)| named.is_none_or(|named| name.as_str() == named));
    let sources: Vec<_> = meant.map(|(_, source)| source).collect();
    match sources[..] {
        [source] => Sequence(source.event.sequence.as_ref().map_or(1, |sequence| sequence.first)),
        _ => Sequence(1),
    }
}

/// Appends, and says the first event's sequence.
async fn append(
    store: &dyn EventStore,
    stream: &StreamId,
    expected: ExpectedSequence,
    begin: Sequence,
    events: Vec<NewEvent>,
) -> Outcome<Sequence> {
    loop {
        let last = store.last_sequences(std::slice::from_ref(stream)).await?.first().copied().flatten();
        let stands = match last {
            Some(last) => ExpectedSequence::Last(last),
            None => ExpectedSequence::Empty { first: begin },
        };
        if expected != ExpectedSequence::Any && expected != stands {
            return Err(Failure::failed(conflict(stream, last)));
        }
        let append = Append { stream: stream.clone(), expected: stands, events: events.clone() };
        if let Appended::Done(_) = store.append(vec![append]).await? {
            return Ok(last.and_then(Sequence::next).unwrap_or(begin));
        }
    }
}

fn conflict(stream: &StreamId, last: Option<Sequence>) -> String {
    match last {
        Some(last) => format!(
            "stream {stream} is not where it was expected: its last event is #{last}; nothing was appended"
        ),
        None => {
            format!("stream {stream} is not where it was expected: it has no events; nothing was appended")
        }
    }
}
