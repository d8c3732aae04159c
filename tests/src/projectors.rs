//! Projectors that tests run: they count, keep the last, collect, and feed one document from many streams.

use std::{collections::BTreeSet, sync::Arc};

use foldstream_model::{
    Decimal, Document, DocumentKey, Error, Event, EventType, FieldMask, Path, Result, Value,
    ports::{Projector, Reads, Reducer, StateCarried, Touch},
};

/// The type of event that all of these handle.
pub const TYPE: &str = "Added";

/// What a [`Toy`] does with an event `{"n": number}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One document a stream: the sequences that it has met, in their order.
    Collect,
    /// One document for each residue of the stream's number: how many events, and the sum of their `n`.
    Sum,
    /// One document a stream: the `n` of its last event.
    Last,
    /// One document for all streams: `stream#sequence` in the order in which they came.
    Feed,
    /// As `Sum`, of the difference between the states after and before.
    SumOfStates,
    /// As `Collect`, but an event with a negative `n` is poison.
    CollectPositive,
    /// As `Collect`, but code panics on an event with a negative `n`.
    PanicOnNegative,
}

pub struct Toy {
    kind: Kind,
    types: BTreeSet<EventType>,
}

impl Toy {
    pub fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self { kind, types: BTreeSet::from([EventType::new(TYPE)]) })
    }
}

impl Projector for Toy {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.types
    }

    fn reads(&self, _: &EventType) -> Reads {
        reads_number()
    }

    fn touch(&self, carried: &StateCarried, touches: &mut Vec<Touch>) -> Result<()> {
        let event = &carried.event;
        let (stream, sequence) = (event.stream_id.clone(), event.sequence);
        let n = number(event)?;
        let kind = self.kind;
        let key = match kind {
            Kind::Collect | Kind::Last | Kind::CollectPositive | Kind::PanicOnNegative => stream.to_string(),
            Kind::Feed => "feed".to_owned(),
            Kind::Sum | Kind::SumOfStates => format!("group-{}", stream.hash().words()[1] % 7),
        };
        let delta = match kind {
            Kind::SumOfStates => {
                total(&carried.state)?.checked_sub(&total(&carried.before)?).map_err(poison)?
            }
            _ => n.clone(),
        };
        let change = move |document: &mut Option<Document>| {
            let document = document.get_or_insert_with(Document::default);
            let fields = Arc::make_mut(&mut document.fields);
            match kind {
                Kind::Collect => push(fields, "sequences", Value::Number(Decimal::from(sequence.0))),
                Kind::Last => {
                    fields.insert("last".into(), Value::Number(n.clone()));
                }
                Kind::CollectPositive if n.is_negative() => return Err(Error::poison("n is negative")),
                Kind::PanicOnNegative if n.is_negative() => panic!("n is negative"),
                Kind::CollectPositive | Kind::PanicOnNegative => {
                    push(fields, "sequences", Value::Number(Decimal::from(sequence.0)))
                }
                Kind::Feed => push(fields, "feed", Value::Text(format!("{stream}#{sequence}").into())),
                Kind::Sum | Kind::SumOfStates => {
                    add(fields, "events", &Decimal::from(1u64))?;
                    add(fields, "sum", &delta)?;
                }
            }
            Ok(())
        };
        touches.push(Touch { key: DocumentKey::new(key), change: Box::new(change) });
        Ok(())
    }
}

/// Sums `n` into `{"total": number}`.
pub struct Totals(BTreeSet<EventType>);

impl Totals {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(BTreeSet::from([EventType::new(TYPE)])))
    }
}

impl Reducer for Totals {
    fn event_types(&self) -> &BTreeSet<EventType> {
        &self.0
    }

    fn reads(&self, _: &EventType) -> Reads {
        reads_number()
    }

    fn reduce(&self, event: &Event, before: &Value) -> Result<Value> {
        let sum = total(before)?.checked_add(&number(event)?).map_err(poison)?;
        let mut map = foldstream_model::Map::new_vec();
        map.insert("total".into(), Value::Number(sum));
        Ok(Value::Map(Arc::new(map)))
    }
}

pub fn total(state: &Value) -> Result<Decimal> {
    match state.get("total") {
        None => Ok(Decimal::from(0u64)),
        Some(Value::Number(number)) => Ok(number.clone()),
        Some(other) => Err(Error::poison(format!("total is no number: {}", other.kind()))),
    }
}

/// What [`number`] reads.
pub fn reads_number() -> Reads {
    let mut payload = FieldMask::NONE;
    payload.insert(&"n".parse::<Path>().expect("a path"));
    Reads { payload, metadata: FieldMask::NONE }
}

pub fn number(event: &Event) -> Result<Decimal> {
    match event.payload.value.get("n") {
        Some(Value::Number(number)) => Ok(number.clone()),
        _ => Err(Error::poison("the payload has no number n")),
    }
}

pub fn push(fields: &mut foldstream_model::Map, name: &str, value: Value) {
    let list = fields.entry(name.into()).or_insert_with(|| Value::List(Arc::default()));
    if let Value::List(list) = list {
        Arc::make_mut(list).push(value);
    }
}

pub fn add(fields: &mut foldstream_model::Map, name: &str, delta: &Decimal) -> Result<()> {
    let zero = Value::Number(Decimal::from(0u64));
    let field = fields.entry(name.into()).or_insert(zero);
    if let Value::Number(number) = field {
        *number = number.checked_add(delta).map_err(poison)?;
    }
    Ok(())
}

pub fn poison(error: impl std::fmt::Display) -> Error {
    Error::poison(error.to_string())
}
