//! Parked events: those of a document from one on that it could not take, set aside in order.

use serde::{Deserialize, Serialize};

use crate::{
    document::DocumentKey,
    event::EventType,
    guard::{Epoch, OrderKey},
    position::Place,
    projection::ProjectionId,
    shard::ShardNumber,
    stream::{Sequence, StreamId},
    time::Timestamp,
    value::Value,
};

/// The parked events of one projection, in one epoch of its guards: a rebuild begins with an empty lot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lot {
    pub projection: ProjectionId,
    pub epoch: Epoch,
    pub of: LotOf,
}

/// What the events of a lot wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LotOf {
    /// Each for a document that cannot take it, or one before it.
    Documents,
    /// Each for its stream, whose id stands where the document's key does: of the first one it could not be told which
    /// documents it touches.
    Streams,
}

impl Lot {
    pub fn of_documents(projection: &ProjectionId, epoch: Epoch) -> Self {
        Self { projection: projection.clone(), epoch, of: LotOf::Documents }
    }

    pub fn of_streams(projection: &ProjectionId, epoch: Epoch) -> Self {
        Self { projection: projection.clone(), epoch, of: LotOf::Streams }
    }

    /// `orders@3/0` or `orders@3/0/streams`, the form that names rows in stores.
    pub fn row_name(&self) -> String {
        let name = format!("{}/{}", self.projection.row_name(), self.epoch.0);
        match self.of {
            LotOf::Documents => name,
            LotOf::Streams => name + "/streams",
        }
    }
}

/// A stream that a projection has parked: of one of its events it could not be told which documents it touches, so this
/// and all that follow wait until the stream comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStream {
    pub stream: StreamId,
    /// Of the record that brought the event: the stream goes to the child shard whose range holds it.
    pub partition_key: String,
    /// Where the event stands that could not be taken. Nothing of the stream behind it is applied, up to `until`.
    pub since: ParkedOrder,
    pub sequence: Sequence,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub error: String,
    pub parked_at: Timestamp,
    /// The event is refused, as another has its sequence: it is not among those that wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_fork: bool,
    /// Where the stream came back: what waited is applied at this place. The same as `since`: it was never parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<ParkedOrder>,
}

impl ParkedStream {
    /// It was decided, before anybody parked the stream at this fork, that it goes on.
    pub fn is_void(&self) -> bool {
        self.until.as_ref() == Some(&self.since)
    }
}

/// Where a parked event stands among those of its document, and what it is found again by: the same event has the same,
/// whoever parks it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParkedOrder {
    /// `global` only, where it goes before all else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<OrderKey>,
    /// Parents have lower numbers than their children.
    pub shard: ShardNumber,
    pub place: Place,
}

impl ParkedOrder {
    /// Bytes that sort as the orders do; the sort key of stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(u8::from(self.key.is_some()));
        if let Some(key) = &self.key {
            // The lowest instant is the lowest number without a sign.
            bytes.extend((key.recorded_at.micros() as u64 ^ (1 << 63)).to_be_bytes());
            put_text(&mut bytes, key.stream.as_str());
            bytes.extend(key.sequence.0.to_be_bytes());
        }
        bytes.extend(self.shard.0.to_be_bytes());
        let number = self.place.position.number();
        bytes.extend(u32::try_from(number.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(number.bytes());
        bytes.extend(self.place.position.index().to_be_bytes());
        bytes.extend(self.place.entry.to_be_bytes());
        bytes.extend(self.place.ordinal.to_be_bytes());
        bytes
    }
}

/// A text that sorts before every longer one that begins with it, whatever follows it.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend([0, 0]);
}

/// An event that waits for its document, with all that is needed to apply it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedEvent {
    pub document: DocumentKey,
    pub order: ParkedOrder,
    /// As [`crate::Event::to_envelope`] writes it.
    pub event: String,
    /// The states of its stream before and after it; null where the projection has no reducer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub state: Value,
    /// Why it could not be taken; none of one that only stands behind another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of an event that waits with its stream: when it was recorded, raised to that of the stream's events before it; none where
    /// that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_at: Option<Timestamp>,
    pub parked_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Position, Sequence, StreamId};

    fn orders() -> impl Strategy<Value = ParkedOrder> {
        let key =
            (-2i64..3, "[a\u{0}\u{1}\u{ff}]{0,3}", 0u64..3).prop_map(|(at, stream, sequence)| OrderKey {
                recorded_at: Timestamp::from_micros(at),
                stream: StreamId::new(stream),
                sequence: Sequence(sequence),
            });
        let place =
            ("[1-9][0-9]{0,2}|[1-9][0-9]{40,42}", 0u32..2, 0u32..2, prop_oneof![0u64..2, Just(u64::MAX)]);
        let place = place.prop_map(|(number, index, entry, ordinal)| {
            Place::new(number.parse::<Position>().unwrap().with_index(index), entry, ordinal)
        });
        (proptest::option::of(key), 0u32..300, place).prop_map(|(key, shard, place)| ParkedOrder {
            key,
            shard: ShardNumber(shard),
            place,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn bytes_sort_as_the_orders_do(a in orders(), b in orders()) {
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }
    }
}
