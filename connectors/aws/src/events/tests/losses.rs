//! Writes of which it is not known whether they were done.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Mutex,
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
    },
    error::BoxError,
    types::{ProjectionType, ScalarAttributeType as Type},
};
use foldstream_model::{ErrorKind, ports::ExpectedSequence};
use tokio::{net::TcpListener, time::Instant};

use super::{
    super::{sending::Sending, *},
    bed::*,
};

const TAKES: Duration = Duration::from_secs(10);

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    NeverArrives,
    IsNotAnswered,
}

/// The fates of writes to come, and the writes so far.
#[derive(Debug, Default)]
struct Losses {
    fates: Mutex<VecDeque<Fate>>,
    sent: Mutex<Vec<Vec<u8>>>,
    current: Mutex<Option<Fate>>,
}

impl Losses {
    fn of(fates: &[Fate]) -> Arc<Self> {
        Arc::new(Self { fates: Mutex::new(fates.iter().copied().collect()), ..Self::default() })
    }

    fn next(&self, fate: Fate) {
        self.fates.lock().unwrap().push_back(fate);
    }
}

#[derive(Debug)]
struct Losing(Arc<Losses>);

impl Intercept for Losing {
    fn name(&self) -> &'static str {
        "losing"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let is_write = target.ends_with(".PutItem") || target.ends_with(".TransactWriteItems");
        let mut current = self.0.current.lock().unwrap();
        *current = None;
        if is_write {
            let body = context.request().body().bytes().unwrap_or_default().to_vec();
            self.0.sent.lock().unwrap().push(body);
            *current = self.0.fates.lock().unwrap().pop_front();
        }
        if *current == Some(Fate::NeverArrives) { Err("the request was lost".into()) } else { Ok(()) }
    }

    fn read_after_transmit(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let current = *self.0.current.lock().unwrap();
        if current == Some(Fate::IsNotAnswered) { Err("the answer was lost".into()) } else { Ok(()) }
    }
}

impl Bed {
    /// The same, by a connection on which writes get lost.
    async fn open_lossy(&self, settings: EventTable, losses: &Arc<Losses>) -> DynamoEvents {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.connection.sdk);
        let client = Client::from_conf(config.interceptor(Losing(losses.clone())).build());
        let (mapping, clock, ids) = (Arc::new(Mapping::default()), self.clock.clone(), self.ids.clone());
        DynamoEvents::open_through(client, settings, mapping, clock, ids).await.unwrap()
    }
}

async fn count(events: &DynamoEvents, stream: &str) -> usize {
    events.read_stream(&StreamId::new(stream), Sequence(0), 1_000).await.unwrap().len()
}

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::S, ProjectionType::All))).await;
    bed
}

fn all(fate: Fate) -> [Fate; 9] {
    [fate; 9]
}

#[tokio::test]
async fn a_transaction_whose_answer_was_lost_is_sent_again_under_its_token() {
    let bed = bed().await;
    let losses = Losses::of(&[Fate::IsNotAnswered, Fate::IsNotAnswered]);
    let events = bed.open_lossy(ordered("EVENT#", Some(4), TAKES), &losses).await;
    let appends = vec![
        append("o-1", ExpectedSequence::Empty { first: Sequence(1) }, 2),
        append("o-2", ExpectedSequence::Empty { first: Sequence(1) }, 1),
    ];
    let appended = events.append(appends).await.unwrap();
    assert!(matches!(appended, Appended::Done(_)), "{appended:?}");
    assert_eq!((count(&events, "o-1").await, count(&events, "o-2").await), (2, 1));
    let sent = losses.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 3);
    assert!(String::from_utf8(sent[0].clone()).unwrap().contains("ClientRequestToken"));
    assert_eq!(sent.into_iter().collect::<BTreeSet<_>>().len(), 1, "the same each time");
}

#[tokio::test]
async fn an_event_of_which_the_answer_was_lost_is_known_again() {
    let bed = bed().await;
    for settings in [ordered("EVENT#", Some(4), TAKES), written("EVENT#", Some(4))] {
        let losses = Losses::of(&[]);
        let events = bed.open_lossy(settings.clone(), &losses).await;
        let stream = if settings.order.is_some() { "o-1" } else { "o-2" };
        for (count_before, fate) in [(0, Fate::IsNotAnswered), (1, Fate::NeverArrives)] {
            losses.next(fate);
            let appended = events.append(vec![append(stream, ExpectedSequence::Any, 1)]).await.unwrap();
            assert!(matches!(appended, Appended::Done(_)), "{appended:?}");
            assert_eq!(count(&events, stream).await, count_before + 1, "{fate:?}");
        }
    }
}

#[tokio::test]
async fn what_never_arrived_is_no_reason_to_take_anothers_event_for_ones_own() {
    let bed = bed().await;
    let losses = Losses::of(&[]);
    let settings = ordered("EVENT#", Some(4), TAKES);
    let slow = bed.open_lossy(settings.clone(), &losses).await;
    let other = bed.open(settings, Mapping::default()).await.unwrap();
    let empty = ExpectedSequence::Empty { first: Sequence(1) };
    for (stream, events) in [("o-1", 1), ("o-2", 2)] {
        losses.next(Fate::NeverArrives);
        let faster = async {
            while losses.sent.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            other.append(vec![append(stream, empty, events)]).await.unwrap()
        };
        let (slow, faster) = tokio::join!(slow.append(vec![append(stream, empty, events)]), faster);
        assert!(matches!(faster, Appended::Done(_)), "{faster:?}");
        let last = Some(Sequence(events as u64));
        assert_eq!(slow.unwrap(), Appended::Conflict { stream: StreamId::new(stream), last });
        losses.sent.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn what_stays_unknown_is_said_to_be_unknown() {
    let bed = bed().await;
    for (fate, stream, stored) in [(Fate::IsNotAnswered, "o-1", 1), (Fate::NeverArrives, "o-2", 0)] {
        let losses = Losses::of(&all(fate));
        let events = bed.open_lossy(ordered("EVENT#", Some(4), TAKES), &losses).await;
        let error = events.append(vec![append(stream, ExpectedSequence::Any, 1)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
        assert_eq!(losses.sent.lock().unwrap().len(), 3);
        assert_eq!(count(&events, stream).await, stored);
    }
}

#[tokio::test]
async fn no_answer_is_waited_for_when_half_of_the_safe_window_is_over() {
    let bed = bed().await;
    let mut events = bed.open(ordered("EVENT#", Some(4), TAKES), Mapping::default()).await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = aws_sdk_dynamodb::config::Builder::from(&bed.connection.sdk);
    let config = config.endpoint_url(format!("http://{}", silent.local_addr().unwrap()));
    events.reading.table.client = Client::from_conf(config.build());
    let begun = Instant::now();
    let sending = Sending {
        table: &events.reading.table,
        stream: &StreamId::new("o-1"),
        items: vec![item("ORDER#o-1", string("EVENT#0001"))],
        token: "token".to_owned(),
        until: Some(begun + Duration::from_millis(300)),
    };
    let error = sending.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.message().contains("half of the safe window"), "{error}");
    assert!((300..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}
