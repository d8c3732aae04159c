//! kill -9, again and again.

use std::{
    cell::OnceCell,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use foldstream_tests::repositories::{Kind, long, unborn};
use rusqlite::{Connection, OpenFlags};

use super::{Bed, ran};

const KILLS: usize = 20;
const KILLS_BEFORE_THE_END: usize = 15;
/// Commits that every run has before it, so that it does not end before it is killed.
const COMMITS_AHEAD: usize = 2_500;
const COMMITS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// What the database of a running demo holds, read beside it as any tool could.
pub struct Facts {
    file: PathBuf,
    database: OnceCell<Connection>,
}

impl Facts {
    pub fn of(bed: &Bed, data: &str) -> Self {
        Self { file: bed.data(data).join("foldstream.db"), database: OnceCell::new() }
    }

    /// Commits in the event store.
    fn taken(&self) -> u64 {
        self.number("SELECT last FROM streams WHERE id = 'history'")
    }

    fn relayed(&self) -> u64 {
        self.number("SELECT relayed FROM logs")
    }

    /// Commits in the read model `activity`.
    pub fn projected(&self) -> u64 {
        self.number("SELECT sum(json_extract(fields, '$.commits')) FROM activity_v1")
    }

    /// A number that grows whenever a row of this kind is written.
    fn saved(&self, kind: &str) -> u64 {
        self.number(&format!("SELECT max(revision) FROM rows WHERE kind = '{kind}'"))
    }

    /// Nothing, as long as there is nothing.
    fn number(&self, question: &str) -> u64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if self.database.get().is_none()
            && self.file.exists()
            && let Ok(database) = Connection::open_with_flags(&self.file, flags)
        {
            let _ = self.database.set(database);
        }
        let Some(database) = self.database.get() else { return 0 };
        database.query_row(question, (), |row| row.get::<_, Option<u64>>(0)).ok().flatten().unwrap_or(0)
    }

    /// Waits for a fact, or for the end of the process.
    pub fn wait_until(&self, child: &mut Child, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "nothing happens any more");
            sleep(Duration::from_millis(1));
        }
    }
}

/// The moments at which a run is killed: as soon as something has grown since it began.
const MOMENTS: [(&str, fn(&Facts) -> u64); 4] = [
    ("relay", Facts::relayed),
    ("write", Facts::projected),
    ("cut", |facts| facts.saved("cuts")),
    ("checkpoint", |facts| facts.saved("checkpoints")),
];

#[test]
fn killed_at_any_moment_it_goes_on_to_the_documents_of_an_undisturbed_run() {
    let bed = Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| long(folder, COMMITS, 4))
    });
    let line = bed.line();
    let (mut before_the_end, mut until) = (0, &line[0]);
    for kill in 0..KILLS {
        let facts = Facts::of(&bed, "killed");
        until = &line[(facts.taken() as usize + COMMITS_AHEAD).min(line.len() - 1)];
        let (moment, measure) = MOMENTS[kill % MOMENTS.len()];
        let start = measure(&facts);
        let mut child = bed.start_demo("killed", &["--until", until]);
        facts.wait_until(&mut child, |facts| measure(facts) > start);
        // With nobody else at the database, the next run has to recover it.
        drop(facts);
        sleep(Duration::from_millis(kill as u64 / 4 * 3));
        child.kill().unwrap();
        let signal = child.wait().unwrap().signal();
        let ran = ran(child);
        assert!(signal == Some(9) || ran.code == Some(0), "{moment}: {ran:?}");
        before_the_end += usize::from(signal == Some(9) && ran.out.is_empty());
    }
    assert!(before_the_end >= KILLS_BEFORE_THE_END, "only {before_the_end} kills came before the end");
    bed.demo("killed", &["--until", until]).ok();
    bed.assert_files_are_the_tree_of(until, "killed");
    bed.demo("undisturbed", &["--until", until]).ok();
    bed.assert_same_documents("killed", "undisturbed");
}
