use foldstream_model::{ErrorKind, Position};
use proptest::prelude::*;

use super::*;

fn place(number: u64) -> Place {
    Place::end(Position::new(number.into()), 0)
}

#[derive(Debug, Clone)]
enum Step {
    Open {
        gap: u64,
        touches: usize,
    },
    /// Settles up to so many touches of some batch.
    Settle {
        batch: usize,
        touches: usize,
    },
    Halt {
        behind: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..4, 0usize..4).prop_map(|(gap, touches)| Step::Open { gap, touches }),
        6 => (0usize..30, 0usize..4).prop_map(|(batch, touches)| Step::Settle { batch, touches }),
        1 => (0u64..20).prop_map(|behind| Step::Halt { behind }),
    ];
    prop::collection::vec(step, 0..60)
}

/// Remembers every batch, and counts the prefix anew each time.
#[derive(Default)]
struct Naive {
    batches: Vec<(u64, usize, BatchId)>,
    halted_at: Option<u64>,
}

impl Naive {
    fn settled(&self) -> u64 {
        let halted_at = self.halted_at.unwrap_or(u64::MAX);
        let prefix = self.batches.iter().take_while(|(end, left, _)| *left == 0 && *end < halted_at);
        prefix.last().map_or(0, |(end, ..)| *end)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_settled_place_is_the_end_of_the_longest_settled_prefix(steps in steps()) {
        let mut progress = Progress::new(place(0));
        let mut naive = Naive::default();
        for step in steps {
            let before = progress.settled().clone();
            match step {
                Step::Open { gap, touches } => {
                    let end = naive.batches.last().map_or(0, |(end, ..)| *end) + gap;
                    let id = progress.open(place(end), touches).unwrap();
                    naive.batches.push((end, touches, id));
                }
                Step::Settle { batch, touches } => {
                    let Some((_, left, id)) = naive.batches.get_mut(batch) else { continue };
                    let answer = progress.settle(*id, touches);
                    prop_assert_eq!(answer.is_ok(), touches <= *left);
                    *left -= if touches <= *left { touches } else { 0 };
                }
                Step::Halt { behind } => {
                    let at = naive.settled() + behind;
                    prop_assert_eq!(progress.halt_at(place(at)).is_ok(), behind > 0);
                    if behind > 0 {
                        naive.halted_at = Some(naive.halted_at.map_or(at, |halted| halted.min(at)));
                    }
                }
            }
            prop_assert!(*progress.settled() >= before);
            prop_assert_eq!(progress.settled(), &place(naive.settled()));
            prop_assert_eq!(progress.in_flight(), naive.batches.iter().map(|(_, left, _)| left).sum::<usize>());
        }
    }
}

#[test]
fn a_batch_without_touches_is_settled_at_once_but_waits_for_those_before() {
    let mut progress = Progress::new(Place::BEGINNING);
    progress.open(place(1), 0).unwrap();
    assert_eq!(progress.settled(), &place(1));
    let slow = progress.open(place(2), 1).unwrap();
    progress.open(place(3), 0).unwrap();
    assert_eq!(progress.settled(), &place(1));
    progress.settle(slow, 1).unwrap();
    assert_eq!(progress.settled(), &place(3));
}

#[test]
fn batches_are_opened_in_the_order_of_their_places() {
    let mut progress = Progress::new(place(5));
    assert_eq!(progress.open(place(5), 1).unwrap_err().kind(), ErrorKind::Internal);
    progress.open(place(7), 1).unwrap();
    assert_eq!(progress.open(place(6), 1).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn nothing_at_or_beyond_poison_ever_counts_as_settled() {
    let mut progress = Progress::new(place(0));
    let first = progress.open(place(10), 1).unwrap();
    let second = progress.open(place(20), 1).unwrap();
    progress.halt_at(Place::new(Position::new(15), 0, 0)).unwrap();
    progress.settle(second, 1).unwrap();
    progress.settle(first, 1).unwrap();
    progress.open(place(30), 0).unwrap();
    assert_eq!(progress.settled(), &place(10));
}

#[test]
fn what_was_opened_before_poison_is_waited_for_and_so_is_the_part_before_it_of_its_batch() {
    let mut progress = Progress::new(place(0));
    let first = progress.open(place(10), 1).unwrap();
    progress.halt_at(Place::new(Position::new(15), 0, 0)).unwrap();
    let cut_short = progress.open(place(20), 1).unwrap();
    progress.settle(first, 1).unwrap();
    assert!(!progress.is_settled_before_halt());
    progress.settle(cut_short, 1).unwrap();
    assert!(progress.is_settled_before_halt());
    assert_eq!(progress.settled(), &place(10));
}

#[test]
fn of_a_batch_in_which_poison_is_met_late_all_is_waited_for_but_what_it_holds_up() {
    let mut progress = Progress::new(place(0));
    let first = progress.open(place(10), 1).unwrap();
    let second = progress.open(place(20), 4).unwrap();
    progress.open(place(30), 1).unwrap();
    progress.hold_up(second, 3);
    progress.halt_at(Place::new(Position::new(15), 0, 0)).unwrap();
    progress.settle(first, 1).unwrap();
    assert!(!progress.is_settled_before_halt());
    progress.settle(second, 1).unwrap();
    assert!(progress.is_settled_before_halt());
    progress.hold_up(second, -1);
    assert!(!progress.is_settled_before_halt());
}
