//! What the tests of this crate share: a store in a folder of its own, a clock that stands until it is moved, ids that
//! count.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use foldstream_model::{Clock, Ids, Timestamp};
use tempfile::TempDir;

use crate::{LocalStore, OpenOptions};

pub(crate) const CREATE: OpenOptions = OpenOptions { create: true, read_only: false };

/// The longest an idle machine would take for anything here, many times over.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct TestClock {
    micros: AtomicI64,
}

impl TestClock {
    pub(crate) fn set(&self, now: Timestamp) {
        self.micros.store(now.micros(), Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, micros: i64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
pub(crate) struct TestIds {
    count: AtomicU64,
}

impl Ids for TestIds {
    fn unique(&self) -> String {
        format!("id-{}", self.count.fetch_add(1, Ordering::SeqCst))
    }
}

pub(crate) struct Fixture {
    pub(crate) store: LocalStore,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let store =
            LocalStore::open(folder.path(), clock.clone(), Arc::new(TestIds::default()), CREATE).unwrap();
        Self { store, clock, folder }
    }

    /// The same file, opened as another process would.
    pub(crate) fn another(&self) -> LocalStore {
        let options = OpenOptions::default();
        LocalStore::open(self.folder.path(), self.clock.clone(), Arc::new(TestIds::default()), options)
            .unwrap()
    }

    /// A connection such as a user's tool would have.
    pub(crate) fn tool(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join(crate::FILE_NAME)).unwrap()
    }
}
