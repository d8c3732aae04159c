use std::{cell::RefCell, collections::BTreeMap, path::Path, rc::Rc};

use foldstream_tests::repositories::{self, HOSTILE_COMMITS, Kind};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        git::Repository,
        oracle::{self, Comparison},
        resume::{Plan, Taken},
    },
    *,
};

/// What an event store keeps: the events of each stream. It refuses what a real one refuses.
#[derive(Default)]
struct Store {
    streams: BTreeMap<StreamId, Vec<NewEvent>>,
}

impl Store {
    fn take(&mut self, append: Append) {
        let events = self.streams.entry(append.stream.clone()).or_default();
        let expected = match append.expected {
            ExpectedSequence::Empty { first } => {
                assert_eq!(first, Sequence(1));
                0
            }
            ExpectedSequence::Last(last) => last.0,
            ExpectedSequence::Any => panic!("a conflict would go unnoticed"),
        };
        assert_eq!(expected, events.len() as u64, "{}", append.stream);
        events.extend(append.events);
    }

    fn taken(&self) -> Option<Taken> {
        let history = self.streams.get(&StreamId::new(stream_id::HISTORY))?;
        let commit = |event: &NewEvent| serde_json::from_slice::<Committed>(&event.payload).unwrap();
        let id = |event| crate::demo::git::ObjectId::parse(commit(event).commit.as_bytes()).unwrap();
        let (first, last) = (history.first()?, history.last()?);
        Some(Taken {
            first: id(first),
            last: id(last),
            number: commit(last).number,
            recorded_at: last.recorded_at,
        })
    }

    /// What `files` would hold: the last mode and blob of each path that was not deleted.
    fn files(&self) -> impl Iterator<Item = Result<super::super::git::TreeEntry>> {
        let last = self.streams.values().filter_map(|events| events.last());
        let payloads = last.filter_map(|event| serde_json::from_slice::<FileEvent>(&event.payload).ok());
        payloads.filter_map(|file| Some(oracle::entry(&file.path, &file.mode?, &file.blob?)))
    }

    fn types(&self, path: &[u8]) -> Vec<String> {
        let events = self.streams.get(&stream_id::of_path(path)).unwrap();
        events.iter().map(|event| event.event_type.to_string()).collect()
    }
}

/// Takes everything up to a commit, as the demo does; compares with git.
fn take(folder: &Path, until: Option<&str>, store: &Rc<RefCell<Store>>) -> u64 {
    let repository = Repository::open(folder).unwrap();
    let taken = store.borrow().taken();
    let Plan::Take { after, to, commits, .. } = Plan::make(&repository, until, taken.as_ref()).unwrap()
    else {
        return 0;
    };
    let stored = Rc::clone(store);
    let last = move |streams: &[StreamId]| {
        let store = stored.borrow();
        let last = |stream| store.streams.get(stream).map(|events| Sequence(events.len() as u64));
        Ok(streams.iter().map(last).collect())
    };
    let mut events = Events::new(repository.walk(after, to).unwrap(), taken.as_ref(), last);
    let mut count = 0;
    while let Some(commit) = events.next_commit().unwrap() {
        let appends = commit.collect::<Result<Vec<_>>>().unwrap();
        appends.into_iter().for_each(|append| store.borrow_mut().take(append));
        count += 1;
    }
    assert_eq!(count, commits);
    let comparison = Comparison::of(repository.tree(to).unwrap(), store.borrow().files()).unwrap();
    assert!(comparison.is_equal(), "{comparison}");
    count
}

fn hostile() -> TempDir {
    let folder = TempDir::new().unwrap();
    repositories::hostile(folder.path(), Kind::default()).unwrap();
    folder
}

fn contents(store: &Rc<RefCell<Store>>) -> String {
    format!("{:?}", store.borrow().streams)
}

#[test]
fn the_events_of_a_hostile_repository_fold_into_its_tree() {
    let (folder, store) = (hostile(), Rc::default());
    assert_eq!(take(folder.path(), None, &store), HOSTILE_COMMITS);
}

#[test]
fn types_of_events_say_what_happened_to_a_path() {
    let (folder, store) = (hostile(), Rc::default());
    take(folder.path(), None, &store);
    let types = |path: &[u8]| store.borrow().types(path);
    assert_eq!(types(b"new\nline"), ["FileAdded", "FileChanged", "FileDeleted", "FileRestored"]);
    assert_eq!(types(b"script"), ["FileAdded", "ModeChanged", "ModeChanged"]);
    assert_eq!(types(b"link"), ["FileAdded", "FileChanged"]);
    assert_eq!(types(b"thing"), ["FileAdded", "FileDeleted", "FileRestored", "FileChanged", "FileChanged"]);
    assert_eq!(types(b"thing/inside"), ["FileAdded", "FileDeleted"]);
    assert_eq!(types(b"vendor/module"), ["FileAdded", "FileChanged", "FileDeleted"]);
    assert!(TYPES.iter().all(|known| contents(&store).contains(known)));
}

#[test]
fn every_commit_has_an_event_of_its_own_whose_totals_are_those_of_its_files() {
    let (folder, store) = (hostile(), Rc::<RefCell<Store>>::default());
    take(folder.path(), None, &store);
    let store = store.borrow();
    let mut files: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for event in store.streams.values().flatten().filter(|event| event.event_type.as_str() != "Committed") {
        let file: FileEvent = serde_json::from_slice(&event.payload).unwrap();
        let totals = files.entry(file.commit).or_default();
        *totals = (totals.0 + 1, totals.1 + file.lines_added, totals.2 + file.lines_removed);
    }
    let history = store.streams.get(&StreamId::new("history")).unwrap();
    for (place, event) in history.iter().enumerate() {
        let commit: Committed = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(commit.number, place as u64 + 1);
        assert_eq!(event.id.as_str(), format!("{}/0", commit.commit));
        let totals = files.remove(&commit.commit).unwrap_or_default();
        assert_eq!((commit.files, commit.lines_added, commit.lines_removed), totals);
    }
    assert!(files.is_empty());
    let empty: Committed = serde_json::from_slice(&history.get(5).unwrap().payload).unwrap();
    assert_eq!((empty.subject.as_str(), empty.files), ("An empty commit", 0));
}

#[test]
fn events_of_a_commit_share_an_instant_and_commits_follow_each_other() {
    let (folder, store) = (hostile(), Rc::<RefCell<Store>>::default());
    take(folder.path(), None, &store);
    let store = store.borrow();
    let mut instants = BTreeMap::new();
    for event in store.streams.values().flatten() {
        let (commit, _) = event.id.as_str().split_once('/').unwrap();
        assert_eq!(*instants.entry(commit).or_insert(event.recorded_at), event.recorded_at);
    }
    let history = store.streams.get(&StreamId::new("history")).unwrap();
    assert!(history.is_sorted_by(|earlier, later| earlier.recorded_at < later.recorded_at));
    assert_eq!(instants.len(), history.len());
    let ids = store
        .streams
        .values()
        .flatten()
        .map(|event| event.id.as_str())
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids.len(), store.streams.values().flatten().count());
}

#[test]
fn fields_of_payloads_are_sorted_and_say_nothing_where_there_is_nothing() {
    let (folder, store) = (hostile(), Rc::<RefCell<Store>>::default());
    take(folder.path(), None, &store);
    let store = store.borrow();
    for event in store.streams.values().flatten() {
        let fields: Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(
            serde_json::to_vec(&fields).unwrap(),
            event.payload,
            "serde_json sorts the fields of a Value"
        );
        if event.event_type.as_str() == "FileDeleted" {
            assert!(["blob", "mode", "size"].iter().all(|field| fields.get(field).unwrap().is_null()));
        }
    }
    let binary = store.streams.get(&stream_id::of_path(b"binary")).unwrap().first().unwrap();
    let text = String::from_utf8(binary.payload.to_vec()).unwrap();
    assert!(text.starts_with(r#"{"author":"Ada","binary":true,"blob":""#), "{text}");
    assert!(
        text.ends_with(r#""lines_added":0,"lines_removed":0,"mode":"100644","path":"binary","size":5}"#),
        "{text}"
    );
}

#[test]
fn taking_a_history_in_parts_gives_the_same_events() {
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    repositories::long(folder.path(), 120, 3).unwrap();
    let (whole, parts) = (Rc::default(), Rc::default());
    take(folder.path(), None, &whole);
    let taken: Vec<_> = ["HEAD~119", "HEAD~118", "HEAD~70", "HEAD~70", "HEAD~9", "HEAD", "HEAD"]
        .iter()
        .map(|until| take(folder.path(), Some(until), &parts))
        .collect();
    assert_eq!(taken, [1, 1, 48, 0, 61, 9, 0]);
    assert_eq!(contents(&parts), contents(&whole));
}

#[test]
fn an_event_store_that_does_not_know_the_files_is_refused() {
    let folder = hostile();
    let store = Rc::default();
    take(folder.path(), Some("HEAD~10"), &store);
    let taken = store.borrow().taken();
    let repository = Repository::open(folder.path()).unwrap();
    let walk = repository.walk(taken.as_ref().map(|taken| taken.last), repository.head().unwrap()).unwrap();
    let mut events = Events::new(walk, taken.as_ref(), |streams: &[StreamId]| Ok(vec![None; streams.len()]));
    let mut refused = || -> Result<()> {
        while let Some(commit) = events.next_commit()? {
            commit.collect::<Result<Vec<_>>>()?;
        }
        Ok(())
    };
    assert!(refused().unwrap_err().message().contains("use another folder with --data"));
}

#[test]
fn payloads_of_random_histories_are_read_by_the_value_model() {
    let mut runner = TestRunner::deterministic();
    let seed = proptest::strategy::Strategy::new_tree(&proptest::num::u64::ANY, &mut runner).unwrap();
    let folder = TempDir::new().unwrap();
    repositories::unborn(folder.path(), Kind::default()).unwrap();
    repositories::long(folder.path(), 200, proptest::strategy::ValueTree::current(&seed)).unwrap();
    let store = Rc::<RefCell<Store>>::default();
    take(folder.path(), None, &store);
    for event in store.borrow().streams.values().flatten() {
        foldstream_model::Value::parse(&event.payload).unwrap();
    }
}
