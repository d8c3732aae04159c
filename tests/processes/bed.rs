//! A data folder, and what is stored in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use foldstream::{
    clock::{SystemClock, UniqueIds},
    status::reports,
};
use foldstream_local::{LocalStore, OpenOptions};
use foldstream_model::{
    DocumentKey, Lease, LeaseKey, ProjectionId, ShardId, SourceName, WorkerId,
    ports::{DocumentStore, LeaseStore},
};
use foldstream_runtime::rows::Rows;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    oracle::{self, Documents},
    process::command,
    shop::{self, Fact},
};

/// For whatever does not come.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Bed {
    folder: Option<TempDir>,
    runtime: Runtime,
    pub store: LocalStore,
}

impl Bed {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("foldstream.yaml"), config).unwrap();
        let options = OpenOptions { create: true, read_only: false };
        let data = folder.path().join("foldstream-data");
        let store = LocalStore::open(&data, Arc::new(SystemClock), Arc::new(UniqueIds), options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder: Some(folder), runtime, store }
    }

    pub fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub fn log(&self, number: usize) -> PathBuf {
        self.path().join(format!("{number}.log"))
    }

    /// What a command says that ends well.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = command(self.path(), arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {out}\n{err}");
        out
    }

    pub fn wait_for<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    fn leases(&self) -> Vec<Lease> {
        self.wait_for(self.store.leases().list(&SourceName::new(shop::SOURCE))).unwrap()
    }

    /// The shards that a process works on.
    pub fn shards_of(&self, process: u32) -> Vec<ShardId> {
        let reports = self.wait_for(reports(&Rows::new(self.store.checkpoints()))).unwrap();
        let report = reports.into_iter().find(|report| report.process == process).unwrap();
        let worker = WorkerId::new(report.worker);
        let leases = self.leases().into_iter().filter(|lease| lease.holder() == Some(&worker));
        let shard = |lease: Lease| match lease.key {
            LeaseKey::Shard(shard) => Some(shard),
            LeaseKey::Merge(_) | LeaseKey::Worker(_) => None,
        };
        leases.filter_map(shard).collect()
    }

    /// The work is shared evenly by so many, nothing is on its way, and all of it is claimed.
    pub fn is_shared_by(&self, number: usize) -> bool {
        let leases = self.leases();
        let mut shares: BTreeMap<WorkerId, usize> = BTreeMap::new();
        for lease in &leases {
            match (&lease.key, &lease.from, &lease.owner) {
                (LeaseKey::Worker(worker), _, _) => {
                    shares.entry(worker.clone()).or_default();
                }
                (_, None, Some(owner)) => *shares.entry(owner.clone()).or_default() += 1,
                _ => return false,
            }
        }
        let most = shares.values().max().copied().unwrap_or(0);
        let least = shares.values().min().copied().unwrap_or(0);
        shares.len() == number && least > 0 && most <= least + 1
    }

    /// Whether an event is in the documents; false while the database cannot be read.
    pub fn has(&self, event: usize) -> bool {
        let (id, key) = (ProjectionId::new("times", 1), DocumentKey::new(format!("e-{event}")));
        let read = self.wait_for(self.store.documents().read(&id, &[key]));
        read.is_ok_and(|found| found.iter().any(Option::is_some))
    }

    pub fn documents(&self, projection: &str) -> Documents {
        let listed = self.run(&["documents", "list", projection, "--limit", "0", "-o", "json"]);
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["key"].as_str().unwrap().to_owned(), line["document"].clone())).collect()
    }

    /// Nothing is lost, nothing doubled, and nothing in another order.
    #[track_caller]
    pub fn assert_right(&self, facts: &[Fact]) {
        assert_eq!(self.run(&["run", "--until-caught-up"]), "caught up\n");
        for (projection, expected) in oracle::documents(facts) {
            let found = self.documents(projection);
            let wrong: Vec<_> =
                expected.iter().filter(|(key, document)| found.get(*key) != Some(document)).collect();
            let more: Vec<_> = found.iter().filter(|(key, _)| !expected.contains_key(*key)).collect();
            let few = |wrong: &[(&String, &Value)]| {
                let shown = wrong.iter().take(3).map(|(key, expected)| {
                    format!("{key}\n  expected {expected}\n  found    {:?}", found.get(*key))
                });
                shown.collect::<Vec<_>>().join("\n")
            };
            assert!(
                wrong.is_empty() && more.is_empty(),
                "{projection}: {} of {} documents are wrong, {} too many\n{}",
                wrong.len(),
                expected.len(),
                more.len(),
                few(&wrong)
            );
        }
    }
}

impl Drop for Bed {
    /// What a test leaves that fails is kept, for whoever looks into it.
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the data and what the processes said: {}", folder.keep().display());
        }
    }
}

/// Waits for a fact.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}
