use std::sync::Arc;

use bytes::Bytes;
use foldstream::clock::{SystemClock, UniqueIds};
use foldstream_local::{LocalStore, NewRecord, OpenOptions};

use super::Folder;

const CONFIG: &str = "config_version: 1
sources:
  shop: { kind: local, shards: 2 }
projections:
  counts:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - { event: Made, key: all, add: { made: 1 } }
";

fn made(folder: &Folder, times: usize) {
    for _ in 0..times {
        folder.run(&["events", "append", "s", "Made"]).ok();
    }
    folder.run(&["run", "--until-caught-up"]).ok();
}

fn counted(folder: &Folder) -> String {
    folder.run(&["documents", "get", "counts", "all", "-o", "json"]).out
}

fn begun() -> Folder {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    made(&folder, 2);
    folder
}

#[test]
fn a_paused_projection_waits_until_it_is_resumed() {
    let folder = begun();
    folder.run(&["projections", "pause", "counts", "--reason", "to look"]).ok();
    made(&folder, 1);
    assert!(counted(&folder).contains("\"made\":2"));
    assert!(folder.run(&["projections", "list"]).ok().contains("paused"));
    folder.run(&["projections", "resume", "counts"]).ok();
    made(&folder, 0);
    assert!(counted(&folder).contains("\"made\":3"));
    let audit = folder.run(&["audit", "-o", "json"]).ok();
    assert!(audit.contains("\"reason\":\"to look\"") && audit.lines().count() == 2, "{audit}");
}

#[test]
fn lag_counts_from_the_oldest_event_that_is_not_read() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    let lag = || {
        let status = folder.run(&["status", "-o", "json"]).ok();
        let status: serde_json::Value = serde_json::from_str(status.trim()).unwrap();
        status["projections"][0]["standing"]["lag_micros"].as_u64().unwrap()
    };
    let old = "{\"type\":\"Made\",\"recorded_at\":\"2020-01-01T00:00:00Z\"}";
    folder.run_with(&["events", "append", "s"], old).ok();
    made(&folder, 0);
    folder.run(&["projections", "pause", "counts"]).ok();
    assert_eq!(lag(), 0, "nothing is unread");
    folder.run(&["events", "append", "s", "Made"]).ok();
    let hour = 3_600_000_000;
    assert!((1..hour).contains(&lag()), "stored, and not in the stream yet");
    made(&folder, 0);
    assert!((1..hour).contains(&lag()), "in the stream");
    folder.run(&["projections", "resume", "counts"]).ok();
    made(&folder, 0);
    assert_eq!(lag(), 0);
}

/// Puts a record into the stream that no relay would.
pub(super) fn put_no_envelope(folder: &Folder, data: &'static [u8]) {
    put_record(folder, "x", data);
}

/// Puts what did not come by the relay into the stream.
pub(super) fn put_record(folder: &Folder, key: &'static str, data: &'static [u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UniqueIds));
        let path = folder.path().join("foldstream-data");
        let store = LocalStore::open(&path, clock, ids, OpenOptions::default()).unwrap();
        let log = store.existing_log("shop").await.unwrap().unwrap();
        let (partition_key, data) = (key.into(), Bytes::from_static(data));
        log.put(vec![NewRecord { partition_key, explicit_hash_key: None, data }]).await.unwrap();
    });
}

#[test]
fn a_record_that_is_no_event_is_named_and_the_rest_of_the_status_is_shown() {
    let folder = begun();
    put_no_envelope(&folder, b"no envelope");
    let told = |status: &str| {
        assert!(status.contains("counts@1"), "{status}");
        assert!(status.contains("the record at position 1 is no event"), "{status}");
        assert!(status.contains("write `on_failure: park`"), "{status}");
    };
    told(&folder.run(&["status"]).ok());
    let status = folder.run(&["status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status["unreadable_records"][0]["source"], &status["unreadable_records"][0]["position"]),
        (&"shop".into(), &"1".into())
    );
    assert!(status["projections"][0]["standing"]["lag_micros"].as_u64().unwrap() > 0);
    folder.run(&["run", "--until-caught-up"]).fails(4);
    let status = folder.run(&["status"]).ok();
    told(&status);
    assert!(status.contains("counts@1 has stopped"), "{status}");
    folder.run(&["projections", "list"]).ok();
    folder.run(&["projections", "describe", "counts"]).ok();
}

#[test]
fn only_what_cannot_be_undone_asks_and_everything_can_be_tried() {
    let folder = begun();
    for action in ["pause", "resume", "rewind", "delete"] {
        let dry = folder.run(&["projections", action, "counts@1", "--dry-run", "--reason", "why"]).ok();
        assert!(dry.starts_with(&format!("would {action} counts v1")), "{dry}");
        let dry = folder.run(&["projections", action, "counts@1", "--dry-run", "-o", "json"]).ok();
        assert!(dry.starts_with(r#"{"dry_run":true,"would":""#), "{dry}");
    }
    assert_eq!(folder.run(&["audit", "-o", "json"]).ok(), "");
    for action in ["pause", "resume"] {
        folder.run(&["projections", action, "counts", "--yes"]).fails(2);
        folder.run(&["projections", action, "counts"]).ok();
    }
}

#[test]
fn a_rewind_delivers_again_and_counts_nothing_twice() {
    let folder = begun();
    folder.run(&["projections", "rewind", "counts"]).fails(2);
    let dry = folder.run(&["projections", "rewind", "counts", "--dry-run"]).ok();
    assert!(dry.contains("would rewind counts v1 to the beginning"), "{dry}");
    for rebuild in [&[][..], &["--rebuild"], &["--to", "2020-01-01T00:00:00Z"]] {
        let rebuild = if rebuild.is_empty() { vec![] } else { rebuild.to_vec() };
        folder.run(&[&["projections", "rewind", "counts", "--yes"], &rebuild[..]].concat()).ok();
        made(&folder, 0);
        assert!(counted(&folder).contains("\"made\":2"), "{rebuild:?}: {}", counted(&folder));
    }
    assert!(folder.run(&["projections", "describe", "counts"]).ok().contains("rewound     3 times"));
}

#[test]
fn a_rewind_says_where_it_goes_what_comes_of_it_and_who_does_it() {
    let folder = begun();
    let rewind = |arguments: &[&str]| {
        folder.run(&[&["projections", "rewind", "counts", "--yes"], arguments].concat()).ok()
    };
    let early = rewind(&["--to", "2020-01-01T00:00:00Z", "--reason", "to look"]);
    assert!(early.contains("to the beginning (nothing was saved before 2020-01-01"), "{early}");
    assert!(early.contains("delivered again") && early.contains("the next `foldstream run`"), "{early}");
    assert!(folder.run(&["audit"]).ok().contains("to look (to 2020-01-01T00:00:00"));
    let rebuilt = rewind(&["--rebuild"]);
    assert!(rebuilt.contains("made anew") && !rebuilt.contains("again"), "{rebuilt}");
    folder.run(&["projections", "pause", "counts"]).ok();
    assert!(rewind(&[]).contains("it is paused: `foldstream projections resume`"));
}

#[test]
fn a_projection_that_was_rewound_to_its_last_save_is_not_shown_as_far_behind() {
    let folder = begun();
    folder.run(&["projections", "pause", "counts"]).ok();
    folder.run(&["projections", "resume", "counts"]).ok();
    let audit = folder.run(&["audit", "--limit", "1", "-o", "json"]).ok();
    let audit: serde_json::Value = serde_json::from_str(audit.trim()).unwrap();
    let time = audit["at"].as_str().unwrap();
    let rewound = folder.run(&["projections", "rewind", "counts", "--yes", "--to", time]).ok();
    assert!(rewound.contains("to the last save before"), "{rewound}");
    let status = folder.run(&["status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(status.trim()).unwrap();
    let standing = &status["projections"][0]["standing"];
    assert_eq!((&standing["behind"], &standing["state"]), (&0.into(), &"not_running".into()), "{status}");
}

#[test]
fn a_deleted_projection_leaves_nothing_and_begins_anew() {
    let folder = begun();
    assert!(folder.run(&["projections", "delete", "counts", "--yes"]).fails(2).contains("counts@1"));
    folder.run(&["projections", "delete", "counts@1", "--yes"]).ok();
    folder.run(&["documents", "get", "counts", "all"]).fails(1);
    assert!(folder.run(&["projections", "list"]).ok().contains("not run yet"));
    made(&folder, 0);
    assert!(counted(&folder).contains("\"made\":2"));
}
