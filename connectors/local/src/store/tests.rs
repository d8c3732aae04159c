//! What the file itself promises: what opening refuses, several processes at once, and `kill -9`.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use foldstream_model::{
    ErrorKind, EventId, EventType, Result, SchemaVersion, Sequence, StreamId, Timestamp, conformance,
    ports::{Append, CheckpointStore, EventStore, ExpectedSequence, NewEvent, Put, RowKey, Table},
};

use super::{FILE_NAME, LocalStore, OpenOptions};
use crate::testing::{CREATE, Fixture, TestClock, TestIds};

const READ_ONLY: OpenOptions = OpenOptions { create: false, read_only: true };

fn open(folder: &Path, options: OpenOptions) -> Result<LocalStore> {
    LocalStore::open(folder, Arc::new(TestClock::default()), Arc::new(TestIds::default()), options)
}

fn refusal(folder: &Path, options: OpenOptions) -> String {
    let error = open(folder, options).err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.message().to_owned()
}

async fn append(store: &LocalStore, stream: &str, number: u64) -> Result<()> {
    let event = NewEvent {
        id: EventId::new(number.to_string()),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::EPOCH,
        effective_at: Timestamp::EPOCH,
        payload: Bytes::new(),
        metadata: Bytes::new(),
    };
    let append =
        Append { stream: StreamId::new(stream), expected: ExpectedSequence::Any, events: vec![event] };
    store.events().append(vec![append]).await.map(drop)
}

#[tokio::test]
async fn checkpoints_pass_their_suite() {
    let fixture = Fixture::new();
    conformance::checkpoint_store::run(&*fixture.store.checkpoints()).await;
    conformance::checkpoint_store::run(&*fixture.another().checkpoints()).await;
}

#[tokio::test]
async fn the_leases_pass_the_conformance_suite() {
    let fixture = Fixture::new();
    conformance::lease_store::run(&*fixture.store.leases()).await;
    conformance::lease_store::run(&*fixture.another().leases()).await;
}

#[test]
fn a_database_that_is_not_there_is_made_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let message = refusal(folder.path(), OpenOptions::default());
    assert!(message.contains("there is no database") && message.contains("--data"), "{message}");
    refusal(folder.path(), READ_ONLY);
    refusal(folder.path(), OpenOptions { create: true, read_only: true });
    assert!(!folder.path().join(FILE_NAME).exists());
    let below = folder.path().join("a/b");
    open(&below, CREATE).unwrap();
    open(&below, OpenOptions::default()).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = refusal(&file.join("below"), CREATE);
    assert!(message.contains("the data folder cannot be made"), "{message}");
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let text = "no database at all, but long enough to hold a header ".repeat(20);
    std::fs::write(&file, &text).unwrap();
    let message = refusal(folder.path(), CREATE);
    assert!(message.contains("is no Foldstream database") && message.contains(FILE_NAME), "{message}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    std::fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    let message = refusal(folder.path(), CREATE);
    assert!(message.contains("is no Foldstream database"), "{message}");
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let fixture = Fixture::new();
    fixture.tool().execute_batch("PRAGMA user_version = 99").unwrap();
    let message = refusal(fixture.folder.path(), OpenOptions::default());
    assert!(message.contains("another version") && message.contains("schema=99 known=2"), "{message}");
}

#[test]
fn a_damaged_database_is_refused_with_the_way_out() {
    let fixture = Fixture::new();
    let folder = fixture.folder;
    drop(fixture.store);
    let file = folder.path().join(FILE_NAME);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100..4096].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let message = refusal(folder.path(), OpenOptions::default());
    assert!(message.contains("damaged") && message.contains(".recover"), "{message}");
}

#[tokio::test]
async fn a_store_opened_to_be_read_only_reads_and_refuses_to_write() {
    let fixture = Fixture::new();
    append(&fixture.store, "a", 1).await.unwrap();
    let reading = open(fixture.folder.path(), READ_ONLY).unwrap();
    assert_eq!(reading.events().last_offset().await.unwrap(), 1);
    let error = append(&reading, "a", 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    append(&fixture.store, "a", 2).await.unwrap();
    assert_eq!(reading.events().last_offset().await.unwrap(), 2, "it sees what others write later");
}

/// As the disk would be full when the file may not grow any more.
async fn limit_pages(store: &LocalStore, pages: i64) {
    let limit = move |transaction: &rusqlite::Connection| {
        transaction.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |row| row.get::<_, i64>(0))?;
        Ok(())
    };
    store.database.write(limit).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_space() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    limit_pages(store, 1).await;
    let mut taken = 0;
    let error = loop {
        match append(store, "a", taken).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.message().contains("the disk is full") && error.message().contains(FILE_NAME), "{error}");
    assert!(append(store, "a", taken).await.is_err(), "it stays full");
    limit_pages(store, i64::from(u32::MAX) - 1).await;
    append(store, "a", taken).await.unwrap();
    let last = store.events().last_sequences(&[StreamId::new("a")]).await.unwrap();
    assert_eq!(last, [Some(Sequence(taken + 1))]);
}

#[tokio::test]
async fn work_that_fails_does_not_undo_the_work_committed_with_it() {
    let fixture = Fixture::new();
    let database = &fixture.store.database;
    let fails = || {
        database.write(|transaction| {
            transaction.execute("INSERT INTO read_models (name, version, view) VALUES ('x', 1, 'x')", ())?;
            transaction.execute("INSERT INTO no_such_table VALUES (1)", ())?;
            Ok(())
        })
    };
    let (first, a, second, b) =
        tokio::join!(fails(), append(&fixture.store, "a", 1), fails(), append(&fixture.store, "b", 1));
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Internal);
    a.unwrap();
    b.unwrap();
    assert_eq!(fixture.store.events().last_offset().await.unwrap(), 2);
    let count = |name| format!("SELECT count(*) FROM {name}");
    let models: i64 = fixture.tool().query_row(&count("read_models"), (), |row| row.get(0)).unwrap();
    assert_eq!(models, 0, "nothing of what failed remains");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_or_file_that_cannot_be_written_is_refused_with_the_way_out() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let Fixture { store, folder, .. } = Fixture::new();
    append(&store, "a", 1).await.unwrap();
    drop(store);
    let file = folder.path().join(FILE_NAME);
    let protect = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    protect(&file, 0o444);
    let probe = folder.path().join("probe");
    protect(folder.path(), 0o555);
    if fs::write(&probe, "").is_ok() {
        return again_as_nobody(
            "store::tests::a_folder_or_file_that_cannot_be_written_is_refused_with_the_way_out",
        );
    }
    for options in [CREATE, OpenOptions::default()] {
        let message = refusal(folder.path(), options);
        assert!(message.contains("cannot be opened or written") && message.contains("--data"), "{message}");
    }
    protect(folder.path(), 0o755);
    let message = refusal(folder.path(), OpenOptions::default());
    assert!(message.contains("cannot be opened or written"), "{message}");
    assert_eq!(open(folder.path(), READ_ONLY).unwrap().events().last_offset().await.unwrap(), 1);
    let empty = tempfile::tempdir().unwrap();
    protect(empty.path(), 0o555);
    let message = refusal(empty.path(), CREATE);
    assert!(message.contains("cannot be opened or written"), "{message}");
}

/// The superuser may write everywhere: the test runs as a process of another user, who cannot reach where it was built.
#[cfg(unix)]
fn again_as_nobody(test: &str) {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt, process::CommandExt},
    };
    const NOBODY: u32 = 65_534;
    assert!(std::env::var_os(CHILD).is_none(), "another user may write everywhere too");
    let reachable = tempfile::tempdir().unwrap();
    fs::set_permissions(reachable.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = reachable.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o555)).unwrap();
    let mut child = Command::new(&binary);
    child.args(["--exact", test]).env(CHILD, "").current_dir("/").uid(NOBODY).gid(NOBODY);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn many_may_make_the_same_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| open(folder.path(), CREATE).map(drop))).collect();
        for thread in opening {
            thread.join().unwrap().unwrap();
        }
    });
}

#[tokio::test]
async fn several_stores_write_at_once_and_see_each_other() {
    let fixture = Fixture::new();
    let stores = [fixture.store.clone(), fixture.another(), fixture.another()];
    let write = async |store: &LocalStore, writer: u64| {
        for number in 0..50 {
            append(store, "shared", number).await.unwrap();
            let key = RowKey::new(Table::Controls, "projections", format!("{writer}-{number}"));
            let put = store.checkpoints().put(&key, None, Bytes::from_static(b"{}"), None).await.unwrap();
            assert!(matches!(put, Put::Done(_)));
        }
    };
    tokio::join!(write(&stores[0], 0), write(&stores[1], 1), write(&stores[2], 2));
    for store in &stores {
        let last = store.events().last_sequences(&[StreamId::new("shared")]).await.unwrap();
        assert_eq!(last, [Some(Sequence(150))]);
        let rows = store.checkpoints().list(Table::Controls, "projections", None, 1_000).await.unwrap();
        assert_eq!(rows.len(), 150);
    }
}

#[tokio::test]
async fn an_identity_outlives_the_process_and_tells_databases_apart() {
    use foldstream_model::ports::DocumentStore;
    let fixture = Fixture::new();
    let model = foldstream_model::ReadModel::new("orders", 1);
    let identity = fixture.store.documents().open(&model).await.unwrap();
    assert_eq!(fixture.another().documents().open(&model).await.unwrap(), identity);
}

const CHILD: &str = "FOLDSTREAM_TEST_CHILD_FOLDER";

/// Not a test by itself: the process that [`what_was_acknowledged_survives_a_kill`] starts and kills. Eight writers
/// append to a stream each and say which events were acknowledged.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&folder), CREATE).unwrap();
        let writer = async |writer: u64| {
            let stream = format!("stream-{writer}");
            let last = store.events().last_sequences(&[StreamId::new(stream.as_str())]).await.unwrap();
            for sequence in last[0].map_or(1, |last| last.0 + 1).. {
                append(&store, &stream, sequence).await.unwrap();
                let mut out = std::io::stdout();
                writeln!(out, "acknowledged {stream} {sequence}").unwrap();
                out.flush().unwrap();
            }
        };
        futures::future::join_all((0..8).map(writer)).await;
    });
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeMap::<String, u64>::new();
    for round in 0..10usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::child_that_appends_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while let Some(Ok(line)) = lines.next() {
            // The harness may put its own words before a line.
            let Some((_, said)) = line.split_once("acknowledged ") else { continue };
            let (stream, sequence) = said.split_once(' ').unwrap();
            acknowledged.insert(stream.to_owned(), sequence.parse().unwrap());
            heard += 1;
            // From the first acknowledged event to some that come late in a batch.
            if heard == 1 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = open(folder.path(), OpenOptions::default()).unwrap();
        for (stream, sequence) in &acknowledged {
            let events = store
                .events()
                .read_stream(&StreamId::new(stream.as_str()), Sequence(1), 1_000_000)
                .await
                .unwrap();
            let sequences: Vec<u64> = events.iter().map(|event| event.sequence.0).collect();
            assert!(sequences.len() as u64 >= *sequence, "stream={stream} acknowledged={sequence}");
            assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "stream={stream}");
        }
        assert!(heard > round * 37, "the child was killed, not ended: heard={heard}");
    }
}
