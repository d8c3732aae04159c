//! Shards, their journals in small, and what the engine's order stage releases of them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use foldstream_model::{
    BasePolicy, Entry, Epoch, Event, EventId, EventType, HashKeyRange, Journal, JournalEntry, LeftOut,
    Payload, Place, Position, ProjectionId, ReEntry, SchemaVersion, Sequence, StreamId, Timestamp,
    ports::Revision,
};
use foldstream_runtime::{
    journal::JournalView,
    order::{Gaps, Order, OrderOptions, Placed, Prepare},
};

/// The nth event of a stream.
pub type Nth = (&'static str, u64);

/// A shard: what it descends from, the streams that it may hold, and its records. Shards stand behind their parents.
#[derive(Debug, Clone)]
pub struct Shard {
    pub parents: &'static [usize],
    pub range: HashKeyRange,
    pub records: &'static [Nth],
}

/// Streams before `t` lie in the lower half of the hash range.
pub const LOWER: HashKeyRange = HashKeyRange { first: 0, last: 0 };
pub const UPPER: HashKeyRange = HashKeyRange { first: 1, last: u128::MAX };

const NOTHING: HashKeyRange = HashKeyRange { first: 1, last: 0 };

pub fn hash_key(stream: &str) -> u128 {
    u128::from(stream >= "t")
}

/// A journal; revision 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallJournal {
    pub revision: u64,
    pub horizon: u64,
    pub entries: Vec<(u64, SmallEntry)>,
    pub sealed: bool,
}

/// An entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SmallEntry {
    /// A gap of this stream, from the first to the last missing sequence.
    Fill(&'static str, u64, u64),
    /// What is missing of this stream up to a sequence is given up.
    GiveUp(&'static str, u64),
    /// This stream comes back to a projection for the nth time, without an event if so decided.
    ReEnter(&'static str, u8, Option<u64>),
}

/// What a reader lets take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Record(u64),
    Entry { after: u64, number: u32, entry: SmallEntry },
}

impl Step {
    pub fn place(&self) -> Place {
        match self {
            Self::Record(position) => Place::end(Position::new((*position).into()), 0),
            Self::Entry { after, number, .. } => Place::end(Position::new((*after).into()), *number),
        }
    }
}

impl SmallJournal {
    /// As the engine sees it.
    pub fn view(&self) -> JournalView {
        let entries = self.entries.iter().map(|(after, entry)| JournalEntry {
            after: Position::new((*after).into()),
            entry: entry_of(*entry),
        });
        let journal = Journal {
            base: BasePolicy::First,
            start: Position::BEGINNING,
            horizon: Position::new(self.horizon.into()),
            entries: entries.collect(),
            last: None,
            trimmed: None,
            sealed: self.sealed,
        };
        let stored = (self.revision > 0).then(|| (Revision(self.revision), journal.clone()));
        JournalView::new(stored, journal)
    }

    pub fn of(journal: &Journal, revision: u64) -> Self {
        let number = |position: &Position| position.as_u64().expect("positions are small");
        let entries = journal.entries.iter().map(|known| (number(&known.after), small_entry(&known.entry)));
        Self {
            revision,
            horizon: number(&journal.horizon),
            entries: entries.collect(),
            sealed: journal.sealed,
        }
    }
}

pub fn entry_of(small: SmallEntry) -> Entry {
    let envelope = |nth| {
        let bytes = event(nth).to_envelope().expect("an event can be written");
        String::from_utf8(bytes).expect("an envelope is JSON")
    };
    match small {
        SmallEntry::Fill(stream, first, last) => Entry::Fill {
            stream: StreamId::new(stream),
            events: (first..=last).map(|sequence| envelope((stream, sequence))).collect(),
        },
        SmallEntry::GiveUp(stream, up_to) => {
            Entry::GiveUp { stream: StreamId::new(stream), up_to: Sequence(up_to) }
        }
        SmallEntry::ReEnter(stream, id, without) => Entry::ReEnter(Box::new(ReEntry {
            projection: ProjectionId::new("p", 1),
            epoch: Epoch(0),
            stream: StreamId::new(stream),
            id: id.to_string(),
            without: without.map(|sequence| LeftOut {
                sequences: BTreeSet::from([Sequence(sequence)]),
                who: String::new(),
                reason: None,
                at: Timestamp::MIN,
            }),
        })),
    }
}

pub fn small_entry(entry: &Entry) -> SmallEntry {
    let read =
        |text: &String| Event::from_envelope(&Bytes::from(text.clone())).expect("it was written").sequence.0;
    match entry {
        Entry::Fill { stream, events } => {
            let (first, last) = (events.first().map_or(0, read), events.last().map_or(0, read));
            SmallEntry::Fill(small_stream(stream), first, last)
        }
        Entry::GiveUp { stream, up_to } => SmallEntry::GiveUp(small_stream(stream), up_to.0),
        Entry::ReEnter(re_entry) => {
            let id = re_entry.id.parse().expect("it was written");
            let without = re_entry.without.as_ref().and_then(|without| without.sequences.first());
            SmallEntry::ReEnter(small_stream(&re_entry.stream), id, without.map(|sequence| sequence.0))
        }
        _ => unreachable!("no model sets records aside"),
    }
}

fn small_stream(stream: &StreamId) -> &'static str {
    if stream.as_str() == "s" { "s" } else { "t" }
}

pub fn event((stream, sequence): Nth) -> Event {
    Event {
        stream_id: StreamId::new(stream),
        sequence: Sequence(sequence),
        id: EventId::new(format!("{stream}-{sequence}")),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::MIN,
        effective_at: Timestamp::MIN,
        payload: Payload::default(),
        metadata: Payload::default(),
    }
}

/// How the order stage of a child comes about, and where released events stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct WrongOrder {
    pub last_parents_head: bool,
    pub early_to_both_children: bool,
    pub early_to_no_child: bool,
    pub early_of_the_last_parent: bool,
    pub own_place: bool,
}

/// What came of a shard's steps.
#[derive(Debug, Clone)]
pub struct Run {
    pub released: Vec<(Place, Nth)>,
    /// What is missing before the first early event of each stream.
    pub gaps: Vec<SmallEntry>,
    pub given_up: Vec<Nth>,
    /// An entry did not fit what was there.
    pub has_refused: bool,
}

/// Lets steps take effect in a shard, behind those that ended its ancestors.
pub fn run(
    shards: &[Shard],
    shard: usize,
    steps: &[Step],
    finals: &[Option<Vec<Step>>],
    wrong: WrongOrder,
) -> Run {
    let (order, released, has_refused) = order(shards, shard, steps, finals, wrong);
    let streams: BTreeSet<&'static str> =
        shards.iter().flat_map(|shard| shard.records.iter()).map(|(stream, _)| *stream).collect();
    let gap = |stream: &'static str| {
        let gap = order.gap(StreamId::new(stream).hash())?;
        Some(SmallEntry::Fill(stream, gap.first_missing.0, gap.last_missing.0))
    };
    let given_up = order.given_up().flat_map(|range| {
        let of_range = |stream: &&str| StreamId::new(*stream).hash() == range.stream;
        let stream = streams.iter().copied().find(of_range).expect("only known streams are given up");
        (range.first.0..=range.last.0).map(move |sequence| (stream, sequence))
    });
    let given_up = given_up.collect();
    Run { released, gaps: streams.into_iter().filter_map(gap).collect(), given_up, has_refused }
}

fn order(
    shards: &[Shard],
    shard: usize,
    steps: &[Step],
    finals: &[Option<Vec<Step>>],
    wrong: WrongOrder,
) -> (Order, Vec<(Place, Nth)>, bool) {
    let options = OrderOptions {
        first: Sequence(1),
        gaps: Gaps::Refuse,
        base: BasePolicy::First,
        max_early_bytes: 1_000_000,
    };
    let prepare: Prepare = Arc::new(|_| Ok(()));
    let Shard { parents, range, records } = &shards[shard];
    let mut order_of_parents: Vec<Order> = parents
        .iter()
        .map(|parent| order(shards, *parent, finals[*parent].as_deref().unwrap_or_default(), finals, wrong).0)
        .collect();
    if wrong.last_parents_head && order_of_parents.len() > 1 {
        order_of_parents.drain(..order_of_parents.len() - 1);
    }
    if wrong.early_of_the_last_parent && order_of_parents.len() > 1 {
        let without_early = |parent: &Order| {
            Order::child(options.clone(), prepare.clone(), &[parent], Some(NOTHING), &hash_key)
        };
        let last = order_of_parents.len() - 1;
        order_of_parents[..last].iter_mut().for_each(|parent| *parent = without_early(parent));
    }
    let range = if wrong.early_to_no_child { NOTHING } else { *range };
    let range = (!wrong.early_to_both_children).then_some(range);
    let parents: Vec<&Order> = order_of_parents.iter().collect();
    let mut order = Order::child(options, prepare, &parents, range, &hash_key);
    let (mut out, mut has_refused) = (Vec::new(), false);
    order.begin(&Place::BEGINNING, &mut out);
    for step in steps {
        match step {
            Step::Record(number) => {
                let nth = records[*number as usize - 1];
                let position = Position::new((*number).into());
                let taken =
                    order.record(event(nth).into(), &position, &nth.0.into(), Timestamp::MIN, &mut out);
                taken.expect("nothing is spilled");
            }
            Step::Entry { after, number, entry } => {
                let position = Position::new((*after).into());
                has_refused |= order.entry(&entry_of(*entry), &position, *number, &mut out).is_err();
            }
        }
    }
    let released = out.iter().map(|placed| (place(placed, records, wrong), nth(placed))).collect();
    (order, released, has_refused)
}

fn nth(placed: &Placed) -> Nth {
    (small_stream(&placed.event.stream_id), placed.event.sequence.0)
}

fn place(placed: &Placed, records: &[Nth], wrong: WrongOrder) -> Place {
    let own = records.iter().position(|record| *record == nth(placed)).filter(|_| wrong.own_place);
    own.map_or(placed.place.clone(), |index| Place::new(Position::new(index as u128 + 1), 0, 0))
}
