//! The projections of the simulation: what their code does, and what it cannot take before it is mended.

use std::{collections::BTreeSet, panic::resume_unwind, sync::Arc};

use foldstream_model::{
    Decimal, Document, DocumentKey, Error, Event, EventType, Ordering, Result, Value,
    ports::{Projector, Reads, Reducer, StateCarried, Touch},
};
use foldstream_tests::projectors::{TYPE, Totals, add, number, poison, push, reads_number, total};

use crate::{link::Link, workload::Fails};

/// What code says that is not mended yet.
pub const CANNOT: &str = "the code of before cannot take this";

/// A projection of the simulation, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A document a stream: the sequences that it has met.
    Collect,
    /// A document a stream: the last number and how many there were; a negative number deletes it.
    Last,
    /// Three documents an event, each fed by many streams: how many events, and the sum of their numbers.
    Sums,
    /// As `Sums` in one document a group, of what a fold of the stream has gained; and the sum of what it had come to.
    States,
    /// Two documents for all streams: what came, in the order of when it was recorded; a number that eleven divides
    /// deletes it.
    Feed,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        *Self::ALL.iter().find(|kind| kind.name() == name).expect("one of these")
    }

    pub const ALL: [Self; 5] = [Self::Collect, Self::Last, Self::Sums, Self::States, Self::Feed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Last => "last",
            Self::Sums => "sums",
            Self::States => "states",
            Self::Feed => "feed",
        }
    }

    pub fn ordering(self) -> Ordering {
        match self {
            Self::Collect | Self::Last => Ordering::PerStream,
            Self::Sums | Self::States => Ordering::Commutative,
            Self::Feed => Ordering::Global,
        }
    }
}

pub struct Simulated {
    kind: Kind,
    link: Arc<Link>,
    types: BTreeSet<EventType>,
}

impl Simulated {
    pub fn new(kind: Kind, link: &Arc<Link>) -> Arc<Self> {
        Arc::new(Self { kind, link: link.clone(), types: BTreeSet::from([EventType::new(TYPE)]) })
    }
}

impl Projector for Simulated {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.types
    }

    fn reads(&self, _: &EventType) -> Reads {
        reads_number()
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        let event = &carried.event;
        fail(&self.link, self.kind, event, Fails::Stream)?;
        self.link.world.hands(self.kind, event);
        let stream: u64 = event.stream_id.as_str()[2..].parse().map_err(poison)?;
        let keys = match self.kind {
            Kind::Collect | Kind::Last => vec![event.stream_id.to_string()],
            Kind::Sums => vec![
                "all".to_owned(),
                format!("group-{}", stream % 3),
                format!("place-{}", event.sequence.0 % 4),
            ],
            Kind::States => vec![format!("group-{}", stream % 3)],
            Kind::Feed => vec![format!("feed-{}", stream % 2)],
        };
        for key in keys {
            let (kind, carried, link) = (self.kind, carried.clone(), self.link.clone());
            let change = move |document: &mut Option<Document>| {
                fail(&link, kind, &carried.event, Fails::Document)?;
                apply(kind, &carried, document)
            };
            touches.push(Touch { key: DocumentKey::new(key), change: Box::new(change) });
        }
        Ok(())
    }
}

/// As [`Totals`], but of some events only the mended code knows how to fold them.
pub struct Folded {
    totals: Arc<Totals>,
    link: Arc<Link>,
}

impl Folded {
    pub fn new(link: &Arc<Link>) -> Arc<Self> {
        Arc::new(Self { totals: Totals::new(), link: link.clone() })
    }
}

impl Reducer for Folded {
    fn event_types(&self) -> &BTreeSet<EventType> {
        self.totals.event_types()
    }

    fn reads(&self, event_type: &EventType) -> Reads {
        self.totals.reads(event_type)
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        if event.sequence.0.is_multiple_of(2) {
            fail(&self.link, Kind::States, event, Fails::Stream)?;
        }
        self.totals.reduce(event, before)
    }
}

/// Fails at what the code cannot take until it is mended, or panics.
fn fail(link: &Link, kind: Kind, event: &Event, at: Fails) -> Result<()> {
    let world = &link.world;
    let is_mended = world.is_mended(kind) && !link.code.is_older;
    let fails = world.workload.fails(kind, event.stream_id.as_str(), event.sequence.0);
    if is_mended || fails != Some(at) {
        return Ok(());
    }
    if world.workload.kills(kind, event.stream_id.as_str(), event.sequence.0) {
        link.die();
    } else if event.sequence.0.is_multiple_of(3) {
        world.count("a projector panics");
        resume_unwind(Box::new(CANNOT.to_owned()));
    }
    world.count(at.name());
    Err(Error::poison(CANNOT))
}

fn apply(kind: Kind, carried: &StateCarried, document: &mut Option<Document>) -> Result<()> {
    let event = &carried.event;
    let n = number(event)?;
    let deletes = match kind {
        Kind::Last => n.is_negative(),
        Kind::Feed => whole(&n) % 11 == 0,
        _ => false,
    };
    if deletes {
        *document = None;
        return Ok(());
    }
    let fields = Arc::make_mut(&mut document.get_or_insert_with(Document::default).fields);
    match kind {
        Kind::Collect => push(fields, "sequences", Value::Number(Decimal::from(event.sequence.0))),
        Kind::Last => {
            fields.insert("last".into(), Value::Number(n));
            add(fields, "times", &Decimal::from(1u64))?;
        }
        Kind::Sums => {
            add(fields, "events", &Decimal::from(1u64))?;
            add(fields, "sum", &n)?;
        }
        Kind::States => {
            let gained = total(&carried.state)?.checked_sub(&total(&carried.before)?).map_err(poison)?;
            add(fields, "events", &Decimal::from(1u64))?;
            add(fields, "sum", &gained)?;
            add(fields, "totals", &total(&carried.state)?)?;
        }
        Kind::Feed => {
            push(fields, "feed", Value::Text(format!("{}#{}", event.stream_id, event.sequence).into()));
        }
    }
    Ok(())
}

fn whole(n: &Decimal) -> i64 {
    n.to_string().parse().unwrap_or(1)
}
