use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use super::Folder;

const CONFIG: &str = "config_version: 1
sources:
  shop: { kind: local, shards: 2 }
projections:
  totals:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - { event: Sold, key: =payload.sku, add: { sold: =payload.quantity } }
  orders:
    version: 2
    source: shop
    ordering: per_stream
    handlers:
      - { event: Sold, key: =event.stream_id, set: { sku: =payload.sku } }
";

const EVENTS: &str = r#"{"stream_id":"o-1","sequence":1,"type":"Sold","payload":{"sku":"tea","quantity":2}}
{"stream_id":"o-2","sequence":1,"type":"Sold","payload":{"sku":"tea","quantity":3}}
{"stream_id":"o-3","sequence":1,"type":"Sold","payload":{"sku":"mug","quantity":1}}
"#;

fn shop() -> Folder {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    folder.run_with(&["events", "import", "-"], EVENTS).ok();
    folder
}

fn caught_up() -> Folder {
    let folder = shop();
    assert_eq!(folder.run(&["run", "--until-caught-up"]).ok(), "caught up\n");
    folder
}

/// A `run` in the background, killed when the test ends.
pub struct Running {
    process: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut command = folder.command(&[&["run"], arguments].concat());
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, said }
    }

    /// The next line of standard error that holds this.
    pub fn says(&mut self, words: &str) -> String {
        let mut lines = self.said.by_ref().map_while(Result::ok);
        lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("it never said {words:?}"))
    }

    pub fn signal(&self, name: &str) {
        let killed =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn documents_are_made_and_read_and_listed() {
    let folder = caught_up();
    let tea = folder.run(&["documents", "get", "totals", "tea", "-o", "json"]).ok();
    assert_eq!(tea, "{\"key\":\"tea\",\"document\":{\"sold\":5}}\n");
    let all = folder.run(&["documents", "list", "orders@2"]).ok();
    assert_eq!(all.lines().count(), 3, "{all}");
    let some = folder.run(&["documents", "list", "orders", "--after", "o-1", "--limit", "1"]);
    assert!(some.err.contains("--after 'o-2'"), "{}", some.err);
    assert_eq!(some.ok(), "{\"key\":\"o-2\",\"document\":{\"sku\":\"tea\"}}\n");
    assert_eq!(folder.run(&["documents", "list", "orders", "--prefix", "o-3"]).ok().lines().count(), 1);
    let missing = folder.run(&["documents", "get", "totals", "tae"]).fails(1);
    assert!(missing.contains("did you mean tea?"), "{missing}");
    let unknown = folder.run(&["documents", "list", "totasl"]).fails(1);
    assert!(unknown.contains("did you mean totals?"), "{unknown}");
}

/// Who works on each shard.
fn workers(folder: &Folder) -> BTreeMap<String, String> {
    let leases = folder.run(&["leases", "list", "-o", "json"]).ok();
    let leases = leases.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let shards = leases.filter(|lease| lease["kind"] == "shard" && lease["passed_on_by"].is_null());
    let named = shards
        .filter_map(|lease| Some((lease["name"].as_str()?.to_owned(), lease["owner"].as_str()?.to_owned())));
    named.collect()
}

fn are_shared_by(folder: &Folder, number: usize) -> bool {
    let workers = workers(folder);
    let different: BTreeSet<&String> = workers.values().collect();
    workers.len() == 2 && different.len() == number
}

#[test]
fn a_second_run_shares_the_work_and_takes_over_what_a_killed_one_had() {
    let folder = shop();
    let first = Running::start(&folder, &[]);
    eventually("the first works on everything", || are_shared_by(&folder, 1));
    let _second = Running::start(&folder, &[]);
    eventually("both work", || are_shared_by(&folder, 2));
    let status = folder.run(&["status"]).ok();
    assert!(status.contains("processes "), "{status}");
    let before = workers(&folder);
    drop(first);
    eventually("the second works on everything", || are_shared_by(&folder, 1));
    assert_ne!(workers(&folder), before);
    folder.run_with(&["events", "import", "-"], EVENTS.replace("\"o-", "\"p-")).ok();
    eventually("what comes now is in the documents", || {
        folder.run(&["documents", "list", "orders@2"]).ok().lines().count() == 6
    });
}

#[test]
fn a_lease_that_is_released_is_passed_on_and_that_is_audited() {
    let folder = shop();
    let _run = Running::start(&folder, &[]);
    eventually("it works on everything", || are_shared_by(&folder, 1));
    let shard = workers(&folder).keys().next().unwrap().clone();
    let said = folder.run(&["leases", "release", &shard, "--dry-run"]).ok();
    assert!(said.contains("nothing was done"), "{said}");
    eventually("it is not renewed just then", || {
        folder.run(&["leases", "release", &shard, "--reason", "to see"]).code == 0
    });
    let audit = folder.run(&["audit"]).ok();
    assert!(audit.contains("release") && audit.contains(&shard) && audit.contains("to see"), "{audit}");
    eventually("it is taken again", || are_shared_by(&folder, 1));
    let unknown = folder.run(&["leases", "release", "nothing"]).fails(2);
    assert!(unknown.contains("`foldstream leases list`"), "{unknown}");
}

#[test]
fn a_changed_definition_is_not_dropped_while_others_run_the_old_one() {
    let folder = shop();
    let _run = Running::start(&folder, &[]);
    eventually("it works on everything", || are_shared_by(&folder, 1));
    folder.write("foldstream.yaml", CONFIG.replace("sold: =payload.quantity", "sold: 1"));
    let refused = folder.run(&["run", "--dev"]).fails(3);
    assert!(refused.contains("stop those, or raise the versions"), "{refused}");
}

#[test]
fn a_run_that_is_told_to_stop_settles_what_it_read_and_exits_with_0() {
    let folder = shop();
    for signal in ["TERM", "INT"] {
        let mut run = Running::start(&folder, &[]);
        run.says("running");
        eventually("the documents are there", || {
            folder.run(&["documents", "get", "totals", "tea"]).code == 0
        });
        run.signal(signal);
        assert_eq!(run.process.wait().unwrap().code(), Some(0), "{signal}");
    }
    let status = folder.run(&["status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["projections"][0]["standing"]["behind"], 0, "{status}");
}

/// Holds the database, as a writer does that does not come to its end.
struct Held(Child);

impl Held {
    fn by_another(folder: &Folder) -> Self {
        let mut command = Command::new("sqlite3");
        command.arg(folder.path().join("foldstream-data/foldstream.db"));
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.expect("sqlite3, which `tests/run unit` installs");
        let stdin = process.stdin.as_mut().unwrap();
        stdin.write_all(b".timeout 60000\nBEGIN IMMEDIATE;\nSELECT 'held';\n").unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(process)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_signal_ends_at_once_what_cannot_save_and_the_next_run_goes_on() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let folder = shop();
        let mut run = Running::start(&folder, &[]);
        eventually("it works on everything", || are_shared_by(&folder, 1));
        let held = Held::by_another(&folder);
        run.signal(signal);
        run.says("a second signal stops at once");
        run.signal(signal);
        assert_eq!(run.process.wait().unwrap().code(), Some(code));
        drop(held);
        assert_eq!(folder.run(&["run", "--until-caught-up"]).ok(), "caught up\n");
        assert_eq!(folder.run(&["documents", "list", "orders@2"]).ok().lines().count(), 3);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_only_be_read_is_refused_with_the_way_out() {
    let folder = caught_up();
    for arguments in [&["run", "--until-caught-up"][..], &["projections", "pause", "totals"]] {
        let error = folder.run_as_reader(arguments).fails(3);
        assert!(error.contains("writable") && error.contains("--data"), "{arguments:?}: {error}");
    }
    let empty = Folder::new();
    empty.write("foldstream.yaml", CONFIG);
    let error = empty.run_as_reader(&["run"]).fails(3);
    assert!(error.contains("--data"), "{error}");
}

#[test]
fn metrics_and_health_are_served() {
    let folder = shop();
    let mut run = Running::start(&folder, &["--listen", "127.0.0.1:0"]);
    let said = run.says("serving");
    let address = said.split("address=").nth(1).unwrap().trim();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/livez").starts_with("HTTP/1.1 200"));
    folder.run(&["healthcheck", "--listen", address]).ok();
    eventually("it is ready", || get("/readyz").starts_with("HTTP/1.1 200"));
    folder.run(&["healthcheck", "--ready", "--listen", address]).ok();
    eventually("it counts", || get("/metrics").contains("foldstream_documents_written_total"));
    let metrics = get("/metrics");
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name}: {metrics}");
    }
    let bad = r#"{"type":"Sold","payload":{"sku":"tea","quantity":"many"}}"#;
    folder.run_with(&["events", "append", "o-4"], bad).ok();
    eventually("it names what has stopped", || get("/readyz").contains("stopped: totals@1 in shop/shardId-"));
    assert!(get("/readyz").starts_with("HTTP/1.1 200") && get("/livez").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_projection_that_goes_on_counts_as_stopped_no_more() {
    let folder = Folder::new();
    let parks = CONFIG.replace("  totals:\n", "  totals:\n    on_failure: park\n");
    folder.write("foldstream.yaml", format!("{parks}limits: {{ parked_events: 1 }}\n"));
    let mut run = Running::start(&folder, &["--listen", "127.0.0.1:0"]);
    let said = run.says("serving");
    let address = said.split("address=").nth(1).unwrap().trim().to_owned();
    let stopped = |wanted: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let name = "foldstream_projection_stopped{projection=\"totals\"";
        let mut lines = answer.lines().filter(|line| line.starts_with(name)).peekable();
        lines.peek().is_some() && lines.all(|line| line.ends_with(wanted))
    };
    // Of one document, as lanes that park at the same time may both find room.
    let bad = r#"{"type":"Sold","payload":{"sku":"tea","quantity":"many"}}"#;
    for _ in 0..2 {
        folder.run_with(&["events", "append", "o-4"], bad).ok();
    }
    eventually("no more may be parked", || stopped("} 1"));
    folder.run(&["parked", "discard", "totals", "--all", "--reason", "none", "--yes"]).ok();
    folder.run(&["projections", "pause", "totals"]).ok();
    run.says("leaving all shards");
    folder.run(&["projections", "resume", "totals"]).ok();
    eventually("it goes on", || stopped("} 0"));
}

#[test]
fn health_is_bad_where_nobody_answers_or_says_otherwise() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = folder.run(&["healthcheck", "--listen", &address, "--timeout", "1"]).fails(1);
    assert!(silent.contains("no answer within 1 s"), "{silent}");
    let answering = std::thread::spawn(move || {
        // The first one is who has given up.
        for connection in listener.incoming().take(2) {
            let mut connection = connection.unwrap();
            // A connection that is closed with something unread is reset, and its answer with it.
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready\n");
        }
    });
    let refused = folder.run(&["healthcheck", "--ready", "--listen", &address]).fails(1);
    assert!(refused.contains("/readyz: status 503"), "{refused}");
    answering.join().unwrap();
    let gone = folder.run(&["healthcheck", "--listen", &address]).fails(1);
    assert!(gone.contains("refused"), "{gone}");
    folder.run(&["healthcheck"]).fails(2);
}

#[test]
fn the_lag_that_is_served_counts_from_the_oldest_unread_event_as_that_of_status_does() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", CONFIG);
    let bad =
        r#"{"type":"Sold","recorded_at":"2026-01-01T00:00:00Z","payload":{"sku":"tea","quantity":"many"}}"#;
    folder.run_with(&["events", "append", "o-4"], bad).ok();
    let mut run = Running::start(&folder, &["--listen", "127.0.0.1:0"]);
    let said = run.says("serving");
    let address = said.split("address=").nth(1).unwrap().trim().to_owned();
    let lag = |projection: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let name = format!("foldstream_projection_lag_seconds{{projection=\"{projection}\"}} ");
        let value = answer.lines().find_map(|line| line.strip_prefix(&name))?;
        value.split('.').next().unwrap().parse::<i64>().ok()
    };
    let since = jiff::Timestamp::now().as_second() - 1_767_225_600;
    eventually("what is level lags by nothing", || lag("orders") == Some(0));
    eventually("what has stopped lags since its event", || lag("totals") >= Some(since));
    assert!(lag("totals") < Some(since + 600));
}

#[test]
fn poison_stops_one_projection_and_is_told() {
    let folder = shop();
    let bad = r#"{"type":"Sold","payload":{"sku":"tea","quantity":"many"}}"#;
    folder.run_with(&["events", "append", "o-4"], bad).ok();
    let ran = folder.run(&["run", "--until-caught-up"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(folder.run(&["documents", "list", "orders"]).ok().lines().count(), 4);
    let told = [
        "totals@1 has stopped in shop/shardId-",
        "event     o-4 #1 Sold\n",
        "document  tea\n",
        "handler=foldstream.yaml:10",
        "operation=add path=sold: it takes a number, not a string",
        "raise the `version`",
        "`foldstream run --dev`",
    ];
    let status = folder.run(&["status"]).ok();
    let described = folder.run(&["projections", "describe", "totals"]).ok();
    for (said, part) in [&ran.out, &status, &described].iter().flat_map(|said| told.map(|part| (said, part)))
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let again = folder.run(&["run", "--until-caught-up", "-o", "json"]);
    let ended: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    let event = serde_json::json!({"stream": "o-4", "sequence": 1, "type": "Sold", "document": "tea"});
    assert_eq!(ended["stopped"][0]["event"], event, "{again:?}");
}

#[test]
fn positions_and_since_when_something_is_behind_are_told_without_a_worker() {
    let folder = caught_up();
    let positions = |status: &str| -> Vec<Vec<String>> {
        let rows = status.lines().skip_while(|line| !line.starts_with("SHARD")).skip(1);
        let rows = rows.take_while(|line| !line.is_empty());
        rows.map(|row| row.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let level = positions(&folder.run(&["status"]).ok());
    assert_eq!(level.len(), 2, "{level:?}");
    let mut events = 0;
    for row in &level {
        assert!(row[0].starts_with("shop/shardId-"), "{row:?}");
        assert_eq!(row[2..], ["0", "-", "orders@2,", "totals@1"]);
        events += row[1].parse::<u64>().unwrap();
    }
    assert_eq!(events, 3);
    let bad = r#"{"type":"Sold","payload":{"sku":"tea","quantity":"many"}}"#;
    folder.run_with(&["events", "append", "o-4"], bad).ok();
    folder.run(&["run", "--until-caught-up"]).fails(4);
    let apart = positions(&folder.run(&["status"]).ok());
    assert_eq!(apart.len(), 3, "{apart:?}");
    let behind: Vec<_> = apart.iter().filter(|row| row[2] == "1").collect();
    assert_eq!(behind.len(), 1, "{apart:?}");
    assert!(behind[0][3] != "-" && behind[0].last().unwrap() == "totals@1", "{apart:?}");
    let status = folder.run(&["status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let since = |index: usize| status["projections"][index]["standing"]["behind_since"].is_string();
    assert!(!since(0) && since(1), "{status}");
}

#[test]
fn a_stop_of_a_version_that_was_superseded_is_not_a_problem_of_today() {
    let folder = shop();
    let bad = r#"{"type":"Sold","payload":{"sku":"tea","quantity":"many"}}"#;
    folder.run_with(&["events", "append", "o-4"], bad).ok();
    assert_eq!(folder.run(&["run", "--until-caught-up"]).code, 4);
    let mended = CONFIG
        .replace("version: 1\n    source", "version: 2\n    source")
        .replace("=payload.quantity", "=size(string(payload.quantity))");
    folder.write("foldstream.yaml", mended);
    folder.run(&["run", "--until-caught-up"]).ok();
    let status = folder.run(&["status"]).ok();
    assert!(status.contains("totals@2") && !status.contains("totals@1"), "{status}");
    assert!(status.contains("1 other version in the store, not configured"), "{status}");
    let list = folder.run(&["projections", "list"]).ok();
    assert!(list.contains("totals@1    stopped"), "{list}");
    assert!(folder.run(&["projections", "describe", "totals@1"]).ok().contains("event     o-4 #1 Sold"));
}

#[test]
fn a_stream_that_has_another_number_of_shards_than_is_configured_is_warned_of() {
    let folder = caught_up();
    folder.write("foldstream.yaml", CONFIG.replace("shards: 2", "shards: 8"));
    let ran = folder.run(&["run", "--until-caught-up"]);
    let told = ran.err.contains("shards=2 configured=8") && ran.err.contains("when a stream is made");
    assert!(ran.code == 0 && told, "{ran:?}");
    folder.write("foldstream.yaml", CONFIG);
    assert!(!folder.run(&["run", "--until-caught-up"]).err.contains("WARN"));
}

#[test]
fn a_changed_definition_is_refused_with_what_changed_and_dropped_only_with_dev() {
    let folder = caught_up();
    folder.write("foldstream.yaml", CONFIG.replace("add: { sold: =payload.quantity }", "add: { sold: 1 }"));
    let error = folder.run(&["run", "--until-caught-up"]).fails(2);
    assert!(error.contains("totals v1") && error.contains("Sold: its handlers were changed"), "{error}");
    folder.run(&["run", "--until-caught-up", "--dev"]).ok();
    assert!(folder.run(&["documents", "get", "totals", "tea", "-o", "json"]).ok().contains("\"sold\":2"));
    assert!(folder.run(&["audit"]).ok().contains("delete"));
}

#[test]
fn a_raised_version_is_built_beside_the_old_one() {
    let folder = caught_up();
    let raised =
        CONFIG.replace("version: 1\n    source", "version: 2\n    source").replace("=payload.quantity", "1");
    folder.write("foldstream.yaml", raised);
    folder.run(&["run", "--until-caught-up"]).ok();
    let sold = |name: &str| folder.run(&["documents", "get", name, "tea", "-o", "json"]).ok();
    assert!(sold("totals@1").contains("5") && sold("totals@2").contains("2"));
    assert_eq!(sold("totals"), sold("totals@2"));
    let list = folder.run(&["projections", "list"]).ok();
    assert!(list.contains("totals@1") && list.contains("totals@2"), "{list}");
}
