//! The order over all streams: an index in several partitions, which are merged by their ids.

use std::{collections::VecDeque, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, IndexStatus, ProjectionType, TableDescription};
use foldstream_model::{Error, Event, Path, Result, StreamId, Timestamp, ports::Offset};
use futures::future::try_join_all;

use super::{
    AT_ONCE,
    ksuid::Ksuid,
    reading::Reading,
    settings::CommitOrder,
    table::{KeyType, key_type},
    writing::is_attribute,
};
use crate::{
    dynamodb::{Item, table::Key},
    errors,
};

/// The index as it is.
#[derive(Debug)]
pub(super) struct CommitIndex {
    settings: CommitOrder,
    shard: KeyType,
}

impl CommitIndex {
    /// `Invalid`: the table lacks the index, or has another one, and what to add.
    pub(super) fn of(settings: &CommitOrder, table: &TableDescription) -> Result<Self> {
        let refused = |found: &str| {
            Err(Error::invalid(format!(
                "events can be read by stream alone: table={} {found}; add a global secondary index: index={} partition key={} (string or number) sort key={} (string) projection=ALL, and put both attributes to each event: a number from 0 to {}, and a KSUID",
                table.table_name().unwrap_or_default(),
                settings.index,
                settings.shard,
                settings.id,
                settings.shards.saturating_sub(1)
            )))
        };
        if settings.shards == 0 {
            return Err(Error::invalid(format!("an index has at least one shard: index={}", settings.index)));
        }
        let mut indexes = table.global_secondary_indexes().iter();
        let Some(index) = indexes.find(|index| index.index_name() == Some(&settings.index)) else {
            return refused("there is no such index");
        };
        let key = Key::of(index.key_schema());
        if key != Some(Key::new(&settings.shard, Some(&settings.id))) {
            return refused(&format!(
                "its key is {}",
                key.map_or_else(|| "none".to_owned(), |key| key.to_string())
            ));
        }
        if key_type(table, &settings.id)? != KeyType::Text {
            return refused("its sort key is a number");
        }
        let projection = index.projection().and_then(|projection| projection.projection_type());
        if projection != Some(&ProjectionType::All) {
            return refused("it does not hold whole items");
        }
        if index.index_status().is_some_and(|status| *status == IndexStatus::Creating) {
            return refused("it is being made still");
        }
        Ok(Self { settings: settings.clone(), shard: key_type(table, &settings.shard)? })
    }

    pub(super) fn is_id(&self, path: &Path) -> bool {
        is_attribute(path, &self.settings.id)
    }

    /// Puts what the index needs to an event's item.
    pub(super) fn mark(&self, item: &mut Item, stream: &StreamId, id: Ksuid) {
        let [_, low] = stream.hash().words();
        item.insert(self.settings.shard.clone(), self.shard(low % u64::from(self.settings.shards)));
        item.insert(self.settings.id.clone(), AttributeValue::S(id.to_string()));
    }

    /// The place of an event in the order; none if it has none.
    pub(super) fn id_of(&self, item: &Item) -> Option<Ksuid> {
        match item.get(&self.settings.id) {
            Some(AttributeValue::S(text)) => Ksuid::parse(text),
            _ => None,
        }
    }

    /// Within which time after its id was made a write has to be answered.
    pub(super) fn time_to_write(&self) -> Duration {
        (self.settings.safe_window / 2).max(Duration::from_secs(1))
    }

    fn shard(&self, number: u64) -> AttributeValue {
        match self.shard {
            KeyType::Text => AttributeValue::S(number.to_string()),
            KeyType::Number => AttributeValue::N(number.to_string()),
        }
    }

    /// Up to which id everything is in the index by now.
    fn settled(&self, now: Timestamp) -> Ksuid {
        let window = i64::try_from(self.settings.safe_window.as_micros()).unwrap_or(i64::MAX);
        Ksuid::last_at(now.plus_micros(window.saturating_neg()))
    }

    pub(super) async fn read(
        &self,
        reading: &Reading,
        now: Timestamp,
        after: &Offset,
        limit: usize,
    ) -> Result<Vec<(Offset, Event)>> {
        let (after, until) = (self.parse(after)?, self.settled(now));
        let mut merged = Vec::new();
        if limit == 0 || after.is_some_and(|after| after >= until) {
            return Ok(merged);
        }
        let page = limit.div_ceil(usize::from(self.settings.shards)).saturating_mul(2).min(limit);
        let mut shards = self.shards(Direction::Forwards, after, until, page);
        while merged.len() < limit {
            let Some((id, item)) = self.next(&mut shards, reading, Direction::Forwards).await? else { break };
            if let Some(event) = reading.event(&item)? {
                merged.push((Offset::new(id.to_string()), event));
            }
        }
        Ok(merged)
    }

    /// The newest events, the oldest of them first.
    pub(super) async fn newest(
        &self,
        reading: &Reading,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Offset, Event)>> {
        let page = limit.div_ceil(usize::from(self.settings.shards)).saturating_mul(2).min(limit);
        let mut shards = self.shards(Direction::Backwards, None, self.settled(now), page);
        let mut merged = VecDeque::new();
        while merged.len() < limit {
            let Some((id, item)) = self.next(&mut shards, reading, Direction::Backwards).await? else {
                break;
            };
            if let Some(event) = reading.event(&item)? {
                merged.push_front((Offset::new(id.to_string()), event));
            }
        }
        Ok(merged.into())
    }

    fn shards(&self, direction: Direction, after: Option<Ksuid>, until: Ksuid, page: usize) -> Vec<Shard> {
        let shard = |number| Shard {
            number,
            direction,
            after,
            until,
            page,
            items: VecDeque::new(),
            start: None,
            over: false,
        };
        (0..self.settings.shards).map(shard).collect()
    }

    /// The next item of all partitions.
    async fn next(
        &self,
        shards: &mut [Shard],
        reading: &Reading,
        direction: Direction,
    ) -> Result<Option<(Ksuid, Item)>> {
        for some in shards.chunks_mut(AT_ONCE) {
            try_join_all(some.iter_mut().map(|shard| shard.fill(self, reading))).await?;
        }
        // Every shard has its next one at hand, or has none.
        let filled = shards.iter_mut().filter(|shard| !shard.items.is_empty());
        let next = match direction {
            Direction::Forwards => filled.min_by_key(|shard| shard.next()),
            Direction::Backwards => filled.max_by_key(|shard| shard.next()),
        };
        Ok(next.and_then(|shard| shard.items.pop_front()))
    }

    fn parse(&self, offset: &Offset) -> Result<Option<Ksuid>> {
        match offset.as_str() {
            "" => Ok(None),
            text => match Ksuid::parse(text) {
                Some(id) => Ok(Some(id)),
                None => Err(Error::invalid(format!("an offset of another event store: offset={text}"))),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forwards,
    Backwards,
}

/// One partition of the index.
struct Shard {
    number: u16,
    direction: Direction,
    after: Option<Ksuid>,
    until: Ksuid,
    page: usize,
    /// Read, and not taken yet.
    items: VecDeque<(Ksuid, Item)>,
    start: Option<Item>,
    over: bool,
}

impl Shard {
    fn next(&self) -> Option<Ksuid> {
        self.items.front().map(|(id, _)| *id)
    }

    /// Reads on until something is at hand, or nothing is left.
    async fn fill(&mut self, index: &CommitIndex, reading: &Reading) -> Result<()> {
        while self.items.is_empty() && !self.over {
            self.read_page(index, reading).await?;
        }
        Ok(())
    }

    async fn read_page(&mut self, index: &CommitIndex, reading: &Reading) -> Result<()> {
        let (settings, table) = (&index.settings, &reading.table.settings.name);
        let request = reading.table.client.query().table_name(table).index_name(&settings.index);
        let request = request
            .expression_attribute_names("#shard", &settings.shard)
            .expression_attribute_names("#id", &settings.id)
            .expression_attribute_values(":shard", index.shard(self.number.into()))
            .expression_attribute_values(":until", AttributeValue::S(self.until.to_string()))
            .scan_index_forward(self.direction == Direction::Forwards)
            .limit(i32::try_from(self.page).unwrap_or(i32::MAX))
            .set_exclusive_start_key(self.start.take());
        let request = match self.after {
            None => request.key_condition_expression("#shard = :shard AND #id <= :until"),
            Some(after) => request
                .key_condition_expression("#shard = :shard AND #id BETWEEN :after AND :until")
                .expression_attribute_values(":after", AttributeValue::S(after.to_string())),
        };
        let doing = format!("Query table={table} index={} shard={}", settings.index, self.number);
        let answer = request.send().await.map_err(|error| errors::of(&doing, error))?;
        self.start = answer.last_evaluated_key;
        self.over = self.start.is_none();
        for item in answer.items.unwrap_or_default() {
            match index.id_of(&item) {
                // Both ends of a range belong to it.
                Some(id) if Some(id) == self.after => {}
                Some(id) => self.items.push_back((id, item)),
                None => {
                    return Err(Error::invalid(format!(
                        "the id of an event is no KSUID, so it has no place among the others: {doing} {}",
                        reading.table.key_of(&item)
                    )));
                }
            }
        }
        Ok(())
    }
}
