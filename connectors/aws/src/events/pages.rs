//! The items of a stream's partition, a page at a time, strongly consistent.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{Result, Sequence, StreamId};

use super::table::{Range, Table};
use crate::{dynamodb::Item, errors};

/// In which order of their sort keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

pub(super) struct Pages<'t> {
    table: &'t Table,
    stream: StreamId,
    partition: AttributeValue,
    range: Range,
    direction: Direction,
    /// Behind which item the next page begins; none before the first one.
    start: Option<Item>,
    over: bool,
}

impl<'t> Pages<'t> {
    /// Of those items that may be events from a sequence on; none where there can be no such item.
    pub(super) fn new(
        table: &'t Table,
        stream: &StreamId,
        from: Sequence,
        direction: Direction,
    ) -> Option<Self> {
        let (partition, range) = (table.partition_of(stream)?, table.range(from)?);
        Some(Self { table, stream: stream.clone(), partition, range, direction, start: None, over: false })
    }

    /// The next items, at most `limit` and at most 1 MB of them, perhaps none; `None` when there are no more.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Vec<Item>>> {
        if self.over {
            return Ok(None);
        }
        let settings = &self.table.settings;
        let mut names = HashMap::from([("#pk".to_owned(), settings.partition.attribute.clone())]);
        let mut values = Item::from([(":pk".to_owned(), self.partition.clone())]);
        let sort_condition = match &self.range {
            Range::All => "",
            Range::Prefix(prefix) => {
                values.insert(":prefix".to_owned(), AttributeValue::S(prefix.clone()));
                " AND begins_with(#sk, :prefix)"
            }
            Range::Between(first, last) => {
                values.insert(":first".to_owned(), first.clone());
                values.insert(":last".to_owned(), last.clone());
                " AND #sk BETWEEN :first AND :last"
            }
        };
        if !sort_condition.is_empty() {
            names.insert("#sk".to_owned(), settings.sort.attribute.clone());
        }
        let request = self.table.client.query().table_name(&settings.name).consistent_read(true);
        let request = request
            .key_condition_expression(format!("#pk = :pk{sort_condition}"))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(self.direction == Direction::Forward)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1))
            .set_exclusive_start_key(self.start.take());
        let doing = self.table.doing("Query", &self.stream);
        let answer = request.send().await.map_err(|error| errors::of(&doing, error))?;
        self.start = answer.last_evaluated_key;
        self.over = self.start.is_none();
        Ok(Some(answer.items.unwrap_or_default()))
    }
}
