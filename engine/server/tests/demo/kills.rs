//! kill -9, again and again.

use std::{os::unix::process::ExitStatusExt, thread::sleep, time::Duration};

use foldstream_tests::repositories::{Kind, long, unborn};

use super::{Bed, facts::Facts, ran};

const KILLS: usize = 20;
const KILLS_BEFORE_THE_END: usize = 15;
/// Commits that every run has before it, so that it does not end before it is killed.
const COMMITS_AHEAD: usize = 1_500;
const COMMITS: u64 = 12_000;

/// When a run is killed: as soon as this has grown since it began.
type Moment = (&'static str, fn(&Facts) -> u64);
const MOMENTS: [Moment; 4] = [
    ("relay", Facts::relayed),
    ("write", Facts::projected),
    ("cut", Facts::cuts),
    ("checkpoint", Facts::checkpoints),
];

#[test]
fn killed_at_any_moment_it_goes_on_to_the_documents_of_an_undisturbed_run() {
    let bed = Bed::new(|folder| {
        unborn(folder, Kind { bare: true, sha256: false }).and_then(|()| long(folder, COMMITS, 4))
    });
    let line = bed.line();
    let (mut before_the_end, mut until, mut told) = (0, &line[0], Vec::new());
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
        let facts = Facts::of(&bed, "killed");
        told.push((moment, facts.taken(), facts.relayed(), facts.projected()));
    }
    assert!(before_the_end >= KILLS_BEFORE_THE_END, "{before_the_end} kills came before the end: {told:?}");
    bed.demo("killed", &["--until", until]).ok();
    bed.assert_files_are_the_tree_of(until, "killed");
    bed.demo("undisturbed", &["--until", until]).ok();
    bed.assert_same_documents("killed", "undisturbed");
}
