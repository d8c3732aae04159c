//! Reads what is parked of one document, in order.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{ParkedEvent, ParkedOrder, Result};

use super::{
    super::{
        partition::{Pages, Range},
        state::{self, Item, SORT},
    },
    CHANGES, ROUNDS,
    document::Document,
    keys,
    rows::{self, BEHIND},
};

/// A list of events that weigh more ends early.
const MAX_LISTED_BYTES: usize = 8 * 1024 * 1024;
/// Rows that are read at once to find the end of those that tie.
const TIES: usize = 100;

/// Rows of events, and the sort key behind which they begin.
pub(super) struct Listed {
    begin: Option<String>,
    pub items: Vec<Item>,
    /// Behind these there may be others.
    more: bool,
}

impl Document<'_> {
    /// Events behind an order as they were at one moment: none is missing before one that was put after it.
    ///
    /// A query reads each row at a moment of its own. So it counts only if no change was begun between a read of the
    /// document's row before and one after it, and none was under way: of a transaction DynamoDB can show some rows before
    /// others.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-isolation>
    pub(super) async fn list(&self, after: Option<&ParkedOrder>, limit: usize) -> Result<Vec<ParkedEvent>> {
        let mut at_once = limit;
        for _ in 0..ROUNDS {
            let Some(before) = self.changes().await? else { return Ok(Vec::new()) };
            let listed = self.listed(after, at_once).await?;
            if self.changes().await? == Some(before) && !self.is_torn(&listed).await? {
                let events = self.events(&listed, after, at_once).await?;
                if !events.is_empty() || !listed.more {
                    return Ok(events);
                }
            }
            // What is read faster changes less meanwhile.
            at_once = at_once.div_ceil(4);
        }
        Err(self.busy())
    }

    /// The same, but each event as it is at a moment of its own; and whether there may be others behind them.
    pub(super) async fn some(
        &self,
        after: Option<&ParkedOrder>,
        limit: usize,
    ) -> Result<(Vec<ParkedEvent>, bool)> {
        let listed = self.listed(after, limit).await?;
        let events = self.events(&listed, after, limit).await?;
        match events.is_empty() && listed.more {
            true => Err(self.busy()),
            false => Ok((events, listed.more)),
        }
    }

    /// None: nothing was ever parked.
    async fn changes(&self) -> Result<Option<u64>> {
        let row = self.table.item(&self.documents, &self.name).await?;
        row.map(|row| state::number_of(&row, CHANGES)).transpose()
    }

    /// As many events as asked for, or as weigh enough; with them all that tie with `after` or with the last one.
    pub(super) async fn listed(&self, after: Option<&ParkedOrder>, limit: usize) -> Result<Listed> {
        let after = after.map(keys::order);
        let tied = after.as_deref().and_then(keys::tie).map(str::to_owned);
        let begin = tied.clone().or(after);
        let mut pages =
            Pages::new(self.table, self.events.clone(), begin.clone().map_or(Range::All, Range::Behind));
        let (mut items, mut wanted, mut bytes) = (Vec::new(), limit, 0);
        let mut last = tied.clone();
        while let Some(page) = pages.next(wanted.max(if last.is_some() { TIES } else { 1 })).await? {
            for item in page {
                let tie = keys::tie(state::text_of(&item, SORT)?).map(str::to_owned);
                let is_enough = wanted == 0 || (wanted < limit && bytes >= MAX_LISTED_BYTES);
                if is_enough && (tie.is_none() || tie != last) {
                    return Ok(Listed { begin, items, more: true });
                }
                // One that ties with `after` may stand before it.
                wanted = wanted.saturating_sub(usize::from(tie.is_none() || tie != tied));
                bytes += rows::size_in_bytes(&item)?;
                items.push(item);
                last = tie;
            }
            if wanted == 0 && last.is_none() {
                return Ok(Listed { begin, items, more: true });
            }
        }
        Ok(Listed { begin, items, more: false })
    }

    /// Whether an event is missing that was put together with one that is there, and still is.
    pub(super) async fn is_torn(&self, listed: &Listed) -> Result<bool> {
        let sorts = listed.items.iter().map(|item| state::text_of(item, SORT));
        let sorts = sorts.collect::<Result<BTreeSet<_>>>()?;
        for item in &listed.items {
            let Some(behind) = item.get(BEHIND).and_then(|sort| sort.as_s().ok()) else { continue };
            if sorts.contains(behind.as_str()) || listed.begin.as_ref().is_some_and(|begin| behind <= begin) {
                continue;
            }
            let sort = state::text_of(item, SORT)?;
            let both = [(self.events.as_str(), behind.as_str()), (self.events.as_str(), sort)];
            if self.table.items_at_once(&both).await?.first().is_some_and(Option::is_some) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn events(
        &self,
        listed: &Listed,
        after: Option<&ParkedOrder>,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>> {
        let mut events = BTreeMap::new();
        for item in &listed.items {
            if let Some(event) = rows::event(self.table, &self.events, &self.pieces, item).await?
                && after.is_none_or(|after| event.order > *after)
            {
                events.insert(event.order.clone(), event);
            }
        }
        Ok(events.into_values().take(limit).collect())
    }
}
