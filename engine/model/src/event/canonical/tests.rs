use proptest::prelude::*;

use super::*;
use crate::Error;

/// JSON as somebody may have written it: with blanks, escapes, and names that come twice.
fn json() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        r#""([ -!#-\[\]-~äß√]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,20}""#,
    ];
    simple.prop_recursive(4, 40, 5, |inner| {
        let blank = || "[ \n\t\r]{0,2}";
        let item = (blank(), inner.clone(), blank()).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
        let field = (blank(), r#""([a-c]|\\n|\\"){0,2}""#, blank(), inner)
            .prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(item, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(field, 0..5).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    })
}

prop_compose! {
    fn event(id: &'static str)(
        texts in ["[a-z0-9-]{0,30}", id, "[A-Za-z.]{1,30}"],
        numbers in (any::<u64>(), any::<u32>()),
        times in (any::<i64>(), prop::option::of(any::<i64>())),
        payload in prop::option::of(json()),
        metadata in prop::option::of(json()),
    ) -> Event {
        let [stream_id, id, event_type] = texts;
        let recorded_at = Timestamp::from_micros(times.0);
        let payload_of = |json: Option<String>| Payload::new(json.unwrap_or_default().into());
        Event {
            stream_id: StreamId::new(stream_id),
            sequence: Sequence(numbers.0),
            id: EventId::new(id),
            event_type: EventType::new(event_type),
            schema_version: SchemaVersion(numbers.1),
            recorded_at,
            effective_at: times.1.map_or(recorded_at, Timestamp::from_micros),
            payload: payload_of(payload),
            metadata: payload_of(metadata),
        }
    }
}

/// A byte put in, left out or replaced.
fn damage() -> impl Strategy<Value = (prop::sample::Index, u8, Option<u8>)> {
    let byte = prop_oneof![prop::sample::select(br#"{}[]:,"\u0123e+-.ntrf "#.to_vec()), any::<u8>()];
    (any::<prop::sample::Index>(), 0u8..3, prop::option::weighted(0.9, byte))
}

/// The fields of one mask are read of every event.
#[derive(Debug)]
struct All(FieldMask);

impl PayloadReads for All {
    fn of(&self, _event_type: &EventType) -> Option<&FieldMask> {
        Some(&self.0)
    }
}

/// Names of which [`json`] makes fields.
fn mask() -> impl Strategy<Value = All> {
    let paths = prop::collection::vec("[a-c\n\"]{1,2}(\\.[a-c]{1,2})?", 0..4);
    let fields = paths.prop_map(|paths| {
        let mut mask = FieldMask::NONE;
        paths.iter().for_each(|path| mask.insert(&path.parse().unwrap()));
        mask
    });
    prop_oneof![fields, Just(FieldMask::ALL)].prop_map(All)
}

fn shown(event: Result<Event, Error>) -> Option<String> {
    event.ok().map(|event| format!("{event:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn whatever_is_read_the_general_way_reads_alike(
        event in event("[ -~é√]{0,30}"),
        damages in prop::collection::vec(damage(), 0..4),
        mask in mask(),
    ) {
        let Ok(mut envelope) = event.to_envelope() else { return Ok(()) };
        for (index, how, byte) in damages {
            let at = index.index(envelope.len());
            match (how, byte) {
                (0, _) | (_, None) => { envelope.remove(at); }
                (1, Some(byte)) => envelope.insert(at, byte),
                (_, Some(byte)) => envelope[at] = byte,
            }
        }
        let envelope = Bytes::from(envelope);
        if let Some(event) = read(&envelope, &()) {
            prop_assert_eq!(shown(Ok(event)), shown(Event::from_any_envelope(&envelope)));
        }
        if let Some(event) = read(&envelope, &mask) {
            let mut later = Event::from_any_envelope(&envelope).unwrap();
            later.payload.parse(&mask.0).unwrap();
            prop_assert_eq!(&event.payload.value, &later.payload.value);
            prop_assert_eq!(shown(Ok(event)), shown(Ok(later)));
        }
    }

    #[test]
    fn what_is_written_without_escapes_is_read_in_one_pass(
        event in event("[ !#-\\[\\]-~é√]{0,30}"),
        sequence in 1u64..,
        version in 1u32..,
        mask in mask(),
    ) {
        let event = Event { sequence: Sequence(sequence), schema_version: SchemaVersion(version), ..event };
        prop_assume!([&event.payload, &event.metadata].iter().all(|payload| payload.raw != "null"));
        let envelope = Bytes::from(event.to_envelope().unwrap());
        prop_assert_eq!(read(&envelope, &()).map(|event| format!("{event:?}")), Some(format!("{event:?}")));
        let mut later = event.clone();
        if later.payload.parse(&mask.0).is_ok() {
            let at_once = read(&envelope, &mask).unwrap();
            prop_assert_eq!(at_once.payload.value, later.payload.value);
        }
    }
}

fn envelope_of(payload: &str) -> Bytes {
    let event = r#""stream_id":"s","sequence":1,"id":"e","type":"T","schema_version":1"#;
    format!(r#"{{{event},"recorded_at":"2026-11-21T17:00:00.000000Z","payload":{payload}}}"#).into()
}

#[test]
fn what_is_no_json_is_not_read() {
    for payload in [
        "",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nul",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\u123""#,
        "\"\t\"",
        "\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1",
        "[1}",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        "{1:1}",
        r#"{"a":1]"#,
        "1 1",
    ] {
        let envelope = envelope_of(payload);
        assert!(read(&envelope, &()).is_none(), "{payload}");
        assert_eq!(
            Event::from_envelope(&envelope).unwrap_err().kind(),
            crate::ErrorKind::Poison,
            "{payload}"
        );
    }
}

#[test]
fn what_is_nested_deeper_than_a_word_has_bits_is_passed_over_as_well() {
    for depth in [63, 64, 65, 128, 129, 1_000] {
        let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        for json in [&lists, &objects] {
            assert!(read(&envelope_of(json), &()).is_some(), "{json}");
            assert!(Event::from_any_envelope(&envelope_of(json)).is_ok(), "{json}");
            assert!(read(&envelope_of(json.get(..json.len() - 1).unwrap()), &()).is_none(), "{json}");
        }
        assert!(
            read(&envelope_of(&format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth))), &())
                .is_some()
        );
        assert!(
            read(&envelope_of(&format!("{}1{}", "[{\"a\":".repeat(depth), "]}".repeat(depth))), &())
                .is_none()
        );
    }
}
