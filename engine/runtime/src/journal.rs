//! The journal as one worker of a shard sees it, and what it writes next.
//!
//! Every change is a compare-and-set of the whole row. Whatever came of it (done, conflict, or an unknown answer that
//! was resolved by reading back), the worker takes what is stored and asks again what its wish still needs.

use foldstream_model::{Entry, Error, Journal, JournalEntry, Place, Position, Result, ports::Revision};

use crate::planted::{self, Bug};

#[cfg(test)]
mod tests;

/// A journal that was read or written, or, without a revision, the one that would be the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalView {
    journal: Journal,
    revision: Option<Revision>,
    /// Entries that this worker knew before they were removed, and may still have to let take effect.
    removed: Vec<JournalEntry>,
}

/// What a worker wants of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To release records up to and with this position.
    Raise(Position),
    /// A fact that is no record, directly after the horizon; of one who has read up to `read`. It is dropped where others
    /// have read further: what they have met may make it needless.
    Append { entry: Entry, read: Position },
    /// What an operator has decided, directly after the horizon, wherever who writes it has read.
    Decide(Entry),
    /// To release the record at this position as one that nobody takes for an event.
    SetAside(Position),
    /// To end the shard, whose last record is at this position.
    Seal(Position),
}

/// An entry that takes effect, at the place `position/number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective<'a> {
    pub position: &'a Position,
    /// From 1, in the order in which entries were appended at that horizon.
    pub number: u32,
    pub entry: &'a Entry,
}

impl JournalView {
    /// The stored journal, or where there is none the one to begin with.
    pub fn new(stored: Option<(Revision, Journal)>, otherwise: Journal) -> Self {
        let (journal, revision) = match stored {
            Some((revision, stored)) => (stored, Some(revision)),
            None => (otherwise, None),
        };
        Self { journal, revision, removed: Vec::new() }
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What a put of [`JournalView::next`] expects to be stored.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// Whether the record at `position` may be released, once the entries before it have taken effect.
    pub fn may_release(&self, position: &Position) -> bool {
        self.revision.is_some() && *position <= self.journal.horizon
    }

    /// Whether nobody takes the record at `position` for an event.
    pub fn sets_aside(&self, position: &Position) -> bool {
        [&self.removed, &self.journal.entries].into_iter().any(|known| {
            let behind = known.iter().skip(known.partition_point(|known| known.after < *position));
            let mut there = behind.take_while(|known| known.after == *position);
            there.any(|known| matches!(known.entry, Entry::SetAside))
        })
    }

    /// Whether who has read up to a position has read all that may be released.
    pub fn is_at_horizon(&self, read: &Position) -> bool {
        read.max(&self.journal.start) >= &self.journal.horizon
    }

    /// The journal to be written for a wish; none when the stored one grants it already, or it is dropped. Fenced when the shard was
    /// sealed meanwhile: what is open is then decided in its children.
    pub fn next(&self, wish: &Wish) -> Result<Option<Journal>> {
        let mut next = self.journal.clone();
        match wish {
            Wish::Raise(to) if *to > next.horizon => {
                self.refuse_if_sealed()?;
                next.horizon = to.clone();
            }
            Wish::Append { entry, read }
                if (self.is_at_horizon(read) || planted::is(Bug::EntryAtDecidersPlace))
                    && !self.knows(entry) =>
            {
                self.refuse_if_sealed()?;
                let after = if planted::is(Bug::EntryAtDecidersPlace) { read } else { &next.horizon };
                next.entries.push(JournalEntry { after: after.clone(), entry: entry.clone() });
            }
            Wish::Decide(entry) if !self.knows(entry) => {
                self.refuse_if_sealed()?;
                next.entries.push(JournalEntry { after: next.horizon.clone(), entry: entry.clone() });
            }
            Wish::SetAside(record) if *record > next.horizon => {
                self.refuse_if_sealed()?;
                next.horizon = record.clone();
                next.entries.push(JournalEntry { after: record.clone(), entry: Entry::SetAside });
            }
            Wish::Seal(end) if !next.sealed => {
                let end = end.max(&next.start);
                if *end < next.horizon {
                    let message =
                        format!("a shard ends before what was released: end={end} horizon={}", next.horizon);
                    return Err(Error::internal(message));
                }
                next.horizon = end.clone();
                next.sealed = true;
            }
            _ if self.revision.is_some() => return Ok(None),
            _ => {}
        }
        Ok(Some(next))
    }

    /// Remembers what this worker has written.
    pub fn written(&mut self, journal: Journal, revision: Revision) {
        self.journal = journal;
        self.revision = Some(revision);
    }

    /// Takes what is stored, after a conflict or an unknown answer. Internal when it is behind what was stored before;
    /// fenced when entries were removed that this worker has never seen: it has slept for longer than records are kept.
    pub fn take(&mut self, stored: Option<(Revision, Journal)>) -> Result<()> {
        let Some((revision, stored)) = stored else {
            if self.revision.is_none() {
                return Ok(());
            }
            return Err(Error::internal(
                "a journal has disappeared: its checkpoint store was replaced or emptied",
            ));
        };
        if self.revision.is_some() && !follows(&stored, &self.journal) {
            return Err(Error::internal(
                "a journal went back: its checkpoint store was replaced or restored",
            ));
        }
        if self.revision.is_some() && stored.trimmed.as_ref() > Some(&self.journal.horizon) {
            let (slept, trimmed) = (&self.journal.horizon, lost_until(&stored));
            return Err(Error::fenced(format!(
                "others have read on in the shard, and what happened behind position={slept} is kept only from position={trimmed} on"
            )));
        }
        let known = std::mem::take(&mut self.journal.entries);
        self.removed.extend(known.into_iter().filter(|known| is_removed(known, &stored)));
        self.journal = stored;
        self.revision = Some(revision);
        Ok(())
    }

    /// Nothing before the position of `place` is asked for again.
    pub fn passed(&mut self, place: &Place) {
        for known in [&mut self.removed, &mut self.journal.entries] {
            let passed = known.partition_point(|known| known.after < place.position);
            known.drain(..passed);
        }
    }

    /// Invalid when a worker that begins at `place` would miss entries that were removed.
    pub fn refuse_if_lost(&self, place: &Place) -> Result<()> {
        let begins = (&place.position).max(&self.journal.start);
        match self.journal.trimmed.as_ref() > Some(begins) {
            true => Err(lost(begins, &self.journal)),
            false => Ok(()),
        }
    }

    /// The entries that take effect directly after the position of `place`, behind `place` itself: what a worker has
    /// left to do that has read no further. Before the first record it has read as far as the journal's start.
    pub fn entries_after<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = Effective<'a>> {
        let read = (&place.position).max(&self.journal.start);
        self.entries_behind(place).take_while(move |effective| effective.position <= read)
    }

    /// The entries that take effect behind `place` and before the record at `record`.
    pub fn entries_before<'a>(
        &'a self,
        place: &'a Place,
        record: &'a Position,
    ) -> impl Iterator<Item = Effective<'a>> {
        self.entries_behind(place).take_while(move |effective| effective.position < record)
    }

    /// Asked before every record: searches, as entries are in the order of the horizons that they were appended at.
    fn entries_behind<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = Effective<'a>> {
        let behind = |entries: &'a [JournalEntry]| {
            entries.iter().skip(entries.partition_point(|known| known.after < place.position))
        };
        let mut last = None;
        let mut number = 0;
        let numbered = behind(&self.removed).chain(behind(&self.journal.entries)).map(move |known| {
            number = if last == Some(&known.after) { number + 1 } else { 1 };
            last = Some(&known.after);
            Effective { position: &known.after, number, entry: &known.entry }
        });
        numbered
            .skip_while(|effective| (effective.position, effective.number) <= (&place.position, place.entry))
    }

    fn knows(&self, entry: &Entry) -> bool {
        self.removed.iter().chain(&self.journal.entries).any(|known| known.entry == *entry)
    }

    fn refuse_if_sealed(&self) -> Result<()> {
        match self.journal.sealed {
            true => Err(Error::fenced(format!("the shard was sealed: end={}", self.journal.horizon))),
            false => Ok(()),
        }
    }
}

/// Whether a journal can have come of an earlier one by what workers write.
fn follows(later: &Journal, earlier: &Journal) -> bool {
    let is_same = later.base == earlier.base && later.start == earlier.start;
    let left = earlier.entries.partition_point(|known| is_removed(known, later));
    let left = earlier.entries.get(left..).unwrap_or_default();
    let is_longer = later.entries.starts_with(left) && later.horizon >= earlier.horizon;
    is_same && is_longer && later.trimmed >= earlier.trimmed && (later.sealed || !earlier.sealed)
}

fn is_removed(entry: &JournalEntry, from: &Journal) -> bool {
    from.trimmed.as_ref().is_some_and(|trimmed| entry.after < *trimmed)
}

fn lost_until(journal: &Journal) -> &Position {
    journal.trimmed.as_ref().unwrap_or(&Position::BEGINNING)
}

fn lost(begins: &Position, journal: &Journal) -> Error {
    let trimmed = lost_until(journal);
    Error::invalid(format!(
        "what happened in the shard behind position={begins} is kept only from position={trimmed} on: its retention time was over before it was read. Rewind or delete the projection that stands there, or give it a new version"
    ))
}
