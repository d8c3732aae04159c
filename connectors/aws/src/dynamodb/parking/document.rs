//! What is parked of one document.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};
use foldstream_model::{Error, Lot, MarkNumber, ParkedEvent, ParkedOrder, Result, ports::Parked};

use super::{
    super::{
        partition::{Pages, Range},
        state::{self, Item, SORT, StateTable},
        transaction::{MAX_ACTIONS, MAX_BYTES, Transacted},
    },
    CLOSED, ROUNDS, keys,
    rows::{self, BEHIND, EventRow},
};
use crate::errors;

/// Beside the events a transaction changes the document's row and its part of the lot's total.
const MAX_EVENTS: usize = MAX_ACTIONS - 2;

pub(super) struct Document<'t> {
    pub table: &'t StateTable,
    /// As it is in keys.
    pub name: String,
    pub documents: String,
    pub events: String,
    pub pieces: String,
    totals: String,
}

impl<'t> Document<'t> {
    pub(super) fn new(table: &'t StateTable, lot: &Lot, name: String) -> Self {
        Self {
            documents: keys::documents(lot),
            events: keys::events(lot, &name),
            pieces: keys::pieces(lot),
            totals: keys::totals(lot),
            table,
            name,
        }
    }

    /// In the order of the events, as many at once as a transaction takes.
    pub(super) async fn append(&self, mark: MarkNumber, events: Vec<ParkedEvent>) -> Result<Parked> {
        let mut rows = events.iter().map(EventRow::new).collect::<Result<Vec<_>>>()?;
        rows.sort_by(|a, b| a.order.cmp(&b.order));
        rows.dedup_by(|later, first| later.order == first.order);
        if rows.is_empty() {
            return self.judge(mark).await;
        }
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (rows, behind) = rest.split_at(fitting(rest));
            if self.put(mark, rows).await? == Parked::Closed {
                return Ok(Parked::Closed);
            }
            rest = behind;
        }
        Ok(Parked::Done)
    }

    async fn judge(&self, mark: MarkNumber) -> Result<Parked> {
        let row = self.table.item(&self.documents, &self.name).await?;
        let is_closed = row.map(|row| closed(&row)).transpose()?.is_some_and(|closed| mark <= closed);
        Ok(if is_closed { Parked::Closed } else { Parked::Done })
    }

    /// Puts those that are not there, all at one moment.
    async fn put(&self, mark: MarkNumber, rows: &[EventRow]) -> Result<Parked> {
        let mut items: BTreeMap<&str, Item> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let there = self.there(rows.iter().map(|row| row.sort.as_str())).await?;
            let missing: Vec<&EventRow> = rows.iter().filter(|row| !there.contains_key(&row.sort)).collect();
            if missing.is_empty() {
                return self.judge(mark).await;
            }
            let mut actions = self.counted(missing.len(), Some(mark))?;
            let mut behind = None;
            for row in missing {
                if !items.contains_key(row.sort.as_str()) {
                    items.insert(&row.sort, row.item(self.table, &self.events, &self.pieces).await?);
                }
                let mut item = items.get(row.sort.as_str()).cloned().unwrap_or_default();
                item.extend(behind.map(|sort: &str| (BEHIND.to_owned(), state::text(sort))));
                actions.push(self.table.put_absent(item)?);
                behind = Some(row.sort.as_str());
            }
            match self.table.transact(&self.events, actions).await? {
                Transacted::Done => return Ok(Parked::Done),
                Transacted::Refused(held) if held.first() == Some(&false) => return Ok(Parked::Closed),
                Transacted::Refused(_) => {}
            }
        }
        Err(self.busy())
    }

    pub(super) async fn remove(&self, orders: &[ParkedOrder]) -> Result<()> {
        let sorts: BTreeSet<String> = orders.iter().map(keys::order).collect();
        let sorts: Vec<String> = sorts.into_iter().collect();
        for sorts in sorts.chunks(MAX_EVENTS) {
            self.delete(sorts).await?;
        }
        Ok(())
    }

    /// Deletes those that are there, all at one moment.
    async fn delete(&self, sorts: &[String]) -> Result<()> {
        for _ in 0..ROUNDS {
            let there = self.there(sorts.iter().map(String::as_str)).await?;
            if there.is_empty() {
                return Ok(());
            }
            let mut actions = self.counted(there.len(), None)?;
            for sort in there.keys() {
                actions.push(self.table.delete_present(&self.events, sort)?);
            }
            if self.table.transact(&self.events, actions).await? == Transacted::Done {
                for item in there.values() {
                    rows::delete_pieces(self.table, &self.pieces, item).await?;
                }
                return Ok(());
            }
        }
        Err(self.busy())
    }

    pub(super) async fn close(&self, mark: MarkNumber) -> Result<bool> {
        let request = self.table.client.update_item().table_name(&self.table.name);
        let request = request
            .set_key(Some(state::key(&self.documents, &self.name)?))
            .update_expression("SET closed = :mark, waiting = :none ADD changes :one")
            .condition_expression(
                "(attribute_not_exists(closed) OR closed < :mark) AND (attribute_not_exists(waiting) OR waiting = :none)",
            )
            .expression_attribute_values(":mark", state::number(mark.0.into()))
            .expression_attribute_values(":none", state::number(0))
            .expression_attribute_values(":one", state::number(1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let UpdateItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                Ok(mark <= closed(&failed.item.unwrap_or_default())?)
            }
            Err(error) => Err(errors::of(&self.table.doing("UpdateItem", &self.row()), error)),
        }
    }

    /// Which of some events are there, sorted as they are, by sort key: all but the events themselves.
    async fn there<'s>(&self, sorts: impl Iterator<Item = &'s str>) -> Result<BTreeMap<String, Item>> {
        let sorts: BTreeSet<&str> = sorts.collect();
        let (Some(first), Some(last)) = (sorts.first(), sorts.last()) else { return Ok(BTreeMap::new()) };
        let range = Range::Between((*first).to_owned(), (*last).to_owned());
        let found = Pages::new(self.table, self.events.clone(), range).only("sk, pieces, pieces_id").all();
        let mut there = BTreeMap::new();
        for item in found.await? {
            let sort = state::text_of(&item, SORT)?.to_owned();
            if sorts.contains(sort.as_str()) {
                there.insert(sort, item);
            }
        }
        Ok(there)
    }

    /// The first actions of a transaction: so many events more, on condition that this mark is open, or so many fewer.
    fn counted(&self, events: usize, mark: Option<MarkNumber>) -> Result<Vec<TransactWriteItem>> {
        let sign = if mark.is_some() { "" } else { "-" };
        let events = AttributeValue::N(format!("{sign}{events}"));
        let values = Item::from([(":events".to_owned(), events)]);
        let total = keys::total(&self.name);
        let total = self.table.update(&self.totals, &total, "ADD waiting :events", None, values.clone())?;
        let mut values = values;
        values.insert(":one".to_owned(), state::number(1));
        values.extend(mark.map(|mark| (":mark".to_owned(), state::number(mark.0.into()))));
        let is_open = mark.map(|_| "attribute_not_exists(closed) OR closed < :mark");
        let change = "ADD waiting :events, changes :one";
        Ok(vec![self.table.update(&self.documents, &self.name, change, is_open, values)?, total])
    }

    fn row(&self) -> String {
        format!("{}/{}", self.documents, self.name)
    }

    pub(super) fn busy(&self) -> Error {
        Error::transient(format!(
            "others change what is parked of a document all the time: row={}",
            self.row()
        ))
    }
}

/// The highest mark that is closed; zero is none.
fn closed(row: &Item) -> Result<MarkNumber> {
    if !row.contains_key(CLOSED) {
        return Ok(MarkNumber(0));
    }
    let closed = state::number_of(row, CLOSED)?;
    u32::try_from(closed).map(MarkNumber).map_err(|_| Error::internal(format!("no mark: closed={closed}")))
}

/// How many of the first events fit a transaction; at least one.
fn fitting(rows: &[EventRow]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&EventRow| {
        bytes += row.size_in_bytes();
        bytes <= MAX_BYTES
    };
    rows.iter().take(MAX_EVENTS).take_while(fits).count().max(1)
}
