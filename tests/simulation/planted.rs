//! Wrong versions of the engine, one at a time: each must be found within so many seeds, or the simulation has gone soft.

use std::ops::Range;

use foldstream_runtime::planted::{self, Bug};

use crate::{
    each, less, number,
    run::{self, Failure},
    tell, tell_shortened,
};

/// Rules whose breach needs so many seeds are broken only when they are named.
const RARE: u64 = 2_000;

/// Seeds, from the first on, of which one must fail: several times as many as it took.
fn within(bug: Bug) -> u64 {
    match bug {
        Bug::GapSkipped
        | Bug::DuplicateReleased
        | Bug::BaseFromFirstEvent
        | Bug::OwnPlace
        | Bug::BeyondHorizon
        | Bug::JournalWithoutCondition
        | Bug::CheckpointWithoutCut
        | Bug::LeaseForEver
        | Bug::RealDelete
        | Bug::CoalescerKeepsFirst
        | Bug::LostAnswerIgnored
        | Bug::CheckpointOnRead
        | Bug::InFlightIgnored => 25,
        Bug::EarlyToEveryChild
        | Bug::LossTakenForEnd
        | Bug::LossSkipped
        | Bug::SetAsideRead
        | Bug::EpochIgnored
        | Bug::ShrunkUnderMark
        | Bug::UnparkedWithoutCondition
        | Bug::PartTakenForWhole
        | Bug::GenerationIgnored => 800,
        Bug::CleanedUnderPaused
        | Bug::WrittenBehindGuard
        | Bug::RecordedUndecided
        | Bug::ForkPassedUnsaid
        | Bug::RedrivenUnderWay
        | Bug::OvertakenRedriven => RARE,
        _ => 200,
    }
}

/// The first seed that fails, and how.
fn found(bug: Bug, seeds: Range<u64>) -> Option<(u64, Failure)> {
    planted::plant(Some(bug));
    seeds.into_iter().find_map(|seed| Some((seed, run::seed(seed, &less()).err()?)))
}

fn chosen() -> Vec<Bug> {
    let name = std::env::var("SIMULATION_PLANTED").unwrap_or_default();
    let is_chosen = |bug: &Bug| match name.is_empty() {
        true => within(*bug) < RARE,
        false => format!("{bug:?}") == name,
    };
    Bug::ALL.iter().copied().filter(is_chosen).collect()
}

#[test]
fn every_planted_bug_is_found() {
    let bugs = chosen();
    assert!(!bugs.is_empty(), "there is no such bug; the names: {:?}", Bug::ALL);
    let from = number("SIMULATION_FROM", 0);
    // What a wrong engine says when it panics is of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let hunts = each(0..bugs.len() as u64, |index| {
        let bug = bugs[usize::try_from(index).expect("an index")];
        let seeds = number("SIMULATION_SEEDS", within(bug));
        let found = found(bug, from..from + seeds);
        println!("{}", row(bug, seeds, found.as_ref().map(|(seed, failure)| (seed - from + 1, failure))));
        found.ok_or(bug)
    });
    drop(std::panic::take_hook());
    let missed: Vec<Bug> = hunts.iter().filter_map(|(_, hunt)| hunt.as_ref().err().copied()).collect();
    if let ([bug], Some((_, Ok((seed, failure))))) = (&bugs[..], hunts.into_iter().next()) {
        planted::plant(Some(*bug));
        tell(seed, &less(), &failure);
        tell_shortened(seed, less(), failure);
    }
    assert!(missed.is_empty(), "these were not found: {missed:?}");
}

fn row(bug: Bug, seeds: u64, found: Option<(u64, &Failure)>) -> String {
    let (name, wrong) = (format!("{bug:?}"), found.map_or("", |(_, failure)| failure.wrong.as_str()));
    let took = found.map_or("not in".to_owned(), |(took, _)| format!("{took:>3} of"));
    format!("{name:<24} {took:>6} {seeds:>4}  {:.80}", wrong.lines().next().unwrap_or_default())
}
