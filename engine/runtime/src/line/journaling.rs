//! The line and the shard's journal: nothing is released beyond a horizon that was read or written.

use foldstream_model::{
    Entry, Error, ErrorKind, Journal, Place, Position, Result, ShardId, SourceName,
    ports::{Put, Revision},
};

use super::{Line, Subscriber};
use crate::{
    assembly::Services,
    invariants,
    journal::{Effective, JournalView, Wish},
    metrics,
    order::{Fork, Placed},
    planted::{self, Bug},
    retry::{self, Backoff, Verdict},
    rows::{self, Rows},
};

impl Line {
    /// Raises the horizon to a position, if it is below.
    pub(super) async fn raise(&mut self, to: &Position) -> Result<()> {
        if self.journal.may_release(to) || planted::is(Bug::BeyondHorizon) {
            return Ok(());
        }
        self.wish(Wish::Raise(to.clone())).await
    }

    /// Appends an entry, which takes effect directly after the horizon, unless this line is behind that.
    pub(super) async fn append(&mut self, entry: Entry) -> Result<()> {
        self.wish(Wish::Append { entry, read: self.at.position.clone() }).await
    }

    /// Ends the shard: no entry comes any more.
    pub(super) async fn seal(&mut self) -> Result<()> {
        self.wish(Wish::Seal(self.at.position.clone())).await
    }

    /// Changes the journal by compare-and-set until it grants the wish. An answer that never came is settled by the
    /// next read: what is stored either grants the wish or does not.
    pub(super) async fn wish(&mut self, wish: Wish) -> Result<()> {
        let mut backoff = Backoff::new();
        self.journal.passed(&self.at);
        while let Some(mut next) = self.journal.next(&wish)? {
            let (services, shard) = (&self.context.services, &self.context.shard.id);
            let source = &self.context.source.name;
            match write(&self.context.rows, services, source, shard, &self.journal, &mut next).await {
                Ok(Some(revision)) => self.journal.written(next, revision),
                Ok(None) => self.reload_journal().await?,
                Err(error) if retry::verdict(error.kind()) == Verdict::Again => {
                    backoff.pause(&error, "saving how far a shard may be read").await;
                    self.reload_journal().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the journal as it is stored now.
    pub(super) async fn reload_journal(&mut self) -> Result<()> {
        let (source, shard) = (&self.context.source.name, &self.context.shard.id);
        let known = self.journal.journal();
        let stored = self.context.rows.journal(source, shard, Some(known), &known.horizon).await?;
        self.journal.take(stored)?;
        self.journal.passed(&self.at);
        Ok(())
    }

    /// What operators decide comes as an entry, of which a shard at rest hears nothing: it looks while anything waits for
    /// them.
    pub(super) async fn look_for_decisions(&mut self) -> Result<()> {
        let is_parked = |known: &Subscriber| known.apart.streams.has_parked();
        if !self.order.has_gaps() && !self.has_set_aside && !self.subscribers.iter().any(is_parked) {
            return Ok(());
        }
        self.reload_journal().await?;
        self.put_in_order(Some(&self.at.clone())).await
    }

    /// Lets the entries before a record, or all that are known, take effect; a poisonous one ends it.
    pub(super) async fn order_entries(
        &mut self,
        before: Option<&Position>,
        placed: &mut Vec<Placed>,
    ) -> Result<Option<(Place, Error)>> {
        let owned = |due: Effective<'_>| (due.position.clone(), due.number, due.entry.clone());
        let due: Vec<(Position, u32, Entry)> = match before {
            Some(record) => self.journal.entries_before(&self.at, record).map(owned).collect(),
            None => self.journal.entries_after(&self.at).map(owned).collect(),
        };
        for (position, number, entry) in due {
            let place = Place::new(position.clone(), number, 0);
            match self.order_entry(&entry, &place, placed).await {
                Err(error) if error.kind() == ErrorKind::Poison => return Ok(Some((place, error))),
                forks => self.forks.extend(forks?),
            }
            if let Some(poison) = self.go_on(placed).await? {
                return Ok(Some(poison));
            }
            if let Entry::SetAside = entry {
                self.deliver(std::mem::take(placed)).await?;
                self.pass_set_aside(&place).await?;
            }
            self.at = Place::end(position, number);
            if let Entry::ReEnter(re_entry) = entry {
                self.deliver_with(std::mem::take(placed), Some((place, *re_entry))).await?;
            }
        }
        Ok(None)
    }

    async fn order_entry(
        &mut self,
        entry: &Entry,
        place: &Place,
        placed: &mut Vec<Placed>,
    ) -> Result<Vec<Fork>> {
        if let Entry::ReadAnew(anew) = entry {
            return self.read_anew(anew, place, placed).await;
        }
        self.bring(self.order.lacking_for_entry(entry)?).await?;
        self.order.entry(entry, &place.position, place.entry, placed)
    }

    /// Makes the shard's journal durable before anything of it is released: what the start policy means is fixed here.
    pub(super) async fn make_journal(&mut self) -> Result<()> {
        if self.journal.revision().is_some() {
            return Ok(());
        }
        let start = self.journal.journal().start.clone();
        match self.wish(Wish::Raise(start)).await {
            Err(error) if error.kind() == ErrorKind::Fenced => self.reload_journal().await,
            ended => ended,
        }
    }
}

/// Writes a shard's journal. The rows of a new entry are durable before the journal names it. None: another was faster.
pub async fn write(
    rows: &Rows,
    services: &Services,
    source: &SourceName,
    shard: &ShardId,
    known: &JournalView,
    next: &mut Journal,
) -> Result<Option<Revision>> {
    if let Some(entry) = next.entries.get(known.journal().entries.len()) {
        let unique = services.ids.unique();
        let previous = next.last.take();
        next.last = Some(rows.add_entry(source, shard, entry, previous, &unique).await?);
    }
    if known.revision().is_some() {
        let moves_on = invariants::journal_moves_on(known.journal(), next);
        metrics::watch("journal_moves_on", moves_on);
    }
    let (key, body) = (rows::journal_key(source, shard), rows::journals::body(next)?);
    match services.checkpoints.put(&key, known.revision(), body, None).await? {
        Put::Done(revision) => Ok(Some(revision)),
        Put::Conflict(Some(stored)) if planted::is(Bug::JournalWithoutCondition) => Ok(Some(stored.revision)),
        Put::Conflict(_) => Ok(None),
    }
}

/// The journal that a shard begins with.
pub fn first_journal(base: foldstream_model::BasePolicy, start: Position) -> Journal {
    let horizon = start.clone();
    Journal { base, horizon, start, entries: Vec::new(), last: None, trimmed: None, sealed: false }
}
