use std::{io::Read, process::Stdio};

use super::Folder;

#[test]
fn an_appended_event_is_read_back_as_an_envelope_with_its_digits() {
    let folder = Folder::new();
    let said = folder.run(&["events", "append", "o-1", "OrderPlaced", r#"{"price": 4.50}"#]).ok();
    assert_eq!(said, "appended 1 event: o-1 #1\n");
    let line = folder.run(&["events", "read", "o-1", "-o", "json"]).ok();
    assert!(line.contains(r#""payload":{"price": 4.50}"#), "{line}");
    let tail = folder.run(&["events", "tail"]).ok();
    assert!(tail.contains("o-1 #1  OrderPlaced"), "{tail}");
}

#[test]
fn several_events_are_appended_as_one_or_not_at_all() {
    let folder = Folder::new();
    let lines =
        "{\"type\":\"A\"}\n{\"type\":\"B\",\"payload\":{\"x\":1},\"recorded_at\":\"2026-01-01T00:00:00Z\"}\n";
    assert_eq!(folder.run_with(&["events", "append", "s"], lines).ok(), "appended 2 events: s #2\n");
    let error = folder.run_with(&["events", "append", "s"], "{\"type\":\"A\"}\n{\"typ\":\"B\"}\n").fails(2);
    assert!(error.contains("line 2") && error.contains("nothing was appended"), "{error}");
    assert_eq!(folder.run(&["events", "read", "s"]).ok().lines().count(), 2);
}

#[test]
fn a_dry_append_says_what_the_real_one_would_and_writes_nothing() {
    let folder = Folder::new();
    let dry = ["events", "append", "s", "--dry-run"];
    let lines = "{\"type\":\"A\"}\n{\"type\":\"B\"}\n";
    assert_eq!(folder.run_with(&dry, lines).ok(), "would append 2 events: s #2\n");
    assert!(!folder.path().join("foldstream-data").exists());
    folder.run(&["events", "append", "s", "A"]).ok();
    for _ in 0..2 {
        assert_eq!(folder.run_with(&dry, lines).ok(), "would append 2 events: s #3\n");
    }
    let said = folder.run(&["events", "append", "s", "A", "--dry-run", "--expected", "1", "-o", "json"]).ok();
    assert!(said.contains("\"last_sequence\":2") && said.contains("\"dry_run\":true"), "{said}");
    let error = folder.run(&["events", "append", "s", "A", "--dry-run", "--expected", "none"]).fails(1);
    assert!(error.contains("its last event is #1; nothing was appended"), "{error}");
    let error = folder.run_with(&dry, "{\"type\":\"A\"}\n{\"typ\":\"B\"}\n").fails(2);
    assert!(error.contains("line 2: "), "{error}");
    folder.run(&["events", "append", "s", "A", "{", "--dry-run"]).fails(2);
    assert_eq!(folder.run(&["events", "read", "s"]).ok().lines().count(), 1);
}

#[test]
fn a_stream_that_is_not_where_it_was_expected_says_where_it_is() {
    let folder = Folder::new();
    folder.run(&["events", "append", "s", "A", "--expected", "none"]).ok();
    folder.run(&["events", "append", "s", "A", "--expected", "1"]).ok();
    for expected in ["none", "1"] {
        let error = folder.run(&["events", "append", "s", "A", "--expected", expected]).fails(1);
        assert!(error.contains("its last event is #2; nothing was appended"), "{error}");
    }
    folder.run(&["events", "append", "s", "A"]).ok();
}

#[test]
fn a_payload_that_is_no_json_is_refused_before_anything_is_stored() {
    let folder = Folder::new();
    for payload in ["{", "{\"a\":1,\"a\":2}", "{\"a\":NaN}"] {
        let error = folder.run(&["events", "append", "s", "A", payload]).fails(2);
        assert!(error.contains("the payload is no JSON that can be taken"), "{error}");
    }
    assert!(!folder.path().join("foldstream-data").exists());
}

#[test]
fn a_stream_that_is_not_there_gets_the_nearest_name() {
    let folder = Folder::new();
    folder.run(&["events", "append", "order-17", "A"]).ok();
    let error = folder.run(&["events", "read", "ordre-17"]).fails(1);
    assert!(error.contains("there is no stream ordre-17; did you mean order-17?"), "{error}");
}

#[test]
fn a_store_that_is_not_there_is_said_with_what_to_do() {
    let error = Folder::new().run(&["events", "tail"]).fails(3);
    assert!(error.contains("--data"), "{error}");
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let folder = Folder::new();
    folder.run(&["events", "append", "s\u{1b}[2J", "A"]).ok();
    assert!(!folder.run(&["events", "tail"]).ok().contains('\u{1b}'));
}

#[test]
fn reading_begins_and_stops_where_it_is_told() {
    let folder = Folder::new();
    folder.run_with(&["events", "append", "s"], "{\"type\":\"A\"}\n".repeat(9)).ok();
    let lines = folder.run(&["events", "read", "s", "--from", "4", "--limit", "2"]).ok();
    let sequences: Vec<_> = lines.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(sequences, ["#4", "#5"]);
    assert_eq!(folder.run(&["events", "tail", "-n", "3"]).ok().lines().count(), 3);
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let folder = Folder::new();
    folder.run(&["events", "append", "s", "A"]).ok();
    let mut tail = folder.command(&["events", "tail", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = tail.stdout.take().unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}
