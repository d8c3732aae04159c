//! From the dates of commits to instants.

use foldstream_model::Timestamp;

/// 9999-01-01T00:00:00Z. Dates of commits are whatever somebody's clock said; later ones are taken as this one, which
/// leaves the calendar a year of microseconds for [`RecordedAt`] to move on.
const LATEST: i64 = 253_370_764_800;

/// The instant of a commit's date.
pub fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds.min(LATEST))
}

/// When the events of each commit count as recorded: at the committer's date, or a microsecond after the commit before
/// where that is not later, so that it grows strictly along the line.
pub struct RecordedAt {
    last: Option<Timestamp>,
}

impl RecordedAt {
    /// Goes on behind the last commit that was taken.
    pub fn after(last: Option<Timestamp>) -> Self {
        Self { last }
    }

    pub fn next(&mut self, committed: i64) -> Timestamp {
        let committed = instant(committed);
        let next = self.last.map_or(committed, |last| committed.max(last.plus_micros(1)));
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn it_grows_whatever_the_clocks_said(dates in prop::collection::vec(
            prop_oneof![any::<i64>(), 0i64..5, Just(i64::MAX), Just(i64::MIN)], 1..50)
        ) {
            let mut recorded = RecordedAt::after(None);
            let instants: Vec<_> = dates.iter().map(|date| recorded.next(*date)).collect();
            prop_assert!(instants.is_sorted_by(|earlier, later| earlier < later));
            prop_assert!(instants.iter().zip(&dates).all(|(instant, date)| *instant >= super::instant(*date)));
        }
    }

    #[test]
    fn a_date_that_is_later_stands_as_it_is() {
        let mut recorded = RecordedAt::after(Some(Timestamp::from_seconds(9)));
        assert_eq!(recorded.next(10), Timestamp::from_seconds(10));
        assert_eq!(recorded.next(10), Timestamp::from_micros(10_000_001));
        assert_eq!(recorded.next(3), Timestamp::from_micros(10_000_002));
    }
}
