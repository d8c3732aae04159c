//! Deciding: what operators decide about the streams of a source is an entry in a shard's journal, written beside any
//! worker. It takes effect behind all that was released there, for everybody alike.

use std::sync::Arc;

use foldstream_model::{
    Cut, Entry, Error, ErrorKind, Event, Journal, LeftOut, Lot, ParkedStream, Place, Position, ReEntry,
    ReadAnew, Result, Sequence, ShardId, ShardNumber, SourceName,
};

use crate::{
    assembly::{Services, SourceSpec},
    decode::Intake,
    journal::{JournalView, Wish},
    line::{gaps, journaling},
    lineage::{KnownShard, Lineage},
    order::{self, Gap, Gaps, Order, OrderOptions, Prepare},
    retry::{self, Backoff, Verdict},
    rows::{
        self, Rows,
        records::{Decided, Fate, RecordAside},
    },
};

/// What writes decisions into the journals of a source.
pub struct Decider {
    source: SourceSpec,
    services: Services,
    rows: Rows,
}

impl Decider {
    pub fn new(source: SourceSpec, services: Services) -> Self {
        let rows = Rows::new(services.checkpoints.clone());
        Self { source, services, rows }
    }

    /// Lets a parked stream come back, without some of its events if so decided; the shard in which it does. Invalid: that
    /// shard has not been begun yet.
    pub async fn let_back(
        &self,
        lot: &Lot,
        parked: &ParkedStream,
        without: Option<LeftOut>,
    ) -> Result<ShardId> {
        let re_entry = ReEntry {
            projection: lot.projection.clone(),
            epoch: lot.epoch,
            stream: parked.stream.clone(),
            id: self.services.ids.unique(),
            without,
        };
        let hash_key = self.source.source.hash_key(&parked.partition_key);
        self.decide(parked.since.shard, hash_key, &Entry::ReEnter(Box::new(re_entry))).await
    }

    /// Gives up what is missing of a stream, for all projections of the source: what waits for it goes on without it.
    pub async fn give_up(&self, open: &OpenGap) -> Result<ShardId> {
        let gap = &open.gap;
        let entry = Entry::GiveUp { stream: gap.stream.clone(), up_to: gap.last_missing };
        self.decide(open.shard, self.source.source.hash_key(&gap.partition_key), &entry).await
    }

    /// Reads a record anew that could not be decoded: the event in it comes where it is read on by now, for all projections of
    /// the source. None: it is not meant to be an event. Poison: it still is none, or another event has its sequence.
    pub async fn read_anew(
        &self,
        record: &RecordAside,
        decided: Decided,
    ) -> Result<Option<(ShardId, Event)>> {
        let source = &self.source.name;
        if record.fork.is_some() {
            return Err(Error::poison(format!(
                "{}; the one that came first is kept: leave this one out with `foldstream parked discard`",
                record.error
            )));
        }
        let raw = self.rows.record_as_read(source, record).await?;
        let event = Intake::new(&self.source, &[]).decode(&raw)?;
        let mut came = None;
        if let Some(event) = event {
            self.refuse_fork(&event).await?;
            let envelope = event.to_envelope().map_err(|error| Error::poison(error.to_string()))?;
            let event_text =
                String::from_utf8(envelope).map_err(|error| Error::internal(error.to_string()))?;
            let anew = ReadAnew { partition_key: record.partition_key.clone(), event: event_text };
            let hash_key = self.source.source.hash_key(&record.partition_key);
            let shard = self.decide(record.shard, hash_key, &Entry::ReadAnew(Box::new(anew))).await?;
            came = Some((shard, event));
        }
        self.rows.decide_record(source, record, &Fate::CameBack(decided)).await?;
        Ok(came)
    }

    async fn refuse_fork(&self, event: &Event) -> Result<()> {
        let Some(store) = &self.source.events else { return Ok(()) };
        let known = store.read_stream(&event.stream_id, event.sequence, 1).await?;
        match known.first().filter(|known| known.sequence == event.sequence) {
            Some(known) if !order::is_same(known, event) => Err(gaps::forked(known, event)),
            _ => Ok(()),
        }
    }

    /// Leaves out a record that could not be decoded. False: it was decided before.
    pub async fn discard_record(&self, record: &RecordAside, decided: Decided) -> Result<bool> {
        self.rows.decide_record(&self.source.name, record, &Fate::Discarded(decided)).await
    }

    /// Writes an entry into the journal of a shard, or where that has ended, of the one that descends from it and takes the
    /// hash key.
    async fn decide(&self, shard: ShardNumber, hash_key: u128, entry: &Entry) -> Result<ShardId> {
        let lineage = self.rows.source(&self.source.name).await?.map(|stored| stored.body);
        let Some(lineage) = lineage else { return Err(Error::invalid("its source was never read")) };
        let numbered = lineage.shards().find(|(_, known)| known.number == shard);
        let mut shard = numbered.map(|(id, _)| id.clone());
        while let Some(open) = shard {
            match self.append(&open, entry).await {
                Err(error) if error.kind() == ErrorKind::Fenced => {}
                ended => return ended.map(|()| open),
            }
            shard = child(&lineage, &open, hash_key);
        }
        Err(Error::invalid(
            "the shard has ended, and what follows it was not listed yet: begin with `foldstream run`, then try again",
        ))
    }

    /// Fenced: the shard was sealed.
    async fn append(&self, shard: &ShardId, entry: &Entry) -> Result<()> {
        let source = &self.source.name;
        let Some(stored) = self.rows.get::<Journal>(&rows::journal_key(source, shard)).await? else {
            return Err(Error::invalid(format!(
                "shard={shard} was not begun yet: begin with `foldstream run`, then try again"
            )));
        };
        let from = stored.body.horizon.clone();
        let stored = self.rows.journal(source, shard, None, &from).await?;
        let otherwise = journaling::first_journal(foldstream_model::BasePolicy::First, Position::BEGINNING);
        let mut view = JournalView::new(stored, otherwise);
        let (wish, mut backoff) = (Wish::Decide(entry.clone()), Backoff::new());
        while let Some(mut next) = view.next(&wish)? {
            match journaling::write(&self.rows, &self.services, source, shard, &view, &mut next).await {
                Ok(Some(revision)) => {
                    view.written(next, revision);
                    continue;
                }
                Ok(None) => {}
                Err(error) if retry::verdict(error.kind()) == Verdict::Again => {
                    backoff.pause(&error, "writing a decision").await;
                }
                Err(error) => return Err(error),
            }
            let known = view.journal();
            let stored = self.rows.journal(source, shard, Some(known), &known.horizon).await?;
            view.take(stored)?;
        }
        Ok(())
    }
}

/// Missing events of a stream, as a shard that is open was last saved.
#[derive(Debug, Clone)]
pub struct OpenGap {
    pub shard: ShardNumber,
    pub gap: Gap,
}

/// What is missing in the shards of a source, by when that was first seen. `hash_key` is the source's.
pub async fn open_gaps(
    rows: &Rows,
    source: &SourceName,
    first: Sequence,
    hash_key: &(dyn Fn(&str) -> u128 + Sync),
) -> Result<Vec<OpenGap>> {
    let Some(lineage) = rows.source(source).await? else { return Ok(Vec::new()) };
    let saved = Saved { rows, source, first };
    let mut open = Vec::new();
    for (id, known) in lineage.body.shards().filter(|(_, known)| known.gone_at.is_none()) {
        let Some(journal) = saved.journal(id).await?.filter(|journal| !journal.sealed) else { continue };
        let order = match saved.order(id, &journal).await? {
            Some(order) => order,
            // Nothing has come in it yet but what waits in its parents.
            None => saved.child(known, &journal, hash_key).await?,
        };
        open.extend(order.gaps().into_iter().map(|gap| OpenGap { shard: known.number, gap }));
    }
    open.sort_by_key(|open| open.gap.since);
    Ok(open)
}

/// The order states of a source's shards, as they were last saved.
struct Saved<'a> {
    rows: &'a Rows,
    source: &'a SourceName,
    first: Sequence,
}

impl Saved<'_> {
    async fn journal(&self, shard: &ShardId) -> Result<Option<Journal>> {
        let stored = self.rows.get::<Journal>(&rows::journal_key(self.source, shard)).await?;
        Ok(stored.map(|stored| stored.body))
    }

    fn options(&self, journal: &Journal) -> OrderOptions {
        let (first, base) = (self.first, journal.base);
        OrderOptions { first, gaps: Gaps::Refuse, base, max_early_bytes: usize::MAX }
    }

    async fn order(&self, shard: &ShardId, journal: &Journal) -> Result<Option<Order>> {
        let until = Place::end(journal.horizon.clone(), u32::MAX);
        let newest = self.rows.newest_cut(self.source, shard, &until).await?;
        let restore = |(_, cuts): (_, Vec<Cut>)| Order::restore(self.options(journal), nothing(), &cuts);
        newest.map(restore).transpose()
    }

    async fn child(
        &self,
        known: &KnownShard,
        journal: &Journal,
        hash_key: &(dyn Fn(&str) -> u128 + Sync),
    ) -> Result<Order> {
        let mut finals = Vec::new();
        for parent in &known.parents {
            if let Some(journal) = self.journal(parent).await? {
                finals.extend(self.order(parent, &journal).await?);
            }
        }
        let finals: Vec<&Order> = finals.iter().collect();
        Ok(Order::child(self.options(journal), nothing(), &finals, known.range, hash_key))
    }
}

/// Who asks only what is missing reads no event.
fn nothing() -> Prepare {
    Arc::new(|_| Ok(()))
}

fn child(lineage: &Lineage, of: &ShardId, hash_key: u128) -> Option<ShardId> {
    let mut children = lineage.shards().filter(|(_, known)| known.parents.contains(of));
    let found = children.find(|(_, known)| known.range.is_none_or(|range| range.contains(hash_key)));
    found.map(|(id, _)| id.clone())
}
