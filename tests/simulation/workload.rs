//! What a run is about: events, how they travel, and the projections that are made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use foldstream_model::{
    Decimal, Document, DocumentKey, Error, Event, EventId, EventType, OnFailure, Ordering, Payload, Result,
    SchemaVersion, Sequence, StreamHash, StreamId, Timestamp, Value,
    ports::{Projector, Reads, StateCarried, Touch},
};
use foldstream_tests::projectors::{TYPE, add, number, poison, push, reads_number, total};

use crate::{chance::Chance, link::Link};

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
                fail(&link, kind, &carried.event)?;
                apply(kind, &carried, document)
            };
            touches.push(Touch { key: DocumentKey::new(key), change: Box::new(change) });
        }
        Ok(())
    }
}

/// Fails at what the code cannot take until it is mended, or panics.
fn fail(link: &Link, kind: Kind, event: &Event) -> Result<()> {
    let world = &link.world;
    let is_mended = world.is_mended(kind) && !link.code.is_older;
    if is_mended || !world.workload.fails(kind, event.stream_id.as_str(), event.sequence.0) {
        return Ok(());
    }
    if world.workload.kills(kind, event.stream_id.as_str(), event.sequence.0) {
        link.die();
    } else if event.sequence.0.is_multiple_of(3) {
        world.count("a projector panics");
        resume_unwind(Box::new("the code of before cannot take this".to_owned()));
    }
    world.count("cannot be taken");
    Err(Error::poison("the code of before cannot take this"))
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

/// An event as the oracle knows it.
#[derive(Debug, Clone)]
pub struct Fact {
    pub stream: u64,
    pub sequence: u64,
    /// Milliseconds since the beginning.
    pub stored_at: u64,
    /// Microseconds; clocks may step back.
    pub recorded_at: i64,
    /// None of a type that nobody handles.
    pub n: Option<i64>,
}

impl Fact {
    pub fn event(&self) -> Event {
        let (event_type, payload) = match self.n {
            Some(n) => (TYPE, format!("{{\"n\":{n}}}")),
            None => ("Other", "{}".to_owned()),
        };
        let recorded_at = Timestamp::from_micros(self.recorded_at);
        Event {
            stream_id: StreamId::new(format!("s-{}", self.stream)),
            sequence: Sequence(self.sequence),
            id: EventId::new(format!("{}-{}", self.stream, self.sequence)),
            event_type: EventType::new(event_type),
            schema_version: SchemaVersion(1),
            recorded_at,
            effective_at: recorded_at,
            payload: Payload::new(Bytes::from(payload)),
            metadata: Payload::default(),
        }
    }
}

/// What happens to the source, and what an operator does; a number chooses the projection.
#[derive(Debug, Clone)]
pub enum Action {
    /// The event is stored.
    Store(Fact),
    /// A record of the event arrives.
    Arrive(Fact),
    /// A number chooses among the open shards.
    Split(u64),
    Merge(u64),
    Pause(u64),
    Resume(u64),
    Rewind {
        number: u64,
        to: RewindTo,
    },
    /// The code can take everything from now on.
    Mend,
    Redrive(u64),
    Discard(u64),
    /// The source forgets records, such as not all have settled if that `loses` some.
    Forget {
        loses: bool,
    },
    /// A lease is taken away from its worker, which freezes for so many milliseconds.
    Release {
        number: u64,
        freezes: u64,
    },
}

impl Action {
    /// Somebody does it who needs the stores.
    pub fn is_operators(&self) -> bool {
        !matches!(
            self,
            Self::Store(_)
                | Self::Arrive(_)
                | Self::Split(_)
                | Self::Merge(_)
                | Self::Resume(_)
                | Self::Forget { .. }
        )
    }
}

impl Action {
    /// What it is counted as; none for what happens to an event, or is no harm.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Store(_) | Self::Arrive(_) | Self::Resume(_) | Self::Mend => None,
            Self::Split(_) => Some("split"),
            Self::Merge(_) => Some("merge"),
            Self::Pause(_) => Some("pause"),
            Self::Rewind { to, .. } => Some(to.name()),
            Self::Redrive(_) => Some("redrive"),
            Self::Discard(_) => Some("discard"),
            Self::Forget { .. } => Some("records forgotten"),
            Self::Release { .. } => Some("lease released"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum RewindTo {
    Beginning,
    /// The documents are built anew.
    Rebuild,
    /// In each shard, parents and children, to some place or none; a number chooses.
    Places(u64),
    /// To what arrived at some time before; a number chooses.
    Time(u64),
}

impl RewindTo {
    pub fn name(self) -> &'static str {
        match self {
            Self::Beginning => "rewind",
            Self::Rebuild => "rebuild",
            Self::Places(_) => "rewind to places",
            Self::Time(_) => "rewind to a time",
        }
    }
}

pub struct Workload {
    pub kinds: Vec<Kind>,
    pub shards: u32,
    /// There is an event store, from which gaps are filled.
    pub has_store: bool,
    pub facts: Vec<Fact>,
    /// What is done about what cannot be taken, by those projections that meet it.
    pub on_failure: BTreeMap<Kind, OnFailure>,
    /// Stream and sequence of events that cannot be taken by the code of before.
    pub failing: BTreeSet<(u64, u64)>,
    /// Those of them that end the process.
    pub deadly: BTreeSet<(u64, u64)>,
    /// Documents that the store refuses until the code is mended.
    pub refuses: Option<Refuses>,
    /// The source forgets records.
    pub forgets: bool,
    pub actions: Vec<(Duration, Action)>,
    /// Of each stream, the sequences of the events that projections handle.
    pub handled: BTreeMap<String, Vec<u64>>,
    /// How late events come at most, for the order of `global` projections.
    pub lateness: Duration,
}

/// How events travel in this run: times in a thousand.
struct Transport {
    disorder: u64,
    near: u64,
    far: u64,
    missing: u64,
    lost: u64,
    reshard: u64,
    backwards: u64,
}

impl Transport {
    fn draw(chance: &mut Chance, has_store: bool) -> Self {
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        Self {
            disorder: on(300),
            near: on(300),
            far: on(100),
            missing: on(60),
            lost: if has_store { on(60) } else { 0 },
            reshard: on(40),
            backwards: on(200),
        }
    }
}

impl Workload {
    pub fn draw(chance: &mut Chance) -> Self {
        let has_store = !chance.one_in(4);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| chance.one_in(2)).collect();
        kinds.retain(|kind| has_store || *kind != Kind::States);
        if kinds.is_empty() {
            kinds.push(Kind::Collect);
        }
        let shards = u32::try_from(chance.pick(&[1, 1, 2, 4])).unwrap_or(1);
        let transport = Transport::draw(chance, has_store);
        let facts = facts(chance, &transport);
        let lateness = Duration::from_millis(chance.pick(&[0, 500, 60_000]));
        let mut actions = Vec::new();
        for (index, fact) in facts.iter().enumerate() {
            // A stream's last event is never lost: nothing would tell that it is missing.
            let is_followed = facts[index + 1..].iter().any(|later| later.stream == fact.stream);
            travel(chance, &transport, fact, is_followed, &mut actions);
        }
        operations(chance, &facts, &mut actions);
        let on_failure = on_failure(chance, &kinds);
        let failing = match on_failure.is_empty() {
            true => BTreeSet::new(),
            false => failing(chance, &facts, &mut actions),
        };
        actions.sort_by_key(|(at, _)| *at);
        let handled = handled(&facts);
        Self {
            kinds,
            shards,
            has_store,
            facts,
            on_failure,
            failing,
            deadly: BTreeSet::new(),
            refuses: None,
            forgets: false,
            actions,
            handled,
            lateness,
        }
    }

    pub fn draw_more(self, chance: &mut Chance) -> Self {
        let is_refusing = !self.on_failure.is_empty() && chance.one_in(3);
        let (bytes, one_in) = (chance.within(30..400), chance.within(2..30));
        let refuses = is_refusing.then(|| chance.pick(&[Refuses::Longer(bytes), Refuses::OneIn(one_in)]));
        let mut actions = self.actions;
        let releases = if chance.one_in(2) { chance.within(1..40) } else { 0 };
        for fact in &self.facts {
            if chance.in_thousand(releases) {
                let freezes = if chance.one_in(2) { chance.within(1_000..60_000) } else { 0 };
                let release = Action::Release { number: chance.next(), freezes };
                actions.push((Duration::from_millis(fact.stored_at), release));
            }
        }
        let forgets = if chance.one_in(2) { chance.within(1..100) } else { 0 };
        let loses = forgets > 0 && chance.one_in(12);
        for fact in &self.facts {
            let at = Duration::from_millis(fact.stored_at + chance.within(0..2_000));
            if chance.in_thousand(forgets) {
                actions.push((at, Action::Forget { loses: loses && chance.one_in(4) }));
            }
        }
        let mut failing = self.failing;
        let deadly = match self.on_failure.values().any(|what| *what == OnFailure::Park) && chance.one_in(3) {
            true => deadly(chance, &self.facts, &mut actions),
            false => BTreeSet::new(),
        };
        failing.extend(&deadly);
        actions.sort_by_key(|(at, _)| *at);
        Self { refuses, forgets: forgets > 0, actions, failing, deadly, ..self }
    }

    /// Whether the code of before cannot take an event of the stream `s-1`.
    pub fn fails(&self, kind: Kind, stream: &str, sequence: u64) -> bool {
        let stream = stream.trim_start_matches("s-").parse();
        self.on_failure.contains_key(&kind)
            && stream.is_ok_and(|stream| self.failing.contains(&(stream, sequence)))
    }

    /// Whether the code of before ends its process; where it is mended some time.
    fn kills(&self, kind: Kind, stream: &str, sequence: u64) -> bool {
        let stream = stream.trim_start_matches("s-").parse();
        self.on_failure.get(&kind) == Some(&OnFailure::Park)
            && stream.is_ok_and(|stream| self.deadly.contains(&(stream, sequence)))
    }

    /// Whether the event, or the document that it makes, may not be taken until the code is mended.
    pub fn may_fail(&self, kind: Kind, stream: &str, sequence: u64) -> bool {
        self.refuses_some(kind).is_some() || self.fails(kind, stream, sequence)
    }

    fn refuses_some(&self, kind: Kind) -> Option<Refuses> {
        self.refuses.filter(|_| self.on_failure.contains_key(&kind))
    }

    /// Whether the store refuses a document of before the code is mended.
    pub fn refuses(&self, kind: Kind, document: &str) -> bool {
        self.refuses_some(kind).is_some_and(|refuses| match refuses {
            Refuses::Longer(bytes) => document.len() as u64 > bytes,
            Refuses::OneIn(times) => StreamHash::of(document).words()[0].is_multiple_of(times),
        })
    }

    pub fn has_hot_stream(&self) -> bool {
        let of_first = self.facts.iter().filter(|fact| fact.stream == 0).count();
        self.facts.len() > 50 && of_first * 10 >= self.facts.len() * 8
    }
}

/// Documents that a store refuses.
#[derive(Debug, Clone, Copy)]
pub enum Refuses {
    /// Those of more bytes.
    Longer(u64),
    /// One in so many, by what is in it.
    OneIn(u64),
}

pub fn handled(facts: &[Fact]) -> BTreeMap<String, Vec<u64>> {
    let mut handled: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.n.is_some()) {
        handled.entry(format!("s-{}", fact.stream)).or_default().push(fact.sequence);
    }
    handled
}

fn on_failure(chance: &mut Chance, kinds: &[Kind]) -> BTreeMap<Kind, OnFailure> {
    if chance.one_in(2) {
        return BTreeMap::new();
    }
    let mut on_failure = BTreeMap::new();
    for kind in kinds {
        if chance.one_in(4) {
            continue;
        }
        on_failure.insert(*kind, chance.pick(&[OnFailure::Park, OnFailure::Park, OnFailure::Discard]));
    }
    on_failure
}

/// Events that cannot be taken, and what is done about them meanwhile.
fn failing(
    chance: &mut Chance,
    facts: &[Fact],
    actions: &mut Vec<(Duration, Action)>,
) -> BTreeSet<(u64, u64)> {
    let times = chance.pick(&[10, 50, 200]);
    let (redrives, discards) = (chance.within(1..60), chance.pick(&[0, 0, 20]));
    let last = facts.last().map_or(0, |fact| fact.stored_at);
    let mend = chance.within(0..last + 10_000);
    actions.push((Duration::from_millis(mend), Action::Mend));
    let mut failing = BTreeSet::new();
    for fact in facts {
        if fact.n.is_some() && chance.in_thousand(times) {
            failing.insert((fact.stream, fact.sequence));
        }
        let at = Duration::from_millis(fact.stored_at + chance.within(0..2_000));
        if chance.in_thousand(redrives) {
            actions.push((at, Action::Redrive(chance.next())));
        }
        if chance.in_thousand(discards) {
            actions.push((at, Action::Discard(chance.next())));
        }
    }
    failing
}

/// Events that end the process, which is mended late, so that there is time to find them.
fn deadly(chance: &mut Chance, facts: &[Fact], actions: &mut [(Duration, Action)]) -> BTreeSet<(u64, u64)> {
    let handled: Vec<_> = facts.iter().filter(|fact| fact.n.is_some()).collect();
    for (at, action) in actions {
        if matches!(action, Action::Mend) {
            *at += Duration::from_millis(chance.within(0..240_000));
        }
    }
    let number = if handled.is_empty() { 0 } else { chance.within(1..3) };
    (0..number).map(|_| chance.pick(&handled)).map(|fact| (fact.stream, fact.sequence)).collect()
}

fn facts(chance: &mut Chance, transport: &Transport) -> Vec<Fact> {
    let streams = chance.within(1..20);
    let hot = chance.pick(&[0, 0, 500, 900]);
    let gap = chance.pick(&[1, 5, 20, 100]);
    let mut sequences: BTreeMap<u64, u64> = BTreeMap::new();
    let mut millis = 0;
    let mut facts = Vec::new();
    for _ in 0..chance.within(5..300) {
        millis += chance.within(0..gap * 2);
        let stream = if chance.in_thousand(hot) { 0 } else { chance.within(0..streams) };
        let sequence = sequences.entry(stream).or_default();
        *sequence += 1;
        let back = if chance.in_thousand(transport.backwards) { chance.within(0..5_000) } else { 0 };
        let recorded_at = i64::try_from(millis.saturating_sub(back) * 1_000).unwrap_or(0);
        let n = i64::try_from(chance.within(0..40)).unwrap_or(0) - 10;
        let n = (!chance.one_in(10)).then_some(n);
        facts.push(Fact { stream, sequence: *sequence, stored_at: millis, recorded_at, n });
    }
    facts
}

fn travel(
    chance: &mut Chance,
    transport: &Transport,
    fact: &Fact,
    is_followed: bool,
    actions: &mut Vec<(Duration, Action)>,
) {
    let stored = fact.stored_at;
    let at = Duration::from_millis;
    actions.push((at(stored), Action::Store(fact.clone())));
    let delay = match () {
        () if is_followed && chance.in_thousand(transport.lost) => None,
        () if chance.in_thousand(transport.missing) => Some(chance.within(500..30_000)),
        () if chance.in_thousand(transport.disorder) => Some(chance.within(1..3_000)),
        () => Some(chance.within(0..5)),
    };
    let arrives = delay.map(|delay| stored + delay);
    let near = chance.in_thousand(transport.near).then(|| chance.within(0..50));
    let far = chance.in_thousand(transport.far).then(|| chance.within(1_000..60_000));
    for arrival in arrives
        .into_iter()
        .flat_map(|first| [Some(0), near, far].into_iter().flatten().map(move |later| first + later))
    {
        actions.push((at(arrival), Action::Arrive(fact.clone())));
    }
    if chance.in_thousand(transport.reshard) {
        let number = chance.next();
        let action = if chance.one_in(2) { Action::Split(number) } else { Action::Merge(number) };
        actions.push((at(stored), action));
    }
}

/// What an operator does meanwhile.
fn operations(chance: &mut Chance, facts: &[Fact], actions: &mut Vec<(Duration, Action)>) {
    let times = if chance.one_in(2) { chance.within(1..60) } else { 0 };
    for fact in facts {
        if chance.in_thousand(times) {
            operate(chance, Duration::from_millis(fact.stored_at), actions);
        }
    }
}

fn operate(chance: &mut Chance, at: Duration, actions: &mut Vec<(Duration, Action)>) {
    let (number, other) = (chance.next(), chance.next());
    if chance.one_in(2) {
        let to = chance.pick(&[
            RewindTo::Beginning,
            RewindTo::Rebuild,
            RewindTo::Places(other),
            RewindTo::Time(other),
        ]);
        return actions.push((at, Action::Rewind { number, to }));
    }
    let time = chance.pick(&[100, 1_000, 10_000]);
    actions.push((at, Action::Pause(number)));
    actions.push((at + Duration::from_millis(chance.within(0..time)), Action::Resume(number)));
}
