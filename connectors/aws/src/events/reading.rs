//! Reading a stream: its partition, or the part of it that is asked for, without what is no event.

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{
    Error, Event, Position, Record, Result, Sequence, StreamId, Timestamp, ports::Decoder,
};
use futures::future::try_join_all;

use super::{
    AT_ONCE,
    pages::{Direction, Pages},
    plain,
    table::Table,
};
use crate::dynamodb::Item;

/// Items that are looked at first for a stream's last event; the next page is as large as DynamoDB makes it.
const FIRST_PAGE: usize = 4;

/// Stands for the time when an item was put, which DynamoDB does not tell.
const UNTOLD: Timestamp = Timestamp::MAX;

/// Reads streams.
pub(super) struct Reading {
    pub table: Table,
    pub decoder: Arc<dyn Decoder>,
}

/// An event, and the keys of the item that it was.
pub(super) struct Found {
    pub event: Event,
    pub keys: Item,
}

impl Reading {
    pub(super) async fn stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        if self.table.is_in_order() {
            return self.part(stream, from, limit).await;
        }
        let mut events: Vec<Event> = self.whole(stream).await?.into_iter().map(|found| found.event).collect();
        events.retain(|event| event.sequence >= from);
        events.truncate(limit);
        Ok(events)
    }

    /// The last event of each stream.
    pub(super) async fn last_of(&self, streams: &[&StreamId]) -> Result<Vec<Option<Found>>> {
        let mut last = Vec::with_capacity(streams.len());
        for some in streams.chunks(AT_ONCE) {
            last.extend(try_join_all(some.iter().map(|stream| self.last(stream))).await?);
        }
        Ok(last)
    }

    async fn last(&self, stream: &StreamId) -> Result<Option<Found>> {
        if !self.table.is_in_order() {
            return Ok(self.whole(stream).await?.pop());
        }
        let Some(mut pages) = Pages::new(&self.table, stream, Sequence(0), Direction::Backward) else {
            return Ok(None);
        };
        let mut limit = FIRST_PAGE;
        while let Some(items) = pages.next(limit).await? {
            for item in items {
                if let Some(found) = self.found(stream, item)? {
                    return Ok(Some(found));
                }
            }
            limit = usize::MAX;
        }
        Ok(None)
    }

    /// Events of a stream whose keys sort as their sequences.
    async fn part(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let Some(mut pages) = Pages::new(&self.table, stream, from, Direction::Forward) else {
            return Ok(events);
        };
        while events.len() < limit {
            let Some(items) = pages.next(limit - events.len()).await? else { break };
            for item in items {
                events.extend(self.found(stream, item)?.map(|found| found.event));
            }
        }
        Ok(events)
    }

    /// All events of a stream, by their sequences.
    async fn whole(&self, stream: &StreamId) -> Result<Vec<Found>> {
        let mut events: Vec<Found> = Vec::new();
        if let Some(mut pages) = Pages::new(&self.table, stream, Sequence(0), Direction::Forward) {
            while let Some(items) = pages.next(usize::MAX).await? {
                for item in items {
                    events.extend(self.found(stream, item)?);
                }
            }
        }
        events.sort_by_key(|found| found.event.sequence);
        let twice = events.windows(2).find(|pair| pair[0].event.sequence == pair[1].event.sequence);
        match twice {
            None => Ok(events),
            Some(pair) => Err(Error::poison(format!(
                "two items are the same event of a stream: table={} stream={stream} sequence={} one={} other={}; remove one, or leave it out by `include`",
                self.table.settings.name,
                pair[0].event.sequence,
                self.table.key_of(&pair[0].keys),
                self.table.key_of(&pair[1].keys)
            ))),
        }
    }

    /// The event that an item of a stream's partition is. `Invalid`: it is one of another stream.
    fn found(&self, stream: &StreamId, mut item: Item) -> Result<Option<Found>> {
        let Some(event) = self.event(&item)? else { return Ok(None) };
        if event.stream_id != *stream {
            return Err(Error::invalid(format!(
                "a stream's partition holds an event of another one: table={} {} stream={}; `stream_id` has to be what the partition key says behind its prefix",
                self.table.settings.name,
                self.table.key_of(&item),
                event.stream_id
            )));
        }
        item.retain(|attribute, _| self.table.has_key(attribute));
        Ok(Some(Found { event, keys: item }))
    }

    /// The event that an item is; none if it is not meant to be one. `Poison`: it should be one, and is none.
    pub(super) fn event(&self, item: &Item) -> Result<Option<Event>> {
        let place = || format!("table={} {}", self.table.settings.name, self.table.key_of(item));
        let record = Record {
            position: Position::new(0),
            partition_key: "".into(),
            arrived_at: UNTOLD,
            data: Bytes::from(plain::json(item).map_err(|error| error.context(place()))?),
        };
        let event = self.decoder.decode(&record, &()).map_err(|error| error.context(place()))?;
        match event {
            Some(event) if event.recorded_at == UNTOLD => Err(Error::invalid(format!(
                "an item does not say when it was recorded, and DynamoDB does not know: {}; map `recorded_at`",
                place()
            ))),
            event => Ok(event),
        }
    }
}
