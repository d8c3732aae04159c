use std::io::Write;
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use foldstream_config::Config;
use foldstream_model::ports::Decoder;
use foldstream_model::{Error, ErrorKind, Event, Position, Record, Timestamp};

use super::MappedDecoder;
use crate::compile::compile;

fn decoder(source: &str) -> Arc<MappedDecoder> {
    let text = format!(
        "config_version: 1\nsources:\n  s:\n    kind: local\n{source}projections:\n  p: {{ version: 1, source: s, ordering: per_stream, handlers: [ {{ event: A, key: k, set: {{ a: 1 }} }} ] }}\n"
    );
    let config =
        Config::read("foldstream.yaml", &text, &|_| None).unwrap_or_else(|found| panic!("{}", found[0]));
    let compiled = compile(&config).unwrap_or_else(|found| panic!("{}", found[0]));
    Arc::clone(compiled.decoders.values().next().unwrap())
}

fn table() -> Arc<MappedDecoder> {
    decoder(
        "    include: =item.pk.startsWith(\"ORDER#\")
    event:
      stream_id: { from: pk, strip_prefix: \"ORDER#\" }
      sequence: { from: sk, strip_prefix: \"EVENT#\", first: 0 }
      type: { from: meta.eventType }
      schema_version: { from: eventVersion, default: 1 }
      recorded_at: { from: createdAt }
      payload: { from: data, encoding: json }
      metadata: { from: meta }
",
    )
}

fn decode(decoder: &MappedDecoder, data: &str) -> Result<Option<Event>, Error> {
    let record = Record {
        position: Position::new(1),
        partition_key: Arc::from("k"),
        arrived_at: Timestamp::from_seconds(9),
        data: Bytes::copy_from_slice(data.as_bytes()),
    };
    decoder.decode(&record, &())
}

#[test]
fn an_item_of_a_table_becomes_an_event() {
    let item = r#"{"pk":"ORDER#o-1","sk":"EVENT#0007","meta":{"eventType":"Placed","user":"u"},"createdAt":"2026-01-01T00:00:00Z",
        "data":"{\"price\":4.50}"}"#;
    let event = decode(&table(), item).unwrap().unwrap();
    assert_eq!((event.stream_id.as_str(), event.sequence.0, event.id.as_str()), ("o-1", 7, "o-1/7"));
    assert_eq!((event.event_type.as_str(), event.schema_version.0), ("Placed", 1));
    assert_eq!(event.recorded_at, Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
    assert_eq!(event.effective_at, event.recorded_at);
    assert_eq!(&event.payload.raw[..], br#"{"price":4.50}"#);
    assert_eq!(&event.metadata.raw[..], br#"{"eventType":"Placed","user":"u"}"#);
}

#[test]
fn what_is_not_included_is_no_event() {
    assert!(decode(&table(), r#"{"pk":"CUSTOMER#1"}"#).unwrap().is_none());
}

#[test]
fn an_item_that_should_be_an_event_and_is_none_is_poison_that_says_why() {
    for (item, message) in [
        ("[]", "part=record: it is a list, not an object"),
        ("{", "part=record"),
        (r#"{"pk":"ORDER#o","sk":"7"}"#, "part=sequence: the field sk does not begin with \"EVENT#\""),
        (r#"{"pk":"ORDER#o","sk":"EVENT#-7"}"#, "the field sk is \"-7\", not a whole number from 0 on"),
        (r#"{"pk":"ORDER#","sk":"EVENT#7"}"#, "part=stream_id: the field pk is empty"),
        (r#"{"pk":"ORDER#o","sk":"EVENT#7"}"#, "part=type: there is no field meta.eventType"),
        (r#"{"pk":"ORDER#o","sk":"EVENT#7","meta":{"eventType":"A"},"createdAt":"now"}"#, "part=recorded_at"),
        (
            r#"{"pk":"ORDER#o","sk":"EVENT#7","meta":{"eventType":"A"},"data":{}}"#,
            "part=payload: the field data is an object",
        ),
        (
            r#"{"pk":"ORDER#o","sk":"EVENT#7","meta":{"eventType":"A"},"eventVersion":0}"#,
            "part=schema_version",
        ),
    ] {
        let error = decode(&table(), item).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poison, "{error}");
        assert!(error.message().contains(message), "{item}: {error}");
    }
}

#[test]
fn a_payload_of_all_other_fields_leaves_out_what_is_mapped() {
    let decoder =
        decoder("    event: { stream_id: id, type: t, sequence: n, recorded_at: at, payload: \"*\" }\n");
    let event = decode(&decoder, r#"{"t":"A","b":1.50,"id":5,"n":"3","at":1767225600000,"a":{"x":[]}}"#)
        .unwrap()
        .unwrap();
    assert_eq!(&event.payload.raw[..], br#"{"a":{"x":[]},"b":1.50}"#);
    assert_eq!((event.stream_id.as_str(), event.sequence.0), ("5", 3));
    assert_eq!(event.recorded_at, Timestamp::from_seconds(1_767_225_600));
}

#[test]
fn what_is_not_mapped_has_its_default() {
    let decoder = decoder("    event: { stream_id: id, type: t, sequence: n, payload: p.q }\n");
    let event = decode(&decoder, r#"{"t":"A","id":"x","n":1,"p":{"q":{"a" : 1}}}"#).unwrap().unwrap();
    assert_eq!(event.recorded_at, Timestamp::from_seconds(9));
    assert_eq!(&event.payload.raw[..], br#"{"a" : 1}"#);
    assert!(event.metadata.raw.is_empty());
    let absent = decode(&decoder, r#"{"t":"A","id":"x","n":1}"#).unwrap().unwrap();
    assert!(absent.payload.raw.is_empty());
    let error = decode(&decoder, r#"{"t":"A","id":"x","n":1,"p":{"q":"{}"}}"#).unwrap_err();
    assert!(error.message().contains("is its encoding `json`?"), "{error}");
}

fn packed(encoding: &str) -> Arc<MappedDecoder> {
    decoder(&format!(
        "    event: {{ stream_id: id, type: t, sequence: n, payload: {{ from: p, encoding: {encoding} }} }}\n"
    ))
}

fn field(bytes: &[u8]) -> String {
    format!(r#"{{"t":"A","id":"x","n":1,"p":"{}"}}"#, BASE64_STANDARD.encode(bytes))
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_payload_of_bytes_or_gzipped_is_unpacked_as_it_was_written() {
    let json = br#"{"price" : 4.50}"#;
    let event = decode(&packed("binary"), &field(json)).unwrap().unwrap();
    assert_eq!(&event.payload.raw[..], json);
    let event = decode(&packed("gzip"), &field(&gzipped(json))).unwrap().unwrap();
    assert_eq!(&event.payload.raw[..], json);
    let (first, second) = json.split_at(5);
    let members = [gzipped(first), gzipped(second)].concat();
    let event = decode(&packed("gzip"), &field(&members)).unwrap().unwrap();
    assert_eq!(&event.payload.raw[..], json);
    let absent = decode(&packed("gzip"), r#"{"t":"A","id":"x","n":1,"p":null}"#).unwrap().unwrap();
    assert!(absent.payload.raw.is_empty());
}

#[test]
fn broken_bytes_and_bombs_are_poison_that_says_why() {
    let whole = gzipped(br#"{"price":4.50}"#);
    let mut flipped = whole.clone();
    let sum = flipped.len() - 6;
    flipped[sum] ^= 1;
    let most = usize::try_from(super::unpack::MAX_UNPACKED_BYTES).unwrap();
    for (encoding, item, message) in [
        ("binary", r#"{"t":"A","id":"x","n":1,"p":"{}"}"#.to_owned(), "the field p holds no base64"),
        ("binary", field(b"{"), "the field p holds no JSON"),
        ("binary", field(&whole), "the field p holds no JSON"),
        ("binary", r#"{"t":"A","id":"x","n":1,"p":{"a":1}}"#.to_owned(), "is an object, not bytes in base64"),
        ("gzip", field(b"{}"), "the field p holds no gzip"),
        ("gzip", field(&whole[..whole.len() - 9]), "the field p holds no gzip"),
        ("gzip", field(&flipped), "the field p holds no gzip"),
        ("gzip", field(&gzipped(b"{")), "the field p holds no JSON"),
        ("gzip", field(&gzipped(&vec![b' '; most + 1])), "the field p unpacks to more than 16777216 bytes"),
    ] {
        let error = decode(&packed(encoding), &item).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poison, "{error}");
        assert!(error.message().contains(message), "{item:.60}: {error}");
    }
    let full = [b"[".as_slice(), &vec![b' '; most - 2], b"]"].concat();
    assert_eq!(decode(&packed("gzip"), &field(&gzipped(&full))).unwrap().unwrap().payload.raw.len(), most);
}
