use super::Folder;

const ENVELOPES: &str = r#"{"stream_id":"a","sequence":1,"type":"Made","recorded_at":"2026-01-01T00:00:00Z","payload":{"n":1.50}}
{"stream_id":"b","sequence":1,"type":"Made","recorded_at":"2026-01-01T00:00:01Z"}
{"stream_id":"a","sequence":2,"type":"Sold","recorded_at":"2026-01-01T00:00:02Z","payload":{"n":2}}
"#;

#[test]
fn a_file_is_taken_once_and_goes_on_where_it_grew() {
    let folder = Folder::new();
    folder.write("e.ndjson", ENVELOPES);
    let said = folder.run(&["events", "import", "e.ndjson"]).ok();
    assert!(said.starts_with("e.ndjson: 3 lines\n") && said.contains("3  taken"), "{said}");
    let more = r#"{"stream_id":"b","sequence":2,"type":"Sold","recorded_at":"2026-01-01T00:00:03Z"}"#;
    folder.write("e.ndjson", format!("{ENVELOPES}{more}\n"));
    let said = folder.run(&["events", "import", "e.ndjson"]).ok();
    assert!(said.contains("1  taken") && said.contains("3  skipped"), "{said}");
    let line = folder.run(&["events", "read", "a", "-o", "json"]).ok();
    assert!(line.contains(r#""payload":{"n":1.50}"#), "{line}");
}

#[test]
fn bad_lines_are_listed_with_their_numbers_and_the_others_taken() {
    let folder = Folder::new();
    let deep = format!(
        "{{\"stream_id\":\"c\",\"sequence\":1,\"type\":\"A\",\"payload\":{}1{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let bad: [(&[u8], &str); 9] = [
        (b"{\"stream_id\":", "line 4: not JSON that can be taken"),
        (br#"{"sequence":3,"type":"A"}"#, "line 5: not an event: part=stream_id"),
        (br#"{"stream_id":"a","type":"A"}"#, "line 6: not an event: part=sequence"),
        (
            br#"{"stream_id":"a","sequence":0,"type":"A"}"#,
            "line 7: sequence 0 of stream a, which begins with 1",
        ),
        (
            br#"{"stream_id":"a","sequence":2,"type":"Sold","payload":{"n":3}}"#,
            "line 8: sequence 2 of stream a is stored already, with another payload",
        ),
        (
            br#"{"stream_id":"a","sequence":5,"type":"A"}"#,
            "line 9: sequence 5 of stream a, which ends with 2: 3 is missing; if it is further down, import the file again, or sort it by sequence",
        ),
        (br#"{"stream_id":"c","sequence":1,"type":"A","payload":{"x":1,"x":2}}"#, "line 10: not JSON"),
        (b"{\"stream_id\":\"\xff\",\"sequence\":1,\"type\":\"A\"}", "line 11: not JSON"),
        (deep.as_bytes(), "line 12: not JSON"),
    ];
    let mut file = ENVELOPES.as_bytes().to_vec();
    for (line, _) in bad {
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    folder.write("e.ndjson", file);
    let ran = folder.run(&["events", "import", "e.ndjson"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("3  taken") && ran.out.contains("9  refused"), "{}", ran.out);
    for (_, said) in bad {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
}

#[test]
fn a_strict_import_stops_at_the_first_bad_line_and_keeps_what_came_before() {
    let folder = Folder::new();
    let lines: Vec<_> = ENVELOPES.lines().collect();
    folder.write("e.ndjson", format!("{}\nnonsense\n{}\n", lines[0], lines[1]));
    let ran = folder.run(&["events", "import", "e.ndjson", "--strict"]);
    assert!(ran.code == 1 && ran.out.contains("1  taken") && ran.out.contains("line 2: "), "{ran:?}");
    folder.run(&["events", "read", "b"]).fails(1);
}

#[test]
fn lines_without_sequences_are_numbered_and_known_again() {
    let folder = Folder::new();
    let lines =
        "{\"id\":7,\"kind\":\"A\",\"x\":1}\n{\"id\":7,\"kind\":\"A\",\"x\":1}\n{\"id\":8,\"kind\":\"B\"}\n";
    let map = ["events", "import", "-", "--map", "stream_id=id", "--map", "type=kind", "--map", "payload=*"];
    let said = folder.run_with(&map, lines).ok();
    assert!(said.contains("3  taken") && said.contains("3 events without a recorded-at"), "{said}");
    let said = folder.run_with(&map, format!("{lines}{{\"id\":7,\"kind\":\"C\"}}\n")).ok();
    assert!(said.contains("1  taken") && said.contains("3  skipped"), "{said}");
    let read = folder.run(&["events", "read", "7"]).ok();
    assert_eq!(read.lines().count(), 3, "{read}");
    assert!(read.contains("#2  A  {\"x\":1}") && read.contains("#3  C"), "{read}");
}

#[test]
fn the_mapping_of_the_configured_source_is_used() {
    let folder = Folder::new();
    folder.write(
        "foldstream.yaml",
        "config_version: 1\nsources:\n  shop:\n    kind: local\n    event:\n      \
         stream_id: { from: pk, strip_prefix: \"ORDER#\" }\n      \
         sequence: { from: sk, strip_prefix: \"EVENT#\", first: 0 }\n      \
         type: eventType\n      recorded_at: createdAt\n      payload: { from: data, encoding: json }\n\
         projections:\n  all:\n    version: 1\n    source: shop\n    ordering: commutative\n    handlers:\n      \
         - { event: Placed, key: all, add: { placed: 1 } }\n",
    );
    let line = r#"{"pk":"ORDER#1","sk":"EVENT#0000","eventType":"Placed","createdAt":1767225600000,"data":"{\"a\":1}"}"#;
    folder.run_with(&["events", "import", "-"], line).ok();
    let read = folder.run(&["events", "read", "1"]).ok();
    assert_eq!(read, "2026-01-01T00:00:00Z #0  Placed  {\"a\":1}\n");
    assert!(folder.run(&["events", "append", "2", "Placed"]).ok().ends_with(" 2 #0\n"));
}

#[test]
fn a_dry_import_says_what_the_real_one_would_and_writes_nothing() {
    let folder = Folder::new();
    let import = ["events", "import", "e.ndjson"];
    let dry = || folder.run(&[&import[..], &["--dry-run"]].concat());
    folder.write("e.ndjson", ENVELOPES);
    assert!(dry().ok().contains("3  would be taken; nothing was written"));
    assert!(!folder.path().join("foldstream-data").exists());
    folder.run(&import).ok();
    // More than one append takes, so that the later lines are judged by the earlier ones.
    let made = |sequence: u64| format!("{{\"stream_id\":\"a\",\"sequence\":{sequence},\"type\":\"A\"}}\n");
    let more: String = (3..=2_500).map(made).collect();
    let bad = [made(7), made(9_000), made(7).replace("\"A\"", "\"B\""), made(2_501)].concat();
    folder.write("e.ndjson", format!("{ENVELOPES}{more}{bad}"));
    for _ in 0..2 {
        let ran = dry();
        assert_eq!(ran.code, 1, "{ran:?}");
        for said in ["2,499  would be taken", "4  skipped", "2  refused", "line 2503: ", "line 2504: "] {
            assert!(ran.out.contains(said), "{said}: {}", ran.out);
        }
    }
    assert_eq!(folder.run(&["events", "read", "a"]).ok().lines().count(), 2);
    let (dry, real) = (dry().out, folder.run(&import));
    assert_eq!((real.code, dry), (1, real.out.replace("  taken", "  would be taken; nothing was written")));
}

#[test]
fn an_array_of_events_is_answered_with_how_to_make_lines_of_it() {
    let error = Folder::new().run_with(&["events", "import", "-"], "[\n{}\n]\n").fails(2);
    assert!(error.contains("jq -c '.[]'"), "{error}");
}

#[test]
fn programs_get_one_object_with_the_tally() {
    let folder = Folder::new();
    let report = folder.run_with(&["events", "import", "-", "-o", "json"], format!("{ENVELOPES}x\n"));
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(
        (&report["taken"], &report["refused"], &report["refusals"][0]["line"]),
        (&3.into(), &1.into(), &4.into())
    );
}

#[test]
fn what_was_exported_can_be_imported() {
    let (one, other) = (Folder::new(), Folder::new());
    one.run_with(&["events", "import", "-"], ENVELOPES).ok();
    let exported = one.run(&["events", "tail", "-o", "json"]).ok();
    other.run_with(&["events", "import", "-"], &exported).ok();
    assert_eq!(other.run(&["events", "tail", "-o", "json"]).ok(), exported);
}
