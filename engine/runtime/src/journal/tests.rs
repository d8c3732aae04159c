use foldstream_model::{BasePolicy, ErrorKind, Sequence, StreamId};
use proptest::prelude::*;

use super::*;

const END: u128 = 12;

fn at(position: u128) -> Position {
    Position::new(position)
}

fn first() -> Journal {
    Journal {
        base: BasePolicy::First,
        start: at(0),
        horizon: at(0),
        entries: Vec::new(),
        last: None,
        trimmed: None,
        sealed: false,
    }
}

fn give_up(stream: &str) -> Entry {
    Entry::GiveUp { stream: StreamId::new(stream), up_to: Sequence(1) }
}

/// A wish of one who has read so far.
fn append(stream: &str, read: u128) -> Wish {
    Wish::Append { entry: give_up(stream), read: at(read) }
}

fn row(journal: &Journal, revision: u64) -> (Revision, Journal) {
    (Revision(revision), journal.clone())
}

fn stored(journal: &Journal) -> JournalView {
    JournalView::new(Some(row(journal, 1)), first())
}

#[test]
fn nothing_is_released_by_a_journal_that_is_not_stored() {
    let mut view = JournalView::new(None, first());
    assert!(!view.may_release(&at(0)));
    let next = view.next(&Wish::Raise(at(0))).unwrap().unwrap();
    view.written(next, Revision(1));
    assert!(view.may_release(&at(0)));
    assert!(!view.may_release(&at(1)));
}

/// Whoever takes a record for an event says so by the horizon, and nobody sets it aside afterwards.
#[test]
fn a_record_is_set_aside_before_it_is_released_or_never() {
    let mut view = stored(&Journal { horizon: at(7), ..first() });
    assert_eq!(view.next(&Wish::SetAside(at(7))).unwrap(), None);
    assert!(!view.sets_aside(&at(7)));
    let next = view.next(&Wish::SetAside(at(8))).unwrap().unwrap();
    view.written(next, Revision(2));
    assert!(view.sets_aside(&at(8)) && view.may_release(&at(8)) && !view.may_release(&at(9)));
    let places: Vec<_> = view.entries_before(&Place::end(at(8), 0), &at(9)).map(effect).collect();
    assert_eq!(places, [(Place::end(at(8), 1), Some(Entry::SetAside))]);
}

#[test]
fn the_horizon_never_goes_down() {
    let view = stored(&Journal { horizon: at(7), ..first() });
    assert_eq!(view.next(&Wish::Raise(at(6))).unwrap(), None);
    assert_eq!(view.next(&Wish::Raise(at(8))).unwrap().unwrap().horizon, at(8));
    assert_eq!(view.next(&Wish::Seal(at(6))).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn entries_are_numbered_at_the_horizon_that_they_were_appended_at() {
    let mut view = stored(&Journal { horizon: at(7), ..first() });
    for wish in [append("a", 7), append("b", 7), Wish::Raise(at(9)), append("c", 9)] {
        let next = view.next(&wish).unwrap().unwrap();
        view.written(next, Revision(2));
    }
    let numbers = |entries: &mut dyn Iterator<Item = Effective<'_>>| -> Vec<_> {
        entries.map(|effective| (effective.position.clone(), effective.number)).collect()
    };
    let (seven, eight) = (Place::end(at(7), 0), Place::end(at(8), 0));
    assert_eq!(numbers(&mut view.entries_after(&seven)), [(at(7), 1), (at(7), 2)]);
    assert_eq!(numbers(&mut view.entries_after(&Place::end(at(7), 1))), [(at(7), 2)]);
    assert_eq!(numbers(&mut view.entries_after(&eight)), []);
    assert_eq!(numbers(&mut view.entries_before(&eight, &at(10))), [(at(9), 1)]);
    assert_eq!(numbers(&mut view.entries_before(&seven, &at(9))), [(at(7), 1), (at(7), 2)]);
}

#[test]
fn who_is_behind_the_horizon_appends_nothing_even_when_it_finds_out_only_by_a_conflict() {
    let mut view = stored(&Journal { horizon: at(7), ..first() });
    assert_eq!(view.next(&append("a", 6)).unwrap(), None);
    assert!(view.next(&append("a", 7)).unwrap().is_some());
    view.take(Some(row(&Journal { horizon: at(8), ..first() }, 2))).unwrap();
    assert_eq!(view.next(&append("a", 7)).unwrap(), None);
}

#[test]
fn a_sealed_journal_takes_nothing_more_and_grants_what_it_holds() {
    let sealed = Journal { horizon: at(9), sealed: true, ..first() };
    let view = stored(&sealed);
    assert_eq!(view.next(&Wish::Seal(at(9))).unwrap(), None);
    assert_eq!(view.next(&Wish::Raise(at(9))).unwrap(), None);
    assert_eq!(view.next(&append("a", 9)).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(view.next(&Wish::Raise(at(10))).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn a_shard_without_records_behind_its_start_has_its_entries_and_its_end() {
    let start = Journal { start: at(5), horizon: at(5), ..first() };
    let mut view = stored(&start);
    let next = view.next(&append("a", 0)).unwrap().unwrap();
    view.written(next, Revision(2));
    assert_eq!(view.entries_after(&Place::BEGINNING).count(), 1);
    assert_eq!(view.entries_after(&Place::end(at(5), 1)).count(), 0);
    let sealed = view.next(&Wish::Seal(at(0))).unwrap().unwrap();
    assert!(sealed.sealed && sealed.horizon == at(5));
}

fn with_entries(horizon: u128, entries: &[(u128, &str)]) -> Journal {
    let entries = entries
        .iter()
        .map(|(after, stream)| JournalEntry { after: at(*after), entry: give_up(stream) })
        .collect();
    Journal { horizon: at(horizon), entries, ..first() }
}

/// The journal as it is once entries that were appended at horizons before a position are removed.
fn trimmed(journal: &Journal, before: u128) -> Journal {
    let entries = journal.entries.iter().filter(|known| known.after >= at(before)).cloned().collect();
    Journal { entries, trimmed: Some(at(before)), ..journal.clone() }
}

#[test]
fn entries_that_nobody_begins_before_are_removed_and_the_others_keep_their_places() {
    let journal = with_entries(9, &[(3, "a"), (5, "b"), (5, "c"), (8, "d")]);
    let view = stored(&trimmed(&journal, 5));
    let places: Vec<_> = view.entries_before(&Place::end(at(5), 1), &at(9)).map(effect).collect();
    assert_eq!(
        places.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>(),
        [Place::end(at(5), 2), Place::end(at(8), 1)]
    );
    assert!(view.refuse_if_lost(&Place::end(at(5), 0)).is_ok());
    assert_eq!(view.refuse_if_lost(&Place::end(at(4), 0)).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_worker_that_is_behind_keeps_the_entries_that_it_knew_and_is_refused_those_that_it_never_saw() {
    let journal = with_entries(9, &[(3, "a"), (5, "b")]);
    let mut view = stored(&journal);
    let later = Journal { horizon: at(12), ..trimmed(&journal, 9) };
    view.take(Some(row(&later, 2))).unwrap();
    let (start, end) = (Place::end(at(2), 0), at(12));
    assert_eq!(view.entries_before(&start, &end).count(), 2);
    assert_eq!(view.next(&append("a", 12)).unwrap(), None, "it is there already");
    assert_eq!(view.next(&Wish::Raise(at(13))).unwrap().unwrap().entries, []);
    view.passed(&Place::end(at(5), 0));
    assert_eq!(view.entries_before(&start, &end).count(), 1);

    let mut asleep = stored(&with_entries(3, &[(3, "a")]));
    let error = asleep.take(Some(row(&later, 2))).unwrap_err();
    assert!(error.kind() == ErrorKind::Fenced && error.message().contains("kept only from"), "{error}");
}

#[test]
fn an_unknown_answer_is_resolved_by_what_is_read_back() {
    let mut view = stored(&first());
    let wish = append("a", 0);
    let mine = view.next(&wish).unwrap().unwrap();

    view.take(Some(row(&first(), 1))).unwrap();
    assert_eq!(view.next(&wish).unwrap(), Some(mine.clone()), "it was not done: again");

    let others = Journal { horizon: at(4), ..mine };
    view.take(Some(row(&others, 3))).unwrap();
    assert_eq!(view.next(&wish).unwrap(), None, "it was done, and another worker went on");
}

#[test]
fn a_journal_that_went_back_or_disappeared_is_refused() {
    let mut view = stored(&Journal { horizon: at(7), ..first() });
    assert_eq!(view.take(None).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(view.take(Some(row(&first(), 2))).unwrap_err().kind(), ErrorKind::Internal);
    assert!(view.may_release(&at(7)), "what was known stays");
}

/// The store's row, and writes that are still on their way to it.
#[derive(Default)]
struct Store {
    row: Option<(Revision, Journal)>,
    revisions: u64,
    on_the_way: Vec<(Option<Revision>, Journal)>,
}

impl Store {
    fn put(&mut self, expected: Option<Revision>, journal: &Journal) -> Option<Revision> {
        if self.row.as_ref().map(|row| row.0) != expected {
            return None;
        }
        self.revisions += 1;
        self.row = Some(row(journal, self.revisions));
        Some(Revision(self.revisions))
    }

    fn horizon(&self) -> Option<Position> {
        self.row.as_ref().map(|row| row.1.horizon.clone())
    }
}

/// What a worker has let take effect: records and entries, with their places.
type Log = Vec<(Place, Option<Entry>)>;

struct Worker {
    view: JournalView,
    place: Place,
    log: Log,
}

impl Worker {
    fn begin(store: &Store) -> Self {
        let view = JournalView::new(store.row.clone(), first());
        Self { view, place: Place::end(at(0), 0), log: Vec::new() }
    }

    fn wish(&mut self, store: &mut Store, wish: &Wish, answer: Answer) {
        let Ok(Some(next)) = self.view.next(wish) else { return };
        let expected = self.view.revision();
        match answer {
            Answer::Told => match store.put(expected, &next) {
                Some(revision) => return self.view.written(next, revision),
                None => self.view.take(store.row.clone()).unwrap(),
            },
            Answer::LostBefore => {}
            Answer::LostAfter => {
                store.put(expected, &next);
            }
            Answer::Delayed => store.on_the_way.push((expected, next)),
        }
        self.view.take(store.row.clone()).unwrap();
    }

    fn apply(&mut self, effects: Log) {
        self.place = effects.last().map_or(self.place.clone(), |(place, _)| place.clone());
        self.log.extend(effects);
    }

    fn release(&mut self, store: &Store) {
        let next = at(self.place.position.as_u64().unwrap() as u128 + 1);
        let may_release = self.view.may_release(&next);
        let entries: Log = match may_release {
            true => self.view.entries_before(&self.place, &next).map(effect).collect(),
            false => self.view.entries_after(&self.place).map(effect).collect(),
        };
        self.apply(entries);
        if may_release {
            assert!(store.horizon().is_some_and(|horizon| next <= horizon), "released beyond the horizon");
            let is_aside = self.view.sets_aside(&next);
            self.apply(vec![(Place::end(next, 0), is_aside.then_some(Entry::SetAside))]);
        }
    }
}

fn effect(effective: Effective<'_>) -> (Place, Option<Entry>) {
    (Place::end(effective.position.clone(), effective.number), Some(effective.entry.clone()))
}

/// How a write of a worker ends.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Told,
    LostBefore,
    LostAfter,
    /// It is lost, and done some time later if nothing else was.
    Delayed,
}

#[derive(Debug, Clone)]
enum Step {
    Wish(Wish, Answer),
    Release,
    Crash,
    Arrive,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let answer = prop::sample::select(vec![
        Answer::Told,
        Answer::Told,
        Answer::LostBefore,
        Answer::LostAfter,
        Answer::Delayed,
    ]);
    let wish = prop_oneof![
        8 => (1..=END).prop_map(|to| Wish::Raise(at(to))),
        3 => (1..=END).prop_map(|record| Wish::SetAside(at(record))),
        4 => ("[a-f]", 0..=END).prop_map(|(stream, read)| append(&stream, read)),
        1 => Just(Wish::Seal(at(END))),
    ];
    let step = prop_oneof![
        6 => (wish, answer).prop_map(|(wish, answer)| Step::Wish(wish, answer)),
        8 => Just(Step::Release),
        1 => Just(Step::Crash),
        2 => Just(Step::Arrive),
    ];
    prop::collection::vec((0usize..2, step), 0..80)
}

/// What any worker must let take effect, by the journal as it is in the end.
fn canonical(store: &Store) -> Log {
    let view = JournalView::new(store.row.clone(), first());
    let mut log = Log::new();
    for position in 0..=END {
        if position > 0 {
            let is_aside = view.sets_aside(&at(position));
            log.push((Place::end(at(position), 0), is_aside.then_some(Entry::SetAside)));
        }
        let entries = view.journal().entries.iter().filter(|known| known.after == at(position));
        log.extend(
            (1..)
                .zip(entries)
                .map(|(number, known)| (Place::end(at(position), number), Some(known.entry.clone()))),
        );
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn workers_that_race_with_lost_answers_release_the_same_at_the_same_places(steps in steps()) {
        let mut store = Store::default();
        let mut workers = [Worker::begin(&store), Worker::begin(&store)];
        let mut logs = Vec::new();
        for (worker, step) in steps {
            let worker = &mut workers[worker];
            match step {
                Step::Wish(wish, answer) => worker.wish(&mut store, &wish, answer),
                Step::Release => worker.release(&store),
                Step::Crash => logs.push(std::mem::replace(worker, Worker::begin(&store)).log),
                Step::Arrive => {
                    if let Some((expected, journal)) = store.on_the_way.pop() {
                        store.put(expected, &journal);
                    }
                }
            }
        }
        logs.extend(workers.map(|worker| worker.log));
        let canonical = canonical(&store);
        for log in logs {
            prop_assert!(canonical.starts_with(&log), "canonical={canonical:?} log={log:?}");
        }
    }
}
