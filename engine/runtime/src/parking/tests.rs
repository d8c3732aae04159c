use std::collections::BTreeSet;

use foldstream_model::{
    Document, DocumentKey, Epoch, Error, EventType, Fed, Guard, Mark, MarkNumber, Ordering, Place, Position,
    Reach, Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp,
    ports::{StoredDocument, Touch, Written},
};

use super::{Redrive, Step, Waiting, parked_order};
use crate::guard::Origin;

fn event(stream: &str, at: i64) -> Origin {
    Origin {
        shard: ShardNumber(0),
        place: Place::new(Position::new(at.unsigned_abs().into()), 0, 0),
        stream: StreamId::new(stream),
        sequence: Sequence(1),
        event_type: EventType::new("Happened"),
        recorded_at: Timestamp::from_micros(at),
    }
}

fn waiting(origin: Origin) -> Waiting {
    let touch = Touch { key: DocumentKey::new("d"), change: Box::new(|_: &mut Option<Document>| Ok(())) };
    let order = parked_order(Ordering::Global, &origin);
    Waiting { order, origin, touch, is_discarded: false, is_late: false }
}

fn late(origin: Origin) -> Waiting {
    let applied = |_: &mut Option<Document>| Err(Error::poison("it is applied"));
    let touch = Touch { key: DocumentKey::new("d"), change: Box::new(applied) };
    Waiting { touch, is_late: true, ..waiting(origin) }
}

/// What is stored, waits and was recorded as late after the redrive of a document that has nothing yet, and of which is
/// parked what stands up to place 12, as far as it was read to there.
fn redriven(mut lot: Vec<Waiting>, read: i64) -> (StoredDocument, Vec<i64>, Vec<i64>, u64) {
    let parked = Reach { key: Some(event("t", 12).order_key()), read: read_to(read) };
    let (read, parked) = (Box::default(), Some(Box::new(parked)));
    let fed = Fed::Ordered { revision: 1, key: None, read, parked };
    let guard = Guard { mark: Some(Mark::Set(MarkNumber(1))), ..Guard::new(Epoch(0), fed) };
    let mut stored = StoredDocument { guard, document: None };

    let mut redrive = Redrive::new(DocumentKey::new("d"), Ordering::Global, Epoch(0), false);
    let mut recorded = BTreeSet::new();
    loop {
        match redrive.step() {
            Step::Read => redrive.read(Some(stored.clone())),
            Step::List => {
                let again = |one: &Waiting| match one.is_late {
                    true => late(one.origin.clone()),
                    false => waiting(one.origin.clone()),
                };
                redrive.listed(lot.iter().map(again).collect(), Vec::new());
            }
            Step::RecordLate(late) => {
                recorded.extend(late.into_iter().map(|late| late.origin.recorded_at.micros()));
                redrive.late_recorded();
            }
            Step::Write(write) => {
                stored = write.put;
                redrive.written(Written::Done);
            }
            Step::Remove(orders) => {
                lot.retain(|one| !orders.contains(&one.order));
                redrive.removed();
            }
            Step::Close(_) => redrive.closed(lot.is_empty()),
            Step::Decide(_) => unreachable!("no discard was asked for"),
            Step::Ended(ended) => {
                assert_eq!((ended.refused.is_none(), ended.is_under_way), (true, !lot.is_empty()));
                let left = lot.iter().map(|one| one.origin.recorded_at.micros()).collect();
                return (stored, recorded.into_iter().collect(), left, ended.done);
            }
        }
    }
}

fn read_to(place: i64) -> ShardPlaces {
    let mut read = ShardPlaces::default();
    read.places.insert(ShardNumber(0), event("s", place).place);
    read
}

fn stands_at(stored: &StoredDocument) -> (Option<i64>, ShardPlaces) {
    let Fed::Ordered { key, read, .. } = &stored.guard.fed else { panic!("no global guard") };
    (key.as_ref().map(|key| key.recorded_at.micros()), (**read).clone())
}

#[test]
fn what_was_overtaken_on_its_way_into_the_lot_is_late() {
    let unread = Origin { shard: ShardNumber(1), ..event("s", 5) };
    let (stored, recorded, left, done) = redriven(vec![waiting(unread), waiting(event("t", 12))], 12);
    assert_eq!((recorded, left, done), (vec![5], vec![], 2));
    assert_eq!(stored.guard.mark, Some(Mark::Cleared(MarkNumber(1))));
    assert_eq!(stands_at(&stored), (Some(12), read_to(12)), "the document takes over what was read");
}

#[test]
fn what_is_on_record_as_late_is_not_applied_although_it_was_read_since() {
    let (stored, recorded, left, done) = redriven(vec![late(event("s", 5)), waiting(event("t", 12))], 12);
    assert_eq!((recorded, left, done), (vec![], vec![], 2));
    assert_eq!(stored.guard.mark, Some(Mark::Cleared(MarkNumber(1))));
}

#[test]
fn what_is_on_its_way_into_the_lot_stays_there_and_the_mark_with_it() {
    let (stored, recorded, left, done) = redriven(vec![waiting(event("t", 12)), waiting(event("t", 13))], 20);
    assert_eq!((recorded, left, done), (vec![], vec![13], 1));
    assert_eq!(stored.guard.mark, Some(Mark::Set(MarkNumber(1))));
    assert_eq!(stands_at(&stored), (Some(12), ShardPlaces::default()), "more of it may come yet");
}
