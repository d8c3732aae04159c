//! Processes that end one after the other at the same call.

use foldstream_model::{DocumentKey, Error, OnFailure, Ordering, ProjectionId, Sequence, StreamId};

use super::{Attempt, TOGETHER, TOO_MANY, Trial, blame, on_failure};

fn change(document: usize, sequence: u64) -> Attempt {
    Attempt::Change {
        projection: ProjectionId::new("p", 1),
        document: DocumentKey::new(format!("d-{document}")),
        stream: StreamId::new("s"),
        sequence: Sequence(sequence),
    }
}

fn touch(sequence: u64) -> Attempt {
    let projection = ProjectionId::new("p", 1);
    Attempt::Touch { projection, stream: StreamId::new("s"), sequence: Sequence(sequence) }
}

/// Makes all calls in their order, from the beginning. What is in hand when a call ends the process; none: all were made.
fn process(
    mut trial: Trial,
    calls: &[Attempt],
    ends: impl Fn(&Attempt) -> bool,
) -> (Trial, Vec<Attempt>, bool) {
    let (mut next, mut refused) = (0, Vec::new());
    while next < calls.len() {
        let count = trial.together(&calls[next..]);
        assert!(count > 0, "a trial that goes on");
        let now = calls[next..next + count].to_vec();
        next += count;
        if trial.guilty(&now[0]).is_some() {
            assert_eq!(count, 1, "only one is refused");
            refused.extend(now);
            continue;
        }
        let has_ended = now.iter().any(&ends);
        trial.begin(now);
        if has_ended {
            return (trial, refused, false);
        }
    }
    (trial, refused, true)
}

fn after(left: &Trial) -> Trial {
    let mut trial = Trial::default();
    trial.inherit(left);
    trial
}

#[test]
fn the_call_that_ends_processes_is_found_alone_whatever_stands_around_it() {
    let calls: Vec<_> = (1..500).map(touch).collect();
    for guilty in [1, 2, 63, 64, 65, 300, 499] {
        let mut left = Trial::default();
        for lives in 1.. {
            let (trial, refused, is_through) = process(after(&left), &calls, |call| *call == touch(guilty));
            left = trial;
            if is_through {
                assert_eq!(refused, [touch(guilty)]);
                assert_eq!(lives, TOO_MANY + 2, "once among others, and then alone");
                break;
            }
        }
    }
}

#[test]
fn two_that_end_processes_are_both_found() {
    let calls: Vec<_> = (1..200).map(touch).collect();
    let mut left = Trial::default();
    for _ in 0..20 {
        let (trial, refused, is_through) =
            process(after(&left), &calls, |call| [touch(7), touch(150)].contains(call));
        left = trial;
        if is_through {
            assert_eq!(refused, [touch(7), touch(150)]);
            return;
        }
    }
    panic!("never through");
}

#[test]
fn who_has_come_back_alone_is_not_blamed_for_what_came_before() {
    let mut trial = Trial::default();
    for _ in 1..TOO_MANY {
        trial.begin(vec![touch(1)]);
        trial = after(&trial);
    }
    trial.begin(vec![touch(1)]);
    trial.begin(vec![touch(2)]);
    let trial = after(&trial);
    assert_eq!(trial.guilty(&touch(1)), None);
    assert_eq!(trial.ends_of(&touch(1)), 0);
    assert_eq!(trial.ends_of(&touch(2)), 1);
}

#[test]
fn a_document_is_suspect_whichever_event_changes_it() {
    let mut trial = Trial::default();
    trial.begin(vec![change(1, 1), change(2, 1)]);
    let trial = after(&trial);
    assert!(trial.is_suspect(&change(1, 9)));
    assert_eq!(trial.together(&[change(3, 1), change(2, 5), change(3, 2)]), 1);
    assert!(!trial.is_suspect(&change(3, 1)));
}

#[test]
fn what_is_remembered_is_bounded_and_the_worst_stay() {
    let mut trial = Trial::default();
    trial.begin(vec![touch(1)]);
    for round in 0..20 {
        trial = after(&trial);
        let calls = (0..TOGETHER as u64).map(|call| touch(1_000 * round + call + 2)).collect();
        trial.begin(calls);
    }
    let trial = after(&trial);
    assert!(trial.suspects.len() <= super::MOST_SUSPECTS);
    assert_eq!(trial.ends_of(&touch(1)), 1);
}

#[test]
fn who_is_blamed_is_parked_only_where_it_finds_itself_again() {
    let (blamed, poison) = (blame(3, &touch(1)).context("somewhere"), Error::poison("cannot"));
    for configured in [OnFailure::Park, OnFailure::Discard, OnFailure::Stop] {
        for ordering in [Ordering::PerStream, Ordering::Commutative, Ordering::Global] {
            assert_eq!(on_failure(configured, ordering, &poison), configured);
            let parks = (configured, ordering) == (OnFailure::Park, Ordering::PerStream);
            let expected = if parks { OnFailure::Park } else { OnFailure::Stop };
            assert_eq!(on_failure(configured, ordering, &blamed), expected);
        }
    }
}
