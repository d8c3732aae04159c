use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use foldstream_config::{
    Config, Diagnostic,
    settings::{Encoding, EventMapping, Gaps, Name, Part, PayloadPart, SequencePart, Source},
};
use foldstream_declarative::{MappedDecoder, compile, decoder::Parts};
use foldstream_model::{Path, Sequence, Value};

use crate::cli::{MapPart, MappedPart};

/// Where the parts of an event are found in a line.
pub struct Mapping {
    decoder: Arc<MappedDecoder>,
    first: Sequence,
}

/// Why there is no mapping.
pub enum Unusable {
    Because(String),
    Mistaken(Vec<Diagnostic>),
}

impl Mapping {
    /// The mapping of a source, with parts that were given on the command line in place of its own.
    pub fn of_source(
        config: &Config,
        name: &Name,
        source: &Source,
        given: &[MapPart],
    ) -> Result<Self, Unusable> {
        let mut source = source.clone();
        set_all(&mut source.event, given)?;
        let mapping = source.event.clone();
        let alone = Config {
            sources: BTreeMap::from([(name.clone(), source)]),
            sinks: BTreeMap::new(),
            reducers: BTreeMap::new(),
            projections: BTreeMap::new(),
            tests: Vec::new(),
            ..config.clone()
        };
        let mut compiled = compile(&alone).map_err(Unusable::Mistaken)?;
        match compiled.decoders.remove(name) {
            Some(decoder) => Self::new(&mapping, decoder),
            None => Err(Unusable::Because(format!("the source {name} has no mapping"))),
        }
    }

    /// Without a source: the parts that were given, or, if there are none, the envelope that `events read` prints.
    pub fn plain(given: &[MapPart]) -> Result<Self, Unusable> {
        let mut mapping = EventMapping::default();
        if !given.is_empty() {
            mapping = only_what_is_needed(mapping);
        }
        set_all(&mut mapping, given)?;
        let decoder = Arc::new(MappedDecoder::of_all(mapping.clone()));
        Self::new(&mapping, decoder)
    }

    fn new(mapping: &EventMapping, decoder: Arc<MappedDecoder>) -> Result<Self, Unusable> {
        let sequence = mapping.sequence.as_ref();
        if sequence.is_some_and(|sequence| sequence.gaps == Gaps::Allow) {
            return Err(Unusable::Because(
                "streams with gaps cannot be imported; leave `sequence` out of the mapping, and events are numbered in the \
                 order in which they come"
                    .to_owned(),
            ));
        }
        Ok(Self { decoder, first: Sequence(sequence.map_or(1, |sequence| sequence.first)) })
    }

    /// The sequence of a stream's first event.
    pub fn first(&self) -> Sequence {
        self.first
    }

    /// The event of a line, none if it is not meant to be one, or what is wrong with it.
    pub fn read(&self, text: &Bytes) -> Result<Option<Parts>, String> {
        if let Err(error) = Value::parse(text) {
            return Err(format!("not JSON that can be taken: {} (column {})", error.message, error.column));
        }
        let parts = self.decoder.parts(text).map_err(|error| error.message().to_owned())?;
        for (name, payload) in
            parts.iter().flat_map(|parts| [("payload", &parts.payload), ("metadata", &parts.metadata)])
        {
            match Value::parse(payload) {
                _ if payload.is_empty() => {}
                Ok(Value::Map(_)) => {}
                Ok(other) => {
                    return Err(format!("not an event: part={name}: it is {}, not an object", other.kind()));
                }
                Err(error) => return Err(format!("not an event: part={name}: it holds no JSON: {error}")),
            }
        }
        Ok(parts)
    }
}

/// A mapping that was given by hand has no part that was not named.
fn only_what_is_needed(mapping: EventMapping) -> EventMapping {
    EventMapping {
        sequence: None,
        id: None,
        schema_version: None,
        recorded_at: None,
        effective_at: None,
        metadata: None,
        ..mapping
    }
}

fn set_all(mapping: &mut EventMapping, given: &[MapPart]) -> Result<(), Unusable> {
    given.iter().try_for_each(|MapPart { part, field }| set(mapping, *part, field)).map_err(Unusable::Because)
}

fn set(mapping: &mut EventMapping, part: MappedPart, field: &str) -> Result<(), String> {
    let place = mapping.place;
    if part == MappedPart::Payload && field == "*" {
        mapping.payload = PayloadPart { place, from: None, encoding: Encoding::Map };
        return Ok(());
    }
    let from: Path =
        field.parse().map_err(|_| format!("`{field}` is no field, nor a path such as order.id"))?;
    let payload = |from| PayloadPart { place, from: Some(from), encoding: Encoding::Map };
    let scalar = |from| Part { place, from, strip_prefix: None, default: None };
    match part {
        MappedPart::StreamId => mapping.stream_id = scalar(from),
        MappedPart::Sequence => {
            let first = mapping.sequence.as_ref().map_or(1, |sequence| sequence.first);
            mapping.sequence = Some(SequencePart { part: scalar(from), first, gaps: Gaps::Refuse });
        }
        MappedPart::Id => mapping.id = Some(scalar(from)),
        MappedPart::Type => mapping.event_type = scalar(from),
        MappedPart::SchemaVersion => mapping.schema_version = Some(scalar(from)),
        MappedPart::RecordedAt => mapping.recorded_at = Some(scalar(from)),
        MappedPart::EffectiveAt => mapping.effective_at = Some(scalar(from)),
        MappedPart::Payload => mapping.payload = payload(from),
        MappedPart::Metadata => mapping.metadata = Some(payload(from)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(given: &[&str]) -> Mapping {
        let given: Vec<MapPart> = given.iter().map(|map| map.parse().unwrap()).collect();
        Mapping::plain(&given).ok().unwrap()
    }

    fn read(mapping: &Mapping, line: &'static str) -> Result<Option<Parts>, String> {
        mapping.read(&Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn an_envelope_needs_no_mapping() {
        let line = r#"{"stream_id":"o-1","sequence":3,"type":"Placed","recorded_at":"2026-11-21T17:00:00Z",
            "payload":{"price":4.50},"metadata":{"by":"a"}}"#;
        let event = read(&mapping(&[]), line).unwrap().unwrap();
        assert_eq!((event.stream_id.as_str(), event.sequence), ("o-1", Some(Sequence(3))));
        assert_eq!(event.payload, &br#"{"price":4.50}"#[..]);
    }

    #[test]
    fn all_other_fields_can_be_the_payload() {
        let mapping = mapping(&["stream_id=order.id", "type=kind", "payload=*"]);
        let line = r#"{"order":{"id":7,"x":1},"kind":"Paid","sum":10.0,"who":"a"}"#;
        let event = read(&mapping, line).unwrap().unwrap();
        assert_eq!((event.stream_id.as_str(), event.sequence), ("7", None));
        assert_eq!(event.payload, &br#"{"sum":10.0,"who":"a"}"#[..]);
    }

    #[test]
    fn what_a_line_lacks_is_named() {
        let mapping = mapping(&["stream_id=id", "type=t", "sequence=n", "recorded_at=at"]);
        for (line, said) in [
            (r#"{"t":"A","n":1}"#, "part=stream_id: there is no field id"),
            (r#"{"id":"a","t":"A","n":-1}"#, "part=sequence"),
            (r#"{"id":"a","t":"A","n":1,"at":"yesterday"}"#, "part=recorded_at"),
            (r#"{"id":"a","t":"A","n":1,"payload":[1]}"#, "part=payload"),
            (r#"{"id":"a","t":"A","n":1,"payload":{"x":1,"x":2}}"#, "not JSON that can be taken"),
        ] {
            let error = read(&mapping, line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
