use serde_json::{Value, json};

use super::{
    Folder,
    projections::{put_no_envelope, put_record},
    run::{Running, eventually},
};

/// The handler that takes no event without a price.
const CONFIG: &str = "config_version: 1
sources:
  shop: { kind: local, shards: 1 }
projections:
  sales:
    version: 1
    source: shop
    ordering: per_stream
    on_failure: park
    handlers:
      - { event: Sold, key: =event.stream_id, set: { last: =payload.price }, add: { total: =payload.price * 1 } }
";

fn sold(folder: &Folder, stream: &str, payload: &str) {
    folder.run(&["events", "append", stream, "Sold", payload]).ok();
}

/// What was sold, read by this configuration: so many events of it are parked.
fn parked_of(config: &str, sales: &[(&str, &str)], parked: usize) -> Folder {
    let folder = Folder::new();
    folder.write("foldstream.yaml", config);
    for (stream, payload) in sales {
        sold(&folder, stream, payload);
    }
    let ran = folder.run(&["run", "--until-caught-up"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains(&format!("{parked} events of sales v1 parked")), "{ran:?}");
    folder
}

/// Of `a` and `b` one event each cannot be taken, and of `a` two stand behind it.
fn parked() -> Folder {
    let sales = [
        ("a", "{\"price\":2}"),
        ("a", "{}"),
        ("b", "{}"),
        ("a", "{\"price\":3}"),
        ("c", "{\"price\":7}"),
        ("a", "{\"price\":4}"),
    ];
    parked_of(CONFIG, &sales, 4)
}

fn document(folder: &Folder, key: &str) -> Value {
    let text = folder.run(&["documents", "get", "sales", key, "-o", "json"]).ok();
    serde_json::from_str::<Value>(&text).unwrap()["document"].clone()
}

fn objects(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let text = folder.run(&[arguments, &["-o", "json"]].concat()).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_parked_is_shown_with_its_reason_and_all_else_goes_on() {
    let folder = parked();
    assert_eq!(document(&folder, "c"), json!({"last": 7, "total": 7}));
    assert_eq!(document(&folder, "a"), json!({"last": 2, "total": 2}));
    let listed = objects(&folder, &["parked", "list"]);
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(
        (&listed[0]["document"], &listed[0]["events"], &listed[0]["sequence"]),
        (&json!("a"), &json!(3), &json!(2))
    );
    assert!(listed[0]["error"].as_str().unwrap().contains("foldstream.yaml:11"), "{listed:?}");
    let text = folder.run(&["parked", "list", "sales"]).ok();
    assert!(text.contains("a #2 Sold"), "{text}");
    for (filter, found) in [
        (&["--document", "b"][..], 1),
        (&["--stream", "a"], 1),
        (&["--stream", "c"], 0),
        (&["--error", "path=total"], 2),
        (&["--error", "something else"], 0),
        (&["--since", "2020-01-01T00:00:00Z"], 2),
        (&["--until", "2020-01-01T00:00:00Z"], 0),
    ] {
        assert_eq!(
            objects(&folder, &[&["parked", "list", "sales"], filter].concat()).len(),
            found,
            "{filter:?}"
        );
    }
    let by_error = objects(&folder, &["parked", "list", "--by-error"]);
    assert_eq!(
        (by_error.len(), &by_error[0]["documents"], &by_error[0]["events"]),
        (1, &json!(2), &json!(4))
    );
    let described = objects(&folder, &["parked", "describe", "sales", "a"]);
    let sequences: Vec<_> = described.iter().map(|parked| parked["event"]["sequence"].clone()).collect();
    assert_eq!(sequences, [2, 3, 4]);
    assert!(folder.run(&["parked", "describe", "sales", "a"]).ok().contains("stands behind another"));
    folder.run(&["parked", "describe", "sales", "c"]).fails(1);
    assert!(folder.run(&["status"]).ok().contains("sales@1: 4 events parked"));
    let status: Value = serde_json::from_str(&folder.run(&["status", "-o", "json"]).ok()).unwrap();
    assert_eq!(status["projections"][0]["parked_events"], json!(4));
}

#[test]
fn events_that_still_cannot_be_taken_stay_until_they_are_left_out_with_a_reason() {
    let folder = parked();
    let ran = folder.run(&["parked", "redrive", "sales"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("a stays parked at a #2 Sold") && ran.out.contains("path=total"), "{ran:?}");
    folder.run(&["parked", "discard", "sales", "--yes", "--reason", "x"]).fails(2);
    assert!(folder.run(&["parked", "discard", "sales", "--all", "--yes"]).fails(2).contains("--reason"));
    let would = folder.run(&["parked", "discard", "sales", "--error", "path=total", "--dry-run"]).ok();
    assert!(would.contains("would discard 2 events of 2 documents"), "{would}");
    let discard = ["parked", "discard", "sales", "--error", "path=total", "--yes", "--reason", "no price"];
    let said = folder.run(&discard).ok();
    assert!(said.contains("discarded 2 events of 2 documents"), "{said}");
    assert_eq!(objects(&folder, &["parked", "list"]).len(), 1, "what stood behind still does");
    let would = folder.run(&["parked", "redrive", "sales", "--dry-run"]).ok();
    assert!(would.contains("would redrive 2 events of 1 document"), "{would}");
    let said = folder.run(&["parked", "redrive", "sales", "--rate", "1000"]).ok();
    assert!(said.contains("redriven 2 events: 1 document"), "{said}");
    assert_eq!(document(&folder, "a"), json!({"last": 4, "total": 9}));
    folder.run(&["documents", "get", "sales", "b"]).fails(1);
    assert_eq!(folder.run(&["parked", "list"]).ok(), "nothing is parked\n");
    sold(&folder, "b", "{\"price\":1}");
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "b"), json!({"last": 1, "total": 1}));
    let audit = objects(&folder, &["audit"]);
    let actions: Vec<_> = audit.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"discard") && actions.contains(&"redrive"), "{audit:?}");
    assert!(folder.run(&["status"]).ok().contains("2 events discarded"));
}

#[test]
fn a_change_that_takes_what_could_not_be_taken_is_taken_over_and_redriven() {
    let folder = parked();
    let mended = CONFIG.replace("event: Sold, key", "event: Sold, when: =payload.price != null, key");
    let mut older = Running::start(&folder, &[]);
    eventually("it runs", || folder.run(&["status"]).ok().contains("live"));
    folder.write("foldstream.yaml", mended);
    folder.run(&["run", "--until-caught-up"]).fails(2);
    let error = folder.run(&["parked", "redrive", "sales"]).fails(2);
    assert!(error.contains("foldstream projections amend sales@1"), "{error}");
    folder.run(&["projections", "amend", "sales", "--yes"]).fails(2);
    let amend = ["projections", "amend", "sales", "--yes", "--reason", "some are given away"];
    assert!(folder.run(&amend).ok().contains("took over the change"));
    older.says("this process has the older one");
    sold(&folder, "d", "{}");
    drop(older);
    assert_eq!(objects(&folder, &["parked", "list"]).len(), 2, "the older one has set nothing aside since");
    folder.run(&["parked", "redrive", "sales"]).ok();
    sold(&folder, "a", "{\"price\":5}");
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "a"), json!({"last": 5, "total": 14}));
}

#[test]
fn a_rebuild_and_a_new_beginning_leave_nothing_parked_behind() {
    let folder = parked();
    folder.run(&["projections", "rewind", "sales", "--rebuild", "--yes"]).ok();
    assert_eq!(folder.run(&["parked", "list"]).ok(), "nothing is parked\n");
    folder.run(&["run", "--until-caught-up"]).fails(4);
    assert_eq!(objects(&folder, &["parked", "list"]).len(), 2);
    folder.run(&["projections", "delete", "sales@1", "--yes"]).ok();
    folder.run(&["run", "--until-caught-up"]).fails(4);
    assert_eq!(objects(&folder, &["parked", "list"]).len(), 2);
}

#[test]
fn a_configured_discard_leaves_the_event_out_and_says_so() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG.replace("on_failure: park", "on_failure: discard"));
    for payload in ["{\"price\":2}", "{}", "{\"price\":3}"] {
        sold(&folder, "a", payload);
    }
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
    assert!(folder.run(&["status"]).ok().contains("1 event discarded"));
}

#[test]
fn a_test_may_expect_a_document_to_be_parked() {
    let folder = Folder::new();
    let tests = "tests:
  - name: an event without a price
    given:
      - { stream_id: a, type: Sold, payload: { price: 2 } }
      - { stream_id: a, type: Sold }
      - { stream_id: a, type: Sold, payload: { price: 3 } }
    expect:
      sales/a: { total: 2 }
    parked: [sales/a]
";
    folder.write("foldstream.yaml", format!("{CONFIG}{tests}"));
    folder.run(&["validate"]).ok();
    folder.run(&["test"]).ok();
    folder.write(
        "foldstream.yaml",
        format!("{}{tests}", CONFIG.replace("on_failure: park", "on_failure: discard"))
            .replace("total: 2", "total: 5"),
    );
    folder.run(&["test"]).ok();
}

/// The handler that cannot tell the document of an event without a shop.
const BY_SHOP: &str = "config_version: 1
sources:
  shop: { kind: local, shards: 1 }
projections:
  sales:
    version: 1
    source: shop
    ordering: commutative
    on_failure: park
    handlers:
      - { event: Sold, key: =payload.shop, add: { total: =payload.price } }
";

/// Of `a` an event names no shop, and one stands behind it.
fn parked_stream() -> Folder {
    let sales = [
        ("a", "{\"price\":2,\"shop\":\"s\"}"),
        ("a", "{\"price\":3}"),
        ("b", "{\"price\":4,\"shop\":\"s\"}"),
        ("a", "{\"price\":5,\"shop\":\"s\"}"),
    ];
    parked_of(BY_SHOP, &sales, 2)
}

#[test]
fn a_stream_of_which_no_document_is_known_is_shown_with_its_reason() {
    let folder = parked_stream();
    assert_eq!(document(&folder, "s"), json!({"total": 6}));
    let listed = objects(&folder, &["parked", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0]["stream_id"], &listed[0]["events"], &listed[0]["sequence"]),
        (&json!("a"), &json!(2), &json!(2))
    );
    for (filter, found) in [("a", 1), ("b", 0)] {
        assert_eq!(objects(&folder, &["parked", "list", "--stream", filter]).len(), found);
    }
    assert!(folder.run(&["parked", "list"]).ok().contains("#2 Sold"));
    assert!(folder.run(&["parked", "list", "--by-error"]).ok().contains("STREAMS"));
    let described = objects(&folder, &["parked", "describe", "sales", "--stream", "a"]);
    let sequences: Vec<_> = described.iter().map(|parked| parked["event"]["sequence"].clone()).collect();
    assert_eq!(sequences, [2, 3]);
    assert!(folder.run(&["status"]).out.contains("2 events parked"));
}

#[test]
fn a_parked_stream_comes_back_with_the_next_run() {
    let folder = parked_stream();
    assert!(folder.run(&["parked", "redrive", "sales"]).ok().contains("1 stream of sales v1 with 2 events"));
    folder.run(&["run", "--until-caught-up"]).fails(4);
    assert_eq!(objects(&folder, &["parked", "list"]).len(), 1, "nothing is different yet");
    let mended = "'=payload.shop == null ? \"none\" : payload.shop'";
    folder.write("foldstream.yaml", BY_SHOP.replace("=payload.shop", mended));
    folder.run(&["projections", "amend", "sales", "--yes", "--reason", "some are sold nowhere"]).ok();
    folder.run(&["parked", "redrive", "sales", "--stream", "a"]).ok();
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(folder.run(&["parked", "list"]).ok(), "nothing is parked\n");
    assert_eq!(document(&folder, "s"), json!({"total": 11}));
    assert_eq!(document(&folder, "none"), json!({"total": 3}));
}

#[test]
fn an_event_of_a_parked_stream_is_left_out_and_the_rest_comes_back() {
    let folder = parked_stream();
    let discard = ["parked", "discard", "sales", "--error", "null", "--yes", "--reason", "a slip"];
    assert!(folder.run(&discard).ok().contains("1 stream of sales v1"));
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "s"), json!({"total": 11}));
    assert!(folder.run(&["status"]).ok().contains("1 event discarded"));
}

#[test]
fn a_stream_waits_at_a_type_that_is_not_known_until_it_is() {
    let folder = Folder::new();
    let shop = |types: &str| {
        let source = format!("shop: {{ kind: local, shards: 1, types: [{types}], on_unknown_type: park }}");
        BY_SHOP.replace("shop: { kind: local, shards: 1 }", &source)
    };
    folder.write("foldstream.yaml", shop("Sold"));
    sold(&folder, "a", "{\"price\":2,\"shop\":\"s\"}");
    folder.run(&["events", "append", "a", "Returned", "{}"]).ok();
    sold(&folder, "a", "{\"price\":3,\"shop\":\"s\"}");
    folder.run(&["run", "--until-caught-up"]).fails(4);
    let listed = objects(&folder, &["parked", "list"]);
    assert_eq!((&listed[0]["type"], &listed[0]["events"]), (&json!("Returned"), &json!(2)));
    folder.write("foldstream.yaml", shop("Sold, Returned"));
    folder.run(&["projections", "amend", "sales", "--yes", "--reason", "a new type"]).ok();
    folder.run(&["parked", "redrive", "sales"]).ok();
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "s"), json!({"total": 5}));
}

#[test]
fn a_gap_is_given_up_only_where_there_is_one() {
    let folder = parked_stream();
    let discard = ["parked", "discard", "sales", "--gap", "b", "--yes", "--reason", "lost"];
    assert!(folder.run(&discard).fails(1).contains("no event of b waits"));
    folder.run(&["parked", "discard", "sales", "--gap", "b", "--all", "--yes"]).fails(2);
}

/// The second event of a stream whose first one is nowhere.
const BEHIND_A_GAP: &[u8] = br#"{"stream_id":"b","sequence":2,"id":"b2","type":"Sold","recorded_at":"2026-01-01T00:00:00Z","payload":{"price":5}}"#;

#[test]
fn a_stream_waits_for_its_missing_event_until_that_is_given_up() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    sold(&folder, "a", "{\"price\":2}");
    folder.run(&["run", "--until-caught-up"]).ok();
    put_record(&folder, "b", BEHIND_A_GAP);
    sold(&folder, "a", "{\"price\":3}");
    let ran = folder.run(&["run", "--until-caught-up"]);
    let waits = "b of source shop waits for #1, 1 event behind it";
    assert!(ran.code == 4 && ran.out.contains(waits), "{ran:?}");
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
    folder.run(&["documents", "get", "sales", "b"]).fails(1);
    let status = folder.run(&["status"]).ok();
    assert!(status.contains(waits), "{status}");
    let listed = objects(&folder, &["parked", "list"]);
    let (stream, missing) = (&listed[0]["stream_id"], &listed[0]["missing"]);
    assert_eq!((listed.len(), stream, missing), (1, &json!("b"), &json!({"from": 1, "to": 1})));
    assert_eq!(objects(&folder, &["status"])[0]["missing"], json!(listed));
    assert!(folder.run(&["parked", "list"]).ok().contains("#1"));

    let discard = ["parked", "discard", "sales", "--gap", "b", "--yes", "--reason", "lost"];
    assert!(folder.run(&discard).ok().contains("#1 of b are given up"));
    assert_eq!(folder.run(&["run", "--until-caught-up"]).ok(), "caught up\n");
    assert_eq!(document(&folder, "b"), json!({"last": 5, "total": 5}));
    assert_eq!(folder.run(&["parked", "list"]).ok(), "nothing is parked\n");
    assert!(!folder.run(&["status"]).ok().contains("waits for"));
    let audit = folder.run(&["audit"]).ok();
    assert!(audit.contains("give up") && audit.contains("lost"), "{audit}");
}

/// A record that no relay would have put there, and what could not be read of it.
#[test]
fn a_record_that_cannot_be_decoded_is_shown_with_its_bytes_until_it_is_left_out() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    sold(&folder, "a", "{\"price\":2}");
    folder.run(&["run", "--until-caught-up"]).ok();
    put_no_envelope(&folder, b"no \"envelope\0");
    sold(&folder, "a", "{\"price\":3}");
    let ran = folder.run(&["run", "--until-caught-up"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("1 record of source shop set aside"), "{ran:?}");
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
    let listed = objects(&folder, &["parked", "list"]);
    assert_eq!((listed.len(), &listed[0]["partition_key"]), (1, &json!("x")), "{listed:?}");
    let text = folder.run(&["parked", "list"]).ok();
    assert!(text.contains("RECORD OF") && text.contains("undecodable record"), "{text}");
    let shown = folder.run(&["parked", "describe", "sales", "--stream", "x"]).ok();
    assert!(shown.contains("bytes     no \\\"envelope\\x00"), "{shown}");
    assert!(folder.run(&["status"]).ok().contains("shop: 1 record set aside"));
    let would = folder.run(&["parked", "redrive", "sales", "--dry-run"]).ok();
    assert!(would.contains("and 1 record"), "{would}");
    let redriven = folder.run(&["parked", "redrive", "sales"]);
    assert_eq!(redriven.code, 1, "{redriven:?}");
    assert!(redriven.out.contains("the record of x at position 2 stays parked"), "{redriven:?}");
    let discard = ["parked", "discard", "sales", "--stream", "x", "--yes", "--reason", "damaged"];
    assert!(folder.run(&discard).ok().contains("discarded 1 record"));
    assert_eq!(folder.run(&["parked", "list"]).ok(), "nothing is parked\n");
    folder.run(&["run", "--until-caught-up"]).ok();
    let audit = objects(&folder, &["audit"]);
    assert!(audit.iter().any(|row| row["details"]["records"] == json!("1")), "{audit:?}");
}

/// One document, and two records that are no events, neither by the mapping of now.
#[test]
fn documents_and_records_that_are_redriven_are_counted_apart() {
    let folder = parked();
    put_no_envelope(&folder, b"nothing");
    put_no_envelope(&folder, b"nothing either");
    folder.run(&["run", "--until-caught-up"]);
    let by_error = objects(&folder, &["parked", "list", "--by-error"]);
    assert_eq!(by_error.len(), 2, "{by_error:?}");
    assert_eq!((&by_error[1]["source"], &by_error[1]["records"]), (&json!("shop"), &json!(2)));
    let other = CONFIG.replace("projections:", "  other: { kind: local, shards: 1 }\nprojections:")
        + "  none:
    version: 1
    source: other
    ordering: per_stream
    handlers:
      - { event: Sold, key: =event.stream_id, set: { last: 1 } }
";
    folder.write("foldstream.yaml", other);
    folder.run(&["run", "--until-caught-up"]);
    assert_eq!(objects(&folder, &["parked", "list", "sales"]).len(), 4);
    assert_eq!(objects(&folder, &["parked", "list", "none"]).len(), 0, "its source has none");
    let mended = CONFIG.replace("event: Sold, key", "event: Sold, when: =payload.price != null, key");
    folder.write("foldstream.yaml", mended);
    let amend = ["projections", "amend", "sales", "--yes", "--reason", "some are given away"];
    folder.run(&amend).ok();
    let redriven = folder.run(&["parked", "redrive", "sales", "--rate", "100"]);
    assert_eq!(redriven.code, 1, "the records stay: {redriven:?}");
    assert!(redriven.out.contains("redriven 4 events: 2 documents of sales"), "{redriven:?}");
}

/// The event store has another first event of `a`.
const FORK: &[u8] = br#"{"stream_id":"a","sequence":1,"id":"f","type":"Sold","recorded_at":"2026-01-01T00:00:00Z","payload":{"price":99}}"#;

#[test]
fn the_stream_of_a_fork_waits_until_it_is_let_back_and_the_other_event_is_left_out() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    sold(&folder, "a", "{\"price\":2}");
    folder.run(&["run", "--until-caught-up"]).ok();
    put_no_envelope(&folder, FORK);
    folder.run(&["run", "--until-caught-up"]).fails(4);
    let listed = objects(&folder, &["parked", "list"]);
    let (stream, record) = (&listed[0], &listed[1]);
    assert_eq!((&stream["stream_id"], &stream["events"]), (&json!("a"), &json!(0)), "{listed:?}");
    assert!(record["error"].as_str().unwrap().contains("fork: stream=a sequence=1"), "{listed:?}");
    sold(&folder, "a", "{\"price\":3}");
    folder.run(&["run", "--until-caught-up"]).fails(4);
    assert_eq!(document(&folder, "a"), json!({"last": 2, "total": 2}));
    assert!(folder.run(&["parked", "describe", "sales", "--stream", "x"]).ok().contains("99"));

    let redriven = folder.run(&["parked", "redrive", "sales"]);
    assert_eq!(redriven.code, 1, "{redriven:?}");
    assert!(redriven.out.contains("leave this one out") && redriven.out.contains("1 stream"), "{redriven:?}");
    folder.run(&["run", "--until-caught-up"]).fails(4);
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
    let discard = ["parked", "discard", "sales", "--error", "fork", "--yes", "--reason", "not ours"];
    folder.run(&discard).ok();
    folder.run(&["run", "--until-caught-up"]).ok();
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
}

#[test]
fn a_projection_that_has_stopped_at_a_record_goes_on_once_it_parks() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG.replace("on_failure: park", "on_failure: stop"));
    sold(&folder, "a", "{\"price\":2}");
    folder.run(&["run", "--until-caught-up"]).ok();
    put_no_envelope(&folder, b"no envelope");
    sold(&folder, "a", "{\"price\":3}");
    let stopped = folder.run(&["run", "--until-caught-up"]);
    assert!(stopped.code == 4 && stopped.out.contains("sales@1 has stopped"), "{stopped:?}");
    assert_eq!(document(&folder, "a"), json!({"last": 2, "total": 2}));
    folder.write("foldstream.yaml", CONFIG);
    let parked = folder.run(&["run", "--until-caught-up"]);
    assert!(parked.code == 4 && !parked.out.contains("has stopped"), "{parked:?}");
    assert_eq!(document(&folder, "a"), json!({"last": 3, "total": 5}));
}
