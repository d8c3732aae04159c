//! What an [`EventStore`] promises.

use std::sync::Mutex;

use bytes::Bytes;

use super::{HOSTILE, together};
use crate::{
    ErrorKind, Event, EventId, EventType, SchemaVersion, Sequence, StreamId, Timestamp,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent, Offset},
};

/// Checks a store. It appends to streams whose ids begin with `scope`, which no run before may have used.
pub async fn run(store: &dyn EventStore, scope: &str) {
    let suite = Suite { store, scope, acknowledged: Mutex::default() };
    suite.an_unknown_stream_has_nothing().await;
    suite.sequences_follow_the_last_one().await;
    suite.a_conflict_says_what_is_there_and_writes_nothing().await;
    suite.several_streams_are_appended_to_all_or_nothing().await;
    suite.what_is_no_append_is_refused().await;
    suite.an_event_is_kept_as_it_was().await;
    suite.a_stream_is_read_in_parts().await;
    suite.all_is_read_in_commit_order().await;
    suite.last_sequences_come_in_the_order_asked().await;
    suite.hostile_ids_are_ids().await;
    suite.of_racing_appends_one_is_done().await;
    suite.appends_that_expect_nothing_all_get_their_place().await;
}

struct Suite<'s> {
    store: &'s dyn EventStore,
    scope: &'s str,
    /// The last place that an append was told: what is acknowledged up to it has to be shown, if not at once.
    acknowledged: Mutex<Offset>,
}

/// How often a store is asked for what it has not shown yet.
const PATIENCE: usize = 100_000;

fn new_event(name: &str) -> NewEvent {
    NewEvent {
        id: EventId::new(format!("id {name}")),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_seconds(1),
        effective_at: Timestamp::from_seconds(1),
        payload: Bytes::from(format!("{{\"name\":\"{name}\"}}")),
        metadata: Bytes::new(),
    }
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence.0).collect()
}

impl Suite<'_> {
    fn stream(&self, name: &str) -> StreamId {
        StreamId::new(format!("{}/{name}", self.scope))
    }

    async fn append(&self, stream: &StreamId, expected: ExpectedSequence, count: usize) -> Appended {
        let events = (0..count).map(|number| new_event(&number.to_string())).collect();
        let append = Append { stream: stream.clone(), expected, events };
        self.append_all(vec![append]).await
    }

    async fn append_all(&self, appends: Vec<Append>) -> Appended {
        let appended = self.store.append(appends).await.expect("an append is answered");
        if let Appended::Done(offset) = &appended {
            let mut acknowledged = self.acknowledged.lock().expect("nothing panics with it");
            *acknowledged = offset.max(&acknowledged).clone();
        }
        appended
    }

    async fn append_done(&self, stream: &StreamId, expected: ExpectedSequence, count: usize) -> Offset {
        match self.append(stream, expected, count).await {
            Appended::Done(offset) => offset,
            conflict => panic!("the stream is where it was expected: expected={expected:?} {conflict:?}"),
        }
    }

    async fn read(&self, stream: &StreamId) -> Vec<Event> {
        self.store.read_stream(stream, Sequence(0), 1_000).await.expect("a stream is read")
    }

    async fn last(&self, stream: &StreamId) -> Option<Sequence> {
        let last =
            self.store.last_sequences(std::slice::from_ref(stream)).await.expect("last sequences are read");
        assert_eq!(last.len(), 1, "one answer a stream");
        last[0]
    }

    /// All events behind an offset, in pages, until all that was acknowledged is there.
    async fn read_all(&self, after: &Offset, page: usize) -> Vec<(Offset, Event)> {
        let acknowledged = self.acknowledged.lock().expect("nothing panics with it").clone();
        let (mut after, mut all) = (after.clone(), Vec::new());
        for _ in 0..PATIENCE {
            let read = self.store.read_all(&after, page).await.expect("all events are read");
            assert!(read.len() <= page, "at most as many as asked for");
            match read.last() {
                Some((offset, _)) => after = offset.clone(),
                None if after >= acknowledged => return all,
                None => {}
            }
            all.extend(read);
        }
        panic!("an event that was acknowledged is not shown: offset={acknowledged:?} shown={after:?}");
    }

    async fn end(&self) -> Offset {
        self.read_all(&Offset::default(), 1_000).await.pop().map(|(offset, _)| offset).unwrap_or_default()
    }

    async fn an_unknown_stream_has_nothing(&self) {
        let stream = self.stream("unknown");
        assert!(self.read(&stream).await.is_empty());
        assert_eq!(self.last(&stream).await, None);
    }

    async fn sequences_follow_the_last_one(&self) {
        let stream = self.stream("follow");
        self.append_done(&stream, ExpectedSequence::Empty { first: Sequence(5) }, 2).await;
        self.append_done(&stream, ExpectedSequence::Any, 1).await;
        self.append_done(&stream, ExpectedSequence::Last(Sequence(7)), 2).await;
        assert_eq!(sequences(&self.read(&stream).await), [5, 6, 7, 8, 9]);
        assert_eq!(self.last(&stream).await, Some(Sequence(9)));
        let zero = self.stream("from zero");
        self.append_done(&zero, ExpectedSequence::Empty { first: Sequence(0) }, 2).await;
        assert_eq!(sequences(&self.read(&zero).await), [0, 1]);
        let any = self.stream("any");
        self.append_done(&any, ExpectedSequence::Any, 1).await;
        assert_eq!(self.read(&any).await.len(), 1, "a stream may be begun wherever it stands");
    }

    async fn a_conflict_says_what_is_there_and_writes_nothing(&self) {
        let stream = self.stream("conflict");
        let conflict =
            |last: Option<u64>| Appended::Conflict { stream: stream.clone(), last: last.map(Sequence) };
        let at_one = ExpectedSequence::Last(Sequence(1));
        assert_eq!(self.append(&stream, at_one, 1).await, conflict(None));
        self.append_done(&stream, ExpectedSequence::Empty { first: Sequence(1) }, 2).await;
        for expected in [
            ExpectedSequence::Empty { first: Sequence(1) },
            ExpectedSequence::Empty { first: Sequence(3) },
            at_one,
            ExpectedSequence::Last(Sequence(3)),
        ] {
            assert_eq!(self.append(&stream, expected, 1).await, conflict(Some(2)), "expected={expected:?}");
        }
        assert_eq!(sequences(&self.read(&stream).await), [1, 2]);
    }

    async fn several_streams_are_appended_to_all_or_nothing(&self) {
        let before = self.end().await;
        let (one, other) = (self.stream("atomic/one"), self.stream("atomic/other"));
        let append = |stream: &StreamId, expected, names: &[&str]| Append {
            stream: stream.clone(),
            expected,
            events: names.iter().map(|name| new_event(name)).collect(),
        };
        let empty = ExpectedSequence::Empty { first: Sequence(1) };
        let appends = vec![append(&one, empty, &["a", "b"]), append(&other, empty, &["c"])];
        let done = self.append_all(appends).await;
        let all = self.read_all(&before, 100).await;
        let events: Vec<(&StreamId, u64)> =
            all.iter().map(|(_, event)| (&event.stream_id, event.sequence.0)).collect();
        assert_eq!(events, [(&one, 1), (&one, 2), (&other, 1)], "in the order given");
        assert_eq!(Some(&done), all.last().map(|(offset, _)| Appended::Done(offset.clone())).as_ref());

        let appends = vec![append(&one, ExpectedSequence::Any, &["d"]), append(&other, empty, &["e"])];
        let conflict = self.append_all(appends).await;
        assert_eq!(conflict, Appended::Conflict { stream: other, last: Some(Sequence(1)) });
        assert_eq!(
            self.last(&one).await,
            Some(Sequence(2)),
            "nothing was written to the other stream either"
        );
    }

    async fn what_is_no_append_is_refused(&self) {
        let before = self.end().await;
        let stream = self.stream("refused");
        let append = |stream: &StreamId, count: usize| Append {
            stream: stream.clone(),
            expected: ExpectedSequence::Any,
            events: vec![new_event("x"); count],
        };
        for appends in [
            Vec::new(),
            vec![append(&stream, 0)],
            vec![append(&StreamId::new(""), 1)],
            vec![append(&stream, 1), append(&stream, 1)],
        ] {
            let error = self.store.append(appends).await.expect_err("that is no append");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        assert_eq!(self.end().await, before, "nothing was written");
    }

    async fn an_event_is_kept_as_it_was(&self) {
        let stream = self.stream("kept");
        let full = NewEvent {
            id: EventId::new("id \"1\" é"),
            event_type: EventType::new("Type, with 'quotes'"),
            schema_version: SchemaVersion(7),
            recorded_at: Timestamp::from_micros(1_795_000_000_123_456),
            effective_at: Timestamp::from_micros(-1),
            payload: Bytes::from_static(
                br#"{"amount":4.50,"big":12345678901234567890123456789012345678,"a":[1, 2]}"#,
            ),
            metadata: Bytes::from_static(br#"{"who":"\u00e9\u0000"}"#),
        };
        let year_one = Timestamp::from_seconds(-62_135_596_800);
        let bare = NewEvent { payload: Bytes::new(), recorded_at: year_one, ..new_event("bare") };
        let events = vec![full.clone(), bare.clone()];
        let append = Append { stream: stream.clone(), expected: ExpectedSequence::Any, events };
        let before = self.end().await;
        self.append_all(vec![append]).await;
        let read = self.read(&stream).await;
        assert_eq!(read.len(), 2);
        for (event, new) in read.iter().zip([full, bare]) {
            assert_eq!(event.stream_id, stream);
            assert_eq!((&event.id, &event.event_type), (&new.id, &new.event_type));
            assert_eq!(event.schema_version, new.schema_version);
            assert_eq!((event.recorded_at, event.effective_at), (new.recorded_at, new.effective_at));
            assert_eq!((&event.payload.raw, &event.metadata.raw), (&new.payload, &new.metadata));
        }
        let all: Vec<Event> = self.read_all(&before, 10).await.into_iter().map(|(_, event)| event).collect();
        assert_eq!(format!("{all:?}"), format!("{read:?}"), "both reads show the same events");
    }

    async fn a_stream_is_read_in_parts(&self) {
        let stream = self.stream("parts");
        self.append_done(&stream, ExpectedSequence::Empty { first: Sequence(1) }, 10).await;
        let read = async |from: u64, limit: usize| {
            sequences(
                &self.store.read_stream(&stream, Sequence(from), limit).await.expect("a stream is read"),
            )
        };
        assert_eq!(read(4, 3).await, [4, 5, 6]);
        assert_eq!(read(9, 100).await, [9, 10]);
        assert!(read(11, 100).await.is_empty());
        assert!(read(u64::MAX, 100).await.is_empty());
    }

    async fn all_is_read_in_commit_order(&self) {
        let before = self.end().await;
        let (one, other) = (self.stream("order/one"), self.stream("order/other"));
        let mut offsets = Vec::new();
        for round in 0..5 {
            let stream = if round % 2 == 0 { &one } else { &other };
            offsets.push(self.append_done(stream, ExpectedSequence::Any, 3).await);
        }
        assert!(offsets.is_sorted_by(|a, b| a < b), "later appends have higher offsets");
        let all = self.read_all(&before, 4).await;
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b), "offsets only rise");
        let last_of_each: Vec<Offset> =
            all.iter().skip(2).step_by(3).map(|(offset, _)| offset.clone()).collect();
        assert_eq!(last_of_each, offsets, "an append's offset is that of its last event");
        let streams: Vec<&StreamId> = all.iter().step_by(3).map(|(_, event)| &event.stream_id).collect();
        assert_eq!(streams, [&one, &other, &one, &other, &one]);
    }

    async fn last_sequences_come_in_the_order_asked(&self) {
        let streams = ["last/a", "last/b", "last/none"].map(|name| self.stream(name));
        self.append_done(&streams[0], ExpectedSequence::Empty { first: Sequence(1) }, 3).await;
        self.append_done(&streams[1], ExpectedSequence::Empty { first: Sequence(1) }, 1).await;
        let asked = [&streams[1], &streams[2], &streams[0]].map(StreamId::clone);
        let last = self.store.last_sequences(&asked).await.expect("last sequences are read");
        assert_eq!(last, [Some(Sequence(1)), None, Some(Sequence(3))]);
        assert!(self.store.last_sequences(&[]).await.expect("of no streams").is_empty());
    }

    async fn hostile_ids_are_ids(&self) {
        for (count, name) in HOSTILE.iter().enumerate() {
            self.append_done(&self.stream(name), ExpectedSequence::Empty { first: Sequence(1) }, count + 1)
                .await;
        }
        for (count, name) in HOSTILE.iter().enumerate() {
            assert_eq!(self.read(&self.stream(name)).await.len(), count + 1, "stream={name:?}");
        }
    }

    async fn of_racing_appends_one_is_done(&self) {
        let stream = self.stream("races");
        let mut expected = ExpectedSequence::Empty { first: Sequence(1) };
        for last in 1..5 {
            let outcomes = together((0..8).map(|_| self.append(&stream, expected, 1))).await;
            let done = outcomes.iter().filter(|outcome| matches!(outcome, Appended::Done(_))).count();
            assert_eq!(done, 1, "exactly one of eight appends under one condition is done: {outcomes:?}");
            let conflict = Appended::Conflict { stream: stream.clone(), last: Some(Sequence(last)) };
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == conflict).count(), 7, "{outcomes:?}");
            expected = ExpectedSequence::Last(Sequence(last));
        }
    }

    async fn appends_that_expect_nothing_all_get_their_place(&self) {
        let stream = self.stream("any race");
        self.append_done(&stream, ExpectedSequence::Empty { first: Sequence(1) }, 1).await;
        let offsets = together((0..8).map(|_| self.append_done(&stream, ExpectedSequence::Any, 3))).await;
        let read = sequences(&self.read(&stream).await);
        assert_eq!(read, (1..=25).collect::<Vec<u64>>(), "without gaps");
        let distinct: std::collections::BTreeSet<Offset> = offsets.into_iter().collect();
        assert_eq!(distinct.len(), 8);
    }
}
