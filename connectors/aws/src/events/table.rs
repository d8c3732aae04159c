//! The table as it is: its keys, and which of them belong to a stream.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ScalarAttributeType, TableDescription},
};
use foldstream_model::{Error, Result, Sequence, StreamId};

use super::settings::{EventTable, SortHolds};
use crate::dynamodb::{
    Item,
    table::{self, Definition, Key},
};

/// The most digits that a sequence has.
const MAX_WIDTH: u8 = 20;
/// DynamoDB's limits of key attributes, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_PARTITION_BYTES: usize = 2048;
const MAX_SORT_BYTES: usize = 1024;

/// A table of events that is there.
pub(super) struct Table {
    pub client: Client,
    pub settings: EventTable,
    pub partition: KeyType,
    sequences: Sequences,
}

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyType {
    Text,
    Number,
}

/// What sort keys say of sequences.
enum Sequences {
    Numbers,
    /// All of one length.
    Padded(usize),
    /// As many digits as each needs.
    Unpadded,
    Unknown,
}

/// A range of sort keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    All,
    Prefix(String),
    /// Both ends included.
    Between(AttributeValue, AttributeValue),
}

impl Table {
    /// `Invalid`: there is no such table, or it is none that was described.
    pub(super) async fn open(client: Client, settings: EventTable) -> Result<Self> {
        let what_to_do = "name the table that holds the events";
        let description = table::existing(&client, &definition(&settings), what_to_do).await?;
        Self::of(client, settings, &description)
    }

    /// `Invalid`: it is none that was described.
    pub(super) fn of(client: Client, settings: EventTable, description: &TableDescription) -> Result<Self> {
        table::check(&definition(&settings), description)?;
        let partition = key_type(description, &settings.partition.attribute)?;
        if partition == KeyType::Number && !settings.partition.prefix.is_empty() {
            return Err(no_prefix(&settings.name, &settings.partition.attribute));
        }
        let sort = key_type(description, &settings.sort.attribute)?;
        let sequences = sequences(&settings, sort)?;
        Ok(Self { client, settings, partition, sequences })
    }

    /// What is being done, for errors.
    pub(super) fn doing(&self, operation: &str, stream: &StreamId) -> String {
        format!("{operation} table={} stream={stream}", self.settings.name)
    }

    /// The partition of a stream; none if no key can hold its id, so that it has no events.
    pub(super) fn partition_of(&self, stream: &StreamId) -> Option<AttributeValue> {
        let text = format!("{}{stream}", self.settings.partition.prefix);
        match self.partition {
            _ if stream.as_str().is_empty() || text.len() > MAX_PARTITION_BYTES => None,
            KeyType::Text => Some(AttributeValue::S(text)),
            KeyType::Number => {
                let digits = text.len() <= 38 && text.bytes().all(|byte| byte.is_ascii_digit());
                (digits && (text == "0" || !text.starts_with('0'))).then_some(AttributeValue::N(text))
            }
        }
    }

    /// Whether the events of a stream are sorted by sequence.
    pub(super) fn is_in_order(&self) -> bool {
        matches!(self.sequences, Sequences::Numbers | Sequences::Padded(_))
    }

    /// The sort key of an event. `Invalid`: there is none, and what to do about it.
    pub(super) fn sort_key(&self, sequence: Sequence) -> Result<AttributeValue> {
        let table = &self.settings.name;
        let refused = |why: &str| Err(Error::invalid(format!("{why}: table={table} sequence={sequence}")));
        match self.sequences {
            Sequences::Numbers => Ok(AttributeValue::N(sequence.to_string())),
            Sequences::Padded(width) if sequence.to_string().len() > width => refused(
                "the sort key has no room for a sequence of so many digits; events can only be appended under a larger width",
            ),
            Sequences::Padded(width) => self.sort_text(&format!("{:0width$}", sequence.0)),
            Sequences::Unpadded => self.sort_text(&sequence.to_string()),
            Sequences::Unknown => refused(
                "the sort key does not hold the sequence, so nothing would keep two events from having the same one; such a table can only be read",
            ),
        }
    }

    fn sort_text(&self, digits: &str) -> Result<AttributeValue> {
        let text = format!("{}{digits}", self.prefix());
        if text.len() > MAX_SORT_BYTES {
            return Err(Error::invalid(format!("a sort key is longer than {MAX_SORT_BYTES} bytes: {text}")));
        }
        Ok(AttributeValue::S(text))
    }

    /// The sort keys that events from a sequence on may have; none if there can be no such event.
    pub(super) fn range(&self, from: Sequence) -> Option<Range> {
        match self.sequences {
            Sequences::Numbers => {
                let number = |sequence: u64| AttributeValue::N(sequence.to_string());
                Some(Range::Between(number(from.0), number(u64::MAX)))
            }
            Sequences::Padded(width) => {
                let last = 10u64.checked_pow(u32::try_from(width).ok()?).map_or(u64::MAX, |end| end - 1);
                let text = |sequence| AttributeValue::S(format!("{}{sequence:0width$}", self.prefix()));
                (from.0 <= last).then(|| Range::Between(text(from.0), text(last)))
            }
            Sequences::Unpadded if !self.prefix().is_empty() => Some(Range::Prefix(self.prefix().to_owned())),
            Sequences::Unpadded | Sequences::Unknown => Some(Range::All),
        }
    }

    fn prefix(&self) -> &str {
        match &self.settings.sort.holds {
            SortHolds::Sequence { prefix, .. } => prefix,
            SortHolds::SomethingElse => "",
        }
    }

    /// Whether an attribute is a key, of the table or of its index.
    pub(super) fn has_key(&self, attribute: &str) -> bool {
        let EventTable { partition, sort, order, .. } = &self.settings;
        let is_own = attribute == partition.attribute || attribute == sort.attribute;
        is_own || order.as_ref().is_some_and(|order| attribute == order.id || attribute == order.shard)
    }

    /// The key of an item, for messages.
    pub(super) fn key_of(&self, item: &Item) -> String {
        let shown = |name: &str| match item.get(name) {
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => text.clone(),
            _ => "?".to_owned(),
        };
        let (partition, sort) = (&self.settings.partition.attribute, &self.settings.sort.attribute);
        format!("{partition}={} {sort}={}", shown(partition), shown(sort))
    }
}

fn definition(settings: &EventTable) -> Definition {
    let key = Key::new(&settings.partition.attribute, Some(&settings.sort.attribute));
    Definition {
        name: settings.name.clone(),
        key,
        indexes: Vec::new(),
        numbers: None,
        provision: Default::default(),
    }
}

fn sequences(settings: &EventTable, sort: KeyType) -> Result<Sequences> {
    let SortHolds::Sequence { prefix, width } = &settings.sort.holds else { return Ok(Sequences::Unknown) };
    match (sort, width) {
        (KeyType::Number, None) if prefix.is_empty() => Ok(Sequences::Numbers),
        (KeyType::Number, _) => Err(no_prefix(&settings.name, &settings.sort.attribute)),
        (KeyType::Text, None) => Ok(Sequences::Unpadded),
        (KeyType::Text, Some(width @ 1..=MAX_WIDTH)) => Ok(Sequences::Padded(usize::from(*width))),
        (KeyType::Text, Some(width)) => Err(Error::invalid(format!(
            "a sequence has between 1 and {MAX_WIDTH} digits: table={} width={width}",
            settings.name
        ))),
    }
}

pub(super) fn key_type(table: &TableDescription, attribute: &str) -> Result<KeyType> {
    let name = table.table_name().unwrap_or_default();
    let defined = table.attribute_definitions().iter().find(|defined| defined.attribute_name() == attribute);
    match defined.map(|defined| defined.attribute_type()) {
        Some(ScalarAttributeType::S) => Ok(KeyType::Text),
        Some(ScalarAttributeType::N) => Ok(KeyType::Number),
        other => Err(Error::invalid(format!(
            "a key attribute is neither a string nor a number: table={name} attribute={attribute} type={}",
            other.map_or("unknown", ScalarAttributeType::as_str)
        ))),
    }
}

fn no_prefix(table: &str, attribute: &str) -> Error {
    Error::invalid(format!(
        "a key attribute is a number, which has neither a prefix nor zeros in front: table={table} attribute={attribute}; leave them out"
    ))
}
