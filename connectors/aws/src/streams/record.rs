//! A change as a record: the JSON that DynamoDB itself writes into a Kinesis stream. The same change has the same bytes
//! each time.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds_gettingstarted.html>

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodbstreams::types::{self, AttributeValue};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use foldstream_model::{Position, Record, Result, Timestamp};
use serde::{Serialize, Serializer, ser::Error as _};

use super::{shards::Listing, stream::TableStream};

type Item = HashMap<String, AttributeValue>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'r> {
    aws_region: Option<&'r str>,
    dynamodb: Images<'r>,
    #[serde(rename = "eventID")]
    event_id: Option<&'r str>,
    event_name: &'r str,
    user_identity: Option<Identity<'r>>,
    record_format: &'r str,
    table_name: &'r str,
    event_source: Option<&'r str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Images<'r> {
    /// In milliseconds, of which DynamoDB Streams tells whole seconds.
    approximate_creation_date_time: i64,
    approximate_creation_date_time_precision: &'static str,
    keys: Typed<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_image: Option<Typed<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_image: Option<Typed<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'r> {
    r#type: Option<&'r str>,
    principal_id: Option<&'r str>,
}

/// Attributes in DynamoDB's own JSON, sorted by name.
struct Typed<'r>(&'r Item);

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sorted: BTreeMap<&str, &AttributeValue> =
            self.0.iter().map(|(name, value)| (name.as_str(), value)).collect();
        serializer.collect_map(sorted.into_iter().map(|(name, value)| (name, TypedValue(value))))
    }
}

struct TypedValue<'r>(&'r AttributeValue);

impl Serialize for TypedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base64 = |bytes: &aws_sdk_dynamodbstreams::primitives::Blob| BASE64_STANDARD.encode(bytes);
        match self.0 {
            AttributeValue::S(text) => serializer.collect_map([("S", text)]),
            AttributeValue::N(digits) => serializer.collect_map([("N", digits)]),
            AttributeValue::B(bytes) => serializer.collect_map([("B", base64(bytes))]),
            AttributeValue::Bool(value) => serializer.collect_map([("BOOL", value)]),
            AttributeValue::Null(value) => serializer.collect_map([("NULL", value)]),
            AttributeValue::Ss(texts) => serializer.collect_map([("SS", texts)]),
            AttributeValue::Ns(numbers) => serializer.collect_map([("NS", numbers)]),
            AttributeValue::Bs(set) => {
                serializer.collect_map([("BS", set.iter().map(base64).collect::<Vec<_>>())])
            }
            AttributeValue::L(list) => {
                serializer.collect_map([("L", list.iter().map(TypedValue).collect::<Vec<_>>())])
            }
            AttributeValue::M(map) => serializer.collect_map([("M", Typed(map))]),
            _ => Err(S::Error::custom("an attribute of a type that this version does not know")),
        }
    }
}

impl TableStream {
    pub(super) fn record(&self, listing: &Listing, record: &types::Record) -> Result<Record> {
        let change = record.dynamodb().ok_or_else(|| self.unreadable("a record without a change"))?;
        let number = change.sequence_number().ok_or_else(|| self.unreadable("a record without a number"))?;
        let position: Position = number.parse()?;
        let keys = change.keys().ok_or_else(|| self.unreadable("a record without keys"))?;
        let created = change.approximate_creation_date_time();
        let created_at = created.map_or(Timestamp::EPOCH, |at| {
            Timestamp::from_seconds(at.secs()).plus_micros(i64::from(at.subsec_nanos() / 1_000))
        });
        let whole = Change {
            aws_region: record.aws_region(),
            dynamodb: Images {
                approximate_creation_date_time: created_at.micros() / 1_000,
                approximate_creation_date_time_precision: "MILLISECOND",
                keys: Typed(keys),
                new_image: change.new_image().map(Typed),
                old_image: change.old_image().map(Typed),
                size_bytes: change.size_bytes(),
            },
            event_id: record.event_id(),
            event_name: record.event_name().map_or("", |name| name.as_str()),
            user_identity: record.user_identity().map(|identity| Identity {
                r#type: identity.r#type(),
                principal_id: identity.principal_id(),
            }),
            record_format: "application/json",
            table_name: &listing.table,
            event_source: record.event_source(),
        };
        let data =
            serde_json::to_vec(&whole).map_err(|error| self.unreadable(&format!("{position}: {error}")))?;
        let key = keys
            .get(&listing.key)
            .and_then(text)
            .ok_or_else(|| self.unreadable("a record's partition key"))?;
        Ok(Record { position, partition_key: key.into(), arrived_at: created_at, data: Bytes::from(data) })
    }
}

/// What a key attribute says.
fn text(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        AttributeValue::B(bytes) => Some(BASE64_STANDARD.encode(bytes)),
        _ => None,
    }
}
