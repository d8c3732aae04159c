//! Samples as teams and event stores write them, and the parts that are found in them.

use super::*;

fn assert_parts(lines: &str, expected: &str) {
    let (text, config) = inferred(lines);
    assert_eq!(parts(&config), expected, "{text}");
}

#[test]
fn the_envelope_of_the_embedded_store() {
    assert_parts(
        include_str!("../../../examples/orders.ndjson"),
        "stream_id=stream_id sequence=sequence@1 type=type recorded_at=recorded_at payload=payload",
    );
}

#[test]
fn a_table_with_composite_keys_and_numbers_as_padded_text() {
    assert_parts(
        r#"{"pk":"ORDER#77","sk":"EVENT#000","eventType":"OrderPlaced","eventVersion":1,"createdAt":"2026-01-01T10:00:00Z","data":"{\"customerId\":\"c-1\",\"total\":12.50}"}
{"pk":"ORDER#77","sk":"EVENT#001","eventType":"OrderPaid","eventVersion":1,"createdAt":"2026-01-01T10:05:00Z","data":"{\"method\":\"card\"}"}
{"pk":"ORDER#78","sk":"EVENT#000","eventType":"OrderPlaced","eventVersion":2,"createdAt":"2026-01-01T11:00:00Z","data":"{\"customerId\":\"c-2\",\"total\":3}"}"#,
        "stream_id=pk-ORDER# sequence=sk-EVENT#@0 type=eventType schema_version=eventVersion recorded_at=createdAt payload=data/Json",
    );
}

#[test]
fn an_event_store_with_camel_case_and_metadata() {
    assert_parts(
        r#"{"eventId":"0a","streamId":"account-1","eventNumber":0,"eventType":"AccountOpened","created":"2026-02-01T00:00:00.123Z","data":{"owner":"Ada"},"metadata":{"correlationId":"x"}}
{"eventId":"0b","streamId":"account-1","eventNumber":1,"eventType":"MoneyDeposited","created":"2026-02-01T00:01:00Z","data":{"amount":"10.00"},"metadata":{"correlationId":"y"}}
{"eventId":"0c","streamId":"account-2","eventNumber":0,"eventType":"AccountOpened","created":"2026-02-01T00:02:00Z","data":{"owner":"Bo"},"metadata":{"correlationId":"z"}}"#,
        "stream_id=streamId sequence=eventNumber@0 id=eventId type=eventType recorded_at=created payload=data metadata=metadata",
    );
}

#[test]
fn flat_events_with_the_payload_beside_the_envelope() {
    assert_parts(
        r#"{"aggregate_id":"u1","version":1,"type":"user.registered","occurred_at":1767225600000,"email":"a@b.c","plan":"free"}
{"aggregate_id":"u1","version":2,"type":"user.upgraded","occurred_at":1767225700000,"plan":"pro","due_date":"2026-05-01"}
{"aggregate_id":"u2","version":1,"type":"user.registered","occurred_at":1767225800000,"email":"d@e.f","plan":"free"}"#,
        "stream_id=aggregate_id sequence=version@1 type=type recorded_at=occurred_at payload=*",
    );
}

#[test]
fn nested_envelopes() {
    assert_parts(
        r#"{"meta":{"aggregate":{"id":"inv-1","type":"Invoice"},"seq":"1","at":"2026-03-01T08:00:00+01:00"},"event":{"name":"InvoiceIssued","body":{"amount":100}}}
{"meta":{"aggregate":{"id":"inv-1","type":"Invoice"},"seq":"2","at":"2026-03-01T09:00:00+01:00"},"event":{"name":"InvoicePaid","body":{"amount":100,"by":"sepa"}}}
{"meta":{"aggregate":{"id":"inv-2","type":"Invoice"},"seq":"1","at":"2026-03-01T10:00:00+01:00"},"event":{"name":"InvoiceIssued","body":{"amount":7}}}"#,
        "stream_id=meta.aggregate.id sequence=meta.seq@1 type=event.name recorded_at=meta.at payload=event.body metadata=meta",
    );
}

#[test]
fn cloud_events_with_a_subject_and_no_sequence() {
    assert_parts(
        r#"{"specversion":"1.0","id":"e1","source":"/shop","type":"com.shop.cart.created","subject":"cart/1","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"user":"u"}}
{"specversion":"1.0","id":"e2","source":"/shop","type":"com.shop.cart.itemAdded","subject":"cart/1","time":"2026-01-01T00:00:01Z","datacontenttype":"application/json","data":{"sku":"s","qty":2}}
{"specversion":"1.0","id":"e3","source":"/shop","type":"com.shop.cart.created","subject":"cart/2","time":"2026-01-01T00:00:02Z","datacontenttype":"application/json","data":{"user":"v"}}"#,
        "stream_id=subject-cart/ id=e_id type=type recorded_at=time payload=data"
            .replace("e_id", "id")
            .as_str(),
    );
}

#[test]
fn a_position_across_all_streams_is_no_sequence() {
    let lines = r#"{"position":101,"orderId":7,"event":"OrderPlaced","payload":{"a":1}}
{"position":102,"orderId":8,"event":"OrderPlaced","payload":{"a":2}}
{"position":103,"orderId":7,"event":"OrderShipped","payload":{"b":null}}
{"position":104,"orderId":8,"event":"OrderShipped","payload":{"b":3}}"#;
    assert_parts(lines, "stream_id=orderId type=event payload=payload");
    assert!(inferred(lines).0.contains("# sequence: `position` leaves numbers out inside of streams"));
}

#[test]
fn without_an_envelope_the_id_is_found_by_what_the_types_speak_of() {
    assert_parts(
        r#"{"detail-type":"Booking Made","detail":{"bookingId":"b1","guestId":"g1","nights":2},"time":"2026-01-01T00:00:00Z","id":"1"}
{"detail-type":"Booking Paid","detail":{"bookingId":"b1","guestId":"g1","amount":200.10},"time":"2026-01-02T00:00:00Z","id":"2"}
{"detail-type":"Booking Made","detail":{"bookingId":"b2","guestId":"g1","nights":1},"time":"2026-01-03T00:00:00Z","id":"3"}"#,
        "stream_id=detail.bookingId id=id type=detail-type recorded_at=time payload=detail",
    );
}

#[test]
fn an_id_that_repeats_is_the_stream_and_not_the_event() {
    assert_parts(
        r#"{"id":"t1","seq":1,"kind":"TaskCreated","props":{"title":"x"}}
{"id":"t1","seq":2,"kind":"TaskDone","props":{}}
{"id":"t2","seq":1,"kind":"TaskCreated","props":{"title":"y"}}"#,
        "stream_id=id sequence=seq@1 type=kind payload=props",
    );
}

#[test]
fn a_schema_version_is_told_from_a_sequence_by_what_it_does() {
    assert_parts(
        r#"{"aggregateId":"a","sequenceNumber":1,"version":1,"type":"A","payload":{}}
{"aggregateId":"a","sequenceNumber":2,"version":1,"type":"B","payload":{}}
{"aggregateId":"b","sequenceNumber":1,"version":2,"type":"A","payload":{}}"#,
        "stream_id=aggregateId sequence=sequenceNumber@1 type=type schema_version=version payload=payload",
    );
}

#[test]
fn two_fields_on_a_par_are_an_error_that_names_the_flag() {
    let found = unclear(
        r#"{"aggregateId":"a","streamId":"x","type":"A","payload":{}}
{"aggregateId":"a","streamId":"y","type":"A","payload":{}}
{"aggregateId":"b","streamId":"x","type":"B","payload":{}}"#,
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].candidates, ["aggregateId", "streamId"]);
    assert!(
        found[0].to_string().contains("pass --map stream_id=FIELD, with one of: aggregateId, streamId"),
        "{}",
        found[0]
    );
}

#[test]
fn what_cannot_be_found_is_an_error_that_names_the_flag() {
    let found = unclear(r#"{"a":1,"b":"x"}"#);
    let parts: Vec<_> = found.iter().map(|one| one.part).collect();
    assert_eq!(parts, ["type", "stream_id"]);
    assert!(found[0].to_string().contains("pass --map type=FIELD"));
    assert_eq!(unclear("").len(), 1);
}

#[test]
fn ids_that_are_unique_only_within_a_kind_are_refused() {
    let found = unclear(
        r#"{"aggregateType":"Order","aggregateId":"1","type":"OrderPlaced","payload":{}}
{"aggregateType":"Customer","aggregateId":"1","type":"CustomerCreated","payload":{}}"#,
    );
    assert!(found[0].message.contains("alone is no stream id"), "{found:?}");
}

#[test]
fn what_is_given_is_not_guessed() {
    let lines = events(
        r#"{"a":"x","b":1,"c":"A","d":{"e":1},"f":1}
{"a":"x","b":2,"c":"B","d":{"e":2},"f":1}"#,
    );
    let given = [("stream_id", "a"), ("type", "c"), ("sequence", "b"), ("payload", "*")];
    let text = infer(&lines, &given).unwrap();
    let config = Config::read("f", &text, &|_| None).unwrap();
    assert_eq!(parts(&config), "stream_id=a sequence=b@1 type=c payload=*");
    assert!(
        infer(&lines, &[("stream_id", "z"), ("type", "c")]).unwrap_err()[0]
            .message
            .contains("no event of the sample")
    );
}

#[test]
fn a_type_that_never_changes_is_that_of_the_aggregate() {
    assert_parts(
        r#"{"aggregateIdentifier":"7f","sequenceNumber":0,"type":"GiftCard","eventIdentifier":"e1","payloadType":"io.shop.CardIssued","payloadRevision":"1","timeStamp":"2026-01-01T00:00:00Z","payload":{"amount":50},"metaData":{}}
{"aggregateIdentifier":"7f","sequenceNumber":1,"type":"GiftCard","eventIdentifier":"e2","payloadType":"io.shop.CardRedeemed","payloadRevision":"1","timeStamp":"2026-01-01T00:01:00Z","payload":{"amount":20},"metaData":{}}"#,
        "stream_id=aggregateIdentifier sequence=sequenceNumber@0 id=eventIdentifier type=payloadType schema_version=payloadRevision recorded_at=timeStamp payload=payload metadata=metaData",
    );
}

#[test]
fn the_json_of_a_table_export() {
    assert_parts(
        r#"{"Item":{"aggregateId":{"S":"a1"},"sequenceNumber":{"N":"1"},"eventType":{"S":"Opened"},"payload":{"S":"{\"x\":1}"},"createdAt":{"S":"2026-01-01T00:00:00Z"}}}
{"Item":{"aggregateId":{"S":"a1"},"sequenceNumber":{"N":"2"},"eventType":{"S":"Closed"},"payload":{"S":"{\"y\":2}"},"createdAt":{"S":"2026-01-01T00:00:10Z"}}}"#,
        "stream_id=Item.aggregateId.S sequence=Item.sequenceNumber.N@1 type=Item.eventType.S recorded_at=Item.createdAt.S payload=Item.payload.S/Json",
    );
}

#[test]
fn values_speak_where_names_say_nothing() {
    assert_parts(
        r#"{"acc":"x-1","n":1,"e":"AccountOpened","d":{"owner":"Ada"}}
{"acc":"x-2","n":1,"e":"AccountOpened","d":{"owner":"Bo"}}
{"acc":"x-1","n":2,"e":"MoneySent","d":{"amount":1}}
{"acc":"x-1","n":3,"e":"MoneySent","d":{"amount":7}}
{"acc":"x-2","n":2,"e":"MoneySent","d":{"amount":2}}
{"acc":"x-1","n":4,"e":"AccountClosed","d":{}}"#,
        "stream_id=acc sequence=n@1 type=e payload=d",
    );
}
