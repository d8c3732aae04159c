use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use foldstream_model::{Cut, EarlyEvent, EventId, EventType, Payload, SchemaVersion, ShardId, SpilledEvent};

use proptest::prelude::*;

use super::{cuts::CutLog, *};

mod cuts;
mod lineage;
mod naive;
mod properties;
mod records;
mod rows;
mod schedules;
mod spilling;

/// What was released, in short: where, of which stream, which sequence.
type Releases = Vec<(Place, String, u64)>;

fn event(stream: &str, sequence: u64) -> Event {
    Event {
        stream_id: StreamId::new(stream),
        sequence: Sequence(sequence),
        id: EventId::new(format!("{stream}-{sequence}")),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_seconds(1_000),
        effective_at: Timestamp::from_seconds(1_000),
        payload: Payload::new(Bytes::from(format!("{{\"n\":{sequence}}}"))),
        metadata: Payload::default(),
    }
}

fn envelope(event: &Event) -> String {
    String::from_utf8(event.to_envelope().unwrap()).unwrap()
}

fn fill(stream: &str, sequences: impl IntoIterator<Item = u64>) -> Entry {
    let events = sequences.into_iter().map(|sequence| envelope(&event(stream, sequence))).collect();
    Entry::Fill { stream: StreamId::new(stream), events }
}

fn give_up(stream: &str, up_to: u64) -> Entry {
    Entry::GiveUp { stream: StreamId::new(stream), up_to: Sequence(up_to) }
}

fn options() -> OrderOptions {
    OrderOptions {
        first: Sequence(1),
        gaps: Gaps::Refuse,
        base: BasePolicy::First,
        max_early_bytes: 1_000_000,
    }
}

/// Options under which all early events are spilled, most, or none.
fn within_bounds() -> impl Strategy<Value = OrderOptions> {
    prop::sample::select(vec![0, 1_000, 1_000_000])
        .prop_map(|max_early_bytes| OrderOptions { max_early_bytes, ..options() })
}

/// The rows of spilled events, which outlive a stage.
type Rows = Rc<RefCell<BTreeMap<SpilledEvent, String>>>;

fn as_it_is() -> Prepare {
    Arc::new(|_| Ok(()))
}

fn end(position: u128) -> Place {
    Place::end(Position::new(position), 0)
}

/// An order stage with what it has released, and what it is given by whoever feeds it.
struct Stage {
    order: Order,
    out: Vec<Placed>,
    rows: Rows,
}

impl Stage {
    fn new(options: OrderOptions) -> Self {
        Self::of(Order::new(options, as_it_is()))
    }

    fn of(order: Order) -> Self {
        Self::beside(order, &Rows::default())
    }

    /// A stage that begins where rows are already.
    fn beside(order: Order, rows: &Rows) -> Self {
        Self { order, out: Vec::new(), rows: rows.clone() }
    }

    fn begin(&mut self) {
        self.begin_at(&Place::BEGINNING);
    }

    fn begin_at(&mut self, at: &Place) {
        self.order.begin(at, &mut self.out);
        self.go_on();
        self.spill();
    }

    /// Finishes what is released, in pieces of at most two events.
    fn go_on(&mut self) {
        while self.order.unfinished().is_some() {
            self.go_on_once();
        }
    }

    fn go_on_once(&mut self) {
        let (lacking, before) = (self.order.lacking_to_go_on(2).unwrap(), self.out.len());
        assert!((1..=2).contains(&lacking.len()));
        self.bring(lacking);
        self.order.go_on(&mut self.out);
        assert!(self.out.len() > before);
    }

    fn record(&mut self, position: u128, event: Event) -> Outcome {
        let key = event.stream_id.as_str().into();
        let now = Timestamp::from_seconds(position as i64);
        self.bring(self.order.lacking_for_record(&event).unwrap());
        let outcome =
            self.order.record(event.into(), &Position::new(position), &key, now, &mut self.out).unwrap();
        self.go_on();
        self.spill();
        outcome
    }

    fn entry(&mut self, position: u128, number: u32, entry: &Entry) -> Vec<Fork> {
        self.bring(self.order.lacking_for_entry(entry).unwrap());
        let forks = self.order.entry(entry, &Position::new(position), number, &mut self.out).unwrap();
        self.go_on();
        self.spill();
        forks
    }

    fn bring(&mut self, lacking: Vec<EarlyEvent>) {
        for early in lacking {
            match early {
                EarlyEvent::Envelope(envelope) => self.order.bring(&envelope).unwrap(),
                EarlyEvent::Spilled(name) => self.order.bring(&self.rows.borrow()[&name]).unwrap(),
            }
        }
    }

    fn spill(&mut self) {
        loop {
            let spills = self.order.next_spills(&ShardId::new("shard"), 2).unwrap();
            for spill in &spills {
                self.rows.borrow_mut().insert(spill.name.clone(), spill.envelope.clone());
                self.order.spilled(&spill.name);
            }
            if spills.is_empty() {
                return;
            }
        }
    }

    fn head(&self, stream: &str) -> Option<u64> {
        self.order.head(StreamHash::of(stream)).map(|head| head.sequence.0)
    }

    fn releases(&self) -> Releases {
        releases(&self.out)
    }

    /// `s5@110/0/0`, space-separated.
    fn shown(&self) -> String {
        let shown = self
            .releases()
            .into_iter()
            .map(|(place, stream, sequence)| format!("{stream}{sequence}@{place}"));
        shown.collect::<Vec<_>>().join(" ")
    }
}

fn releases(placed: &[Placed]) -> Releases {
    let short =
        |placed: &Placed| (placed.place.clone(), placed.event.stream_id.to_string(), placed.event.sequence.0);
    placed.iter().map(short).collect()
}

/// The whole state.
fn whole(order: &Order) -> Cut {
    let now = end(u128::MAX);
    CutLog::new("whole".into(), now.clone()).cut(&now, &[], &undisturbed(order)).unwrap()
}

/// A copy that takes the present state as its beginning.
fn undisturbed(order: &Order) -> Order {
    Order {
        options: order.options.clone(),
        prepare: order.prepare.clone(),
        heads: order.heads.clone(),
        early: order.early.clone(),
        given_up: order.given_up.clone(),
        changes: Changes::default(),
        unfinished: None,
    }
}
