use super::Folder;

#[test]
fn help_names_the_commands_and_the_exit_codes_and_nothing_that_comes_later() {
    let help = Folder::new().run(&["--help"]).ok();
    for word in [
        "events",
        "documents",
        "projections",
        "healthcheck",
        "parked",
        "leases",
        "validate",
        "Exit codes:",
        "--data",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for later in ["replay", "promote"] {
        assert!(!help.contains(later), "{later}: {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn what_later_versions_bring_is_refused_by_its_name() {
    let folder = Folder::new();
    for line in [&["tap"][..], &["documents", "history", "x"], &["projections", "replay", "orders", "--x"]] {
        let error = folder.run(line).fails(2);
        assert!(error.contains("not available in this version"), "{error}");
    }
}

#[test]
fn a_word_that_is_no_command_gets_the_nearest_one() {
    let error = Folder::new().run(&["statsu"]).fails(2);
    assert!(error.contains("'status'"), "{error}");
}

#[test]
fn a_word_that_is_no_command_is_not_met_with_one_of_a_later_version() {
    let folder = Folder::new();
    for line in [&["replay"][..], &["taps"], &["projections", "promot"], &["documents", "histry"]] {
        let error = folder.run(line).fails(2);
        for later in ["'tap'", "'top'", "'promote'", "'history'"] {
            assert!(!error.contains(later), "{error}");
        }
    }
}

#[test]
fn completions_are_written_for_a_shell() {
    let script = Folder::new().run(&["completions", "bash"]).ok();
    assert!(script.contains("foldstream"), "{script}");
}

#[test]
fn the_schema_is_json() {
    let schema = Folder::new().run(&["config", "schema"]).ok();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema.is_object());
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let folder = Folder::new();
    let lines: String = (0..20_000)
        .map(|n| format!("{{\"stream_id\":\"s\",\"type\":\"A\",\"payload\":{{\"n\":{n}}}}}\n"))
        .collect();
    folder.write("events.ndjson", lines);
    let map = ["--map", "stream_id=stream_id"];
    folder.run(&[&["events", "import", "events.ndjson"], &map[..]].concat()).ok();
    let mut child =
        folder.command(&["events", "read", "s"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
