//! Wrong versions of the engine, one at a time: each must be found within so many seeds, or the simulation has gone soft.

use std::{fmt, ops::Range};

use foldstream_aws::planted as aws;
use foldstream_runtime::planted::{self as engine, Bug};

use crate::{
    each, less, number,
    run::{self, Failure},
    stores::Bed,
    tell, tell_shortened,
};

/// Rules whose breach needs so many seeds are broken only when they are named.
const RARE: u64 = 2_000;

/// A rule that can be broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    OfEngine(Bug),
    OfConnectors(aws::Bug),
}

impl Rule {
    /// All whose breach shows over these stores.
    fn all(bed: Bed) -> Vec<Self> {
        match bed {
            Bed::Memory => Bug::ALL.iter().copied().map(Self::OfEngine).collect(),
            Bed::Aws => aws::Bug::ALL.iter().copied().map(Self::OfConnectors).collect(),
        }
    }

    fn within(self) -> u64 {
        match self {
            Self::OfEngine(bug) => within(bug),
            Self::OfConnectors(bug) => within_of_connectors(bug),
        }
    }

    fn plant(self) {
        match self {
            Self::OfEngine(bug) => engine::plant(Some(bug)),
            Self::OfConnectors(bug) => aws::plant(Some(bug)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfEngine(bug) => write!(f, "{bug:?}"),
            Self::OfConnectors(bug) => write!(f, "{bug:?}"),
        }
    }
}

/// Likewise. All but four have not been noticed yet.
fn within_of_connectors(bug: aws::Bug) -> u64 {
    match bug {
        aws::Bug::SequencesAsText | aws::Bug::SubSequenceIgnored | aws::Bug::RefusedTakenForPut => 25,
        aws::Bug::ExpiredIteratorToLatest => 100,
        _ => RARE,
    }
}

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
        | Bug::PartTakenForWhole
        | Bug::GenerationIgnored => 800,
        Bug::UnparkedWithoutCondition => 1_800,
        Bug::CleanedUnderPaused
        | Bug::WrittenBehindGuard
        | Bug::RecordedUndecided
        | Bug::ForkPassedUnsaid
        | Bug::RedrivenUnderWay
        | Bug::OvertakenRedriven
        | Bug::OvertakenGoesOn => RARE,
        _ => 200,
    }
}

/// The first seed that fails, and how.
fn found(bed: Bed, rule: Rule, seeds: Range<u64>) -> Option<(u64, Failure)> {
    rule.plant();
    seeds.into_iter().find_map(|seed| Some((seed, run::seed(bed, seed, &less()).err()?)))
}

fn chosen(bed: Bed) -> Vec<Rule> {
    let name = std::env::var("SIMULATION_PLANTED").unwrap_or_default();
    let is_chosen = |rule: &Rule| match name.is_empty() {
        true => rule.within() < RARE,
        false => rule.to_string() == name,
    };
    Rule::all(bed).into_iter().filter(is_chosen).collect()
}

fn all_are_found(bed: Bed) {
    let rules = chosen(bed);
    let names: Vec<String> = Rule::all(bed).iter().map(Rule::to_string).collect();
    assert!(!rules.is_empty(), "there is no such bug; the names: {names:?}");
    let from = number("SIMULATION_FROM", 0);
    // What a wrong engine says when it panics is of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let hunts = each(0..rules.len() as u64, |index| {
        let rule = rules[usize::try_from(index).expect("an index")];
        let seeds = number("SIMULATION_SEEDS", rule.within());
        let found = found(bed, rule, from..from + seeds);
        println!("{}", row(rule, seeds, found.as_ref().map(|(seed, failure)| (seed - from + 1, failure))));
        found.ok_or(rule)
    });
    drop(std::panic::take_hook());
    let missed = hunts.iter().filter_map(|(_, hunt)| hunt.as_ref().err());
    let missed: Vec<String> = missed.map(Rule::to_string).collect();
    if let ([rule], Some((_, Ok((seed, failure))))) = (&rules[..], hunts.into_iter().next()) {
        rule.plant();
        tell(bed, seed, &less(), &failure);
        tell_shortened(bed, seed, less(), failure);
    }
    assert!(missed.is_empty(), "these were not found: {missed:?}");
}

#[test]
fn every_planted_bug_is_found() {
    all_are_found(Bed::Memory);
}

#[test]
fn every_planted_bug_of_the_connectors_is_found() {
    all_are_found(Bed::Aws);
}

fn row(rule: Rule, seeds: u64, found: Option<(u64, &Failure)>) -> String {
    let (name, wrong) = (rule.to_string(), found.map_or("", |(_, failure)| failure.wrong.as_str()));
    let took = found.map_or("not in".to_owned(), |(took, _)| format!("{took:>3} of"));
    format!("{name:<24} {took:>6} {seeds:>4}  {:.80}", wrong.lines().next().unwrap_or_default())
}
