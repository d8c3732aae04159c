use std::collections::BTreeSet;

use foldstream_model::{
    Document, DocumentKey, Epoch, EventType, Fed, Guard, Mark, MarkNumber, OrderKey, Ordering, Place,
    Position, Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp,
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
    Waiting { order: parked_order(Ordering::Global, &origin), origin, touch, is_discarded: false }
}

#[test]
fn an_event_that_has_come_too_late_for_a_global_document_is_recorded_and_leaves_the_lot() {
    let beyond = OrderKey { recorded_at: Timestamp::from_micros(9), ..event("s", 9).order_key() };
    let fed =
        Fed::Ordered { revision: 1, key: Some(Box::new(beyond)), read: Box::new(ShardPlaces::default()) };
    let guard = Guard { mark: Some(Mark::Set(MarkNumber(1))), ..Guard::new(Epoch(0), fed) };
    let mut stored = StoredDocument { guard, document: None };

    let mut redrive = Redrive::new(DocumentKey::new("d"), Ordering::Global, Epoch(0), false);
    let mut lot: Vec<Origin> = vec![event("t", 5), event("t", 12)];
    let mut recorded = BTreeSet::new();
    for _ in 0..50 {
        match redrive.step() {
            Step::Read => redrive.read(Some(stored.clone())),
            Step::List => redrive.listed(lot.iter().cloned().map(waiting).collect(), Vec::new()),
            Step::RecordLate(late) => {
                recorded.extend(late.into_iter().map(|late| late.origin.recorded_at));
                redrive.late_recorded();
            }
            Step::Write(write) => {
                stored = write.put;
                redrive.written(Written::Done);
            }
            Step::Remove(orders) => {
                lot.retain(|origin| !orders.contains(&parked_order(Ordering::Global, origin)));
                redrive.removed();
            }
            Step::Close(_) => redrive.closed(lot.is_empty()),
            Step::Decide(_) => unreachable!("no discard was asked for"),
            Step::Ended(ended) => {
                assert_eq!((ended.done, ended.refused.is_none()), (2, true));
                break;
            }
        }
    }
    assert_eq!(recorded, BTreeSet::from([Timestamp::from_micros(5)]));
    assert!(lot.is_empty());
    assert_eq!(stored.guard.mark, Some(Mark::Cleared(MarkNumber(1))));
}
