//! Records that hold several, as the Kinesis Producer Library and its like put them together.
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use std::sync::Arc;

use bytes::Bytes;
use foldstream_model::{HashKeyRange, Record};
use md5::{Digest, Md5};
use prost::Message;

use super::hash_key::hash_key;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const CHECKSUM_BYTES: usize = 16;

/// What is between the magic number and the checksum.
#[derive(Clone, PartialEq, Message)]
struct Aggregate {
    #[prost(string, repeated, tag = "1")]
    partition_keys: Vec<String>,
    /// Decimal numbers.
    #[prost(string, repeated, tag = "2")]
    explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Part>,
}

/// The format requires a partition key and data; only what may be absent can be seen to be.
#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(uint64, optional, tag = "1")]
    partition_key: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// What a record holds, in order, each at its index; the record itself if it is no aggregate.
///
/// A record that says that it is an aggregate and is broken is handed on as it is: nothing decodes its magic number, so it
/// is set aside with all its bytes. Left out is what does not belong into the shard: the producer has seen from the answer
/// to its put that the shard was split meanwhile, and has put that again where it belongs.
pub(super) fn expand(record: Record, range: HashKeyRange) -> Vec<Record> {
    let Some(body) = record.data.strip_prefix(&MAGIC) else { return vec![record] };
    let body = record.data.slice_ref(body);
    match parts(&record, body) {
        Some(parts) => keep(&record, parts, range),
        None => {
            tracing::warn!(position = %record.position, "an aggregated record is broken: it is handed on whole");
            vec![record]
        }
    }
}

fn keep(whole: &Record, parts: Vec<(u128, Record)>, range: HashKeyRange) -> Vec<Record> {
    let count = parts.len();
    let belongs = |(hash_key, part): (u128, Record)| range.contains(hash_key).then_some(part);
    let kept: Vec<Record> = parts.into_iter().filter_map(belongs).collect();
    if kept.len() < count {
        tracing::warn!(
            position = %whole.position,
            left_out = count - kept.len(),
            "records of an aggregate do not belong into this shard and are left out, as a producer puts such records again",
        );
    }
    kept
}

/// Each with its hash key. None: the checksum is another one, or the body is no such message.
fn parts(whole: &Record, mut body: Bytes) -> Option<Vec<(u128, Record)>> {
    let checksum = body.split_off(body.len().checked_sub(CHECKSUM_BYTES)?);
    if Md5::digest(&body)[..] != checksum[..] {
        return None;
    }
    let Aggregate { partition_keys, explicit_hash_keys, records } = Aggregate::decode(body).ok()?;
    let partition_keys: Vec<Arc<str>> = partition_keys.into_iter().map(Arc::from).collect();
    let parts = records.into_iter().enumerate().map(|(index, part)| {
        let partition_key: &Arc<str> = at(&partition_keys, part.partition_key?)?;
        let hash_key = match part.explicit_hash_key {
            Some(explicit) => at(&explicit_hash_keys, explicit)?.parse().ok()?,
            None => hash_key(partition_key),
        };
        let record = Record {
            position: whole.position.clone().with_index(index.try_into().ok()?),
            partition_key: partition_key.clone(),
            arrived_at: whole.arrived_at,
            data: part.data?,
        };
        Some((hash_key, record))
    });
    parts.collect()
}

fn at<T>(table: &[T], index: u64) -> Option<&T> {
    table.get(usize::try_from(index).ok()?)
}

/// Puts records together as a producer does: partition key, explicit hash key and data of each.
#[cfg(any(test, feature = "memory"))]
pub fn encode(parts: &[(&str, Option<u128>, Vec<u8>)]) -> Vec<u8> {
    let mut message = Aggregate::default();
    for (index, (key, explicit, data)) in (0u64..).zip(parts) {
        message.partition_keys.push((*key).to_owned());
        message.explicit_hash_keys.push(explicit.unwrap_or_default().to_string());
        message.records.push(Part {
            partition_key: Some(index),
            explicit_hash_key: explicit.map(|_| index),
            data: Some(Bytes::from(data.clone())),
        });
    }
    seal(&message.encode_to_vec())
}

#[cfg(any(test, feature = "memory"))]
fn seal(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, &Md5::digest(message)].concat()
}

#[cfg(test)]
pub(super) mod tests {
    use foldstream_model::{Position, Timestamp};
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    pub(in crate::kinesis) fn aggregate(parts: &[(&str, &str)]) -> Vec<u8> {
        let parts: Vec<_> = parts.iter().map(|(key, data)| (*key, None, data.as_bytes().to_vec())).collect();
        encode(&parts)
    }

    fn record(data: Vec<u8>) -> Record {
        Record {
            position: Position::new(7),
            partition_key: "whole".into(),
            arrived_at: Timestamp::from_seconds(1),
            data: data.into(),
        }
    }

    /// By the package `aws_kinesis_agg` 1.2.3 for Python, from `RecordAggregator()`, with `add_user_record` of
    /// `"order-1", b'{"sequence":1}'`, then `"order-2", '{"name":"Zoë"}'.encode()`, then
    /// `"order-1", b'{"sequence":2}', "170141183460469231731687303715884105728"`, then `"order-3", b''`, and
    /// `clear_and_get().get_contents()[2].hex()`.
    const FIXTURE: &str = include_str!("aggregate.hex");

    fn fixture() -> Vec<u8> {
        let digits: Vec<char> = FIXTURE.trim().chars().collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn an_aggregate_of_another_library_is_read() {
        let parts = expand(record(fixture()), HashKeyRange::ALL);
        let read: Vec<_> = parts
            .iter()
            .map(|part| {
                (part.position.to_string(), &*part.partition_key, String::from_utf8_lossy(&part.data))
            })
            .collect();
        let data = ["{\"sequence\":1}", "{\"name\":\"Zoë\"}", "{\"sequence\":2}", ""].map(Into::into);
        let [first, second, third, last] = data;
        assert_eq!(
            read,
            [
                ("7".to_owned(), "order-1", first),
                ("7.1".to_owned(), "order-2", second),
                ("7.2".to_owned(), "order-1", third),
                ("7.3".to_owned(), "order-3", last),
            ]
        );
    }

    #[test]
    fn what_does_not_belong_into_the_shard_is_left_out_and_the_rest_keeps_its_index() {
        let upper = HashKeyRange { first: 1 << 127, last: u128::MAX };
        let parts = expand(record(fixture()), upper);
        // By md5sum: order-1 is at 6e7f…, order-2 at 1889…, order-3 at f93e…; and one is put by its explicit hash key.
        let indices: Vec<u32> = parts.iter().map(|part| part.position.index()).collect();
        assert_eq!(indices, [2, 3]);
    }

    #[test]
    fn parts_that_lack_what_they_name_break_the_whole() {
        let part = Part { partition_key: Some(0), explicit_hash_key: None, data: Some(Bytes::new()) };
        let broken = [
            Part { partition_key: Some(1), ..part.clone() },
            Part { partition_key: None, ..part.clone() },
            Part { explicit_hash_key: Some(1), ..part.clone() },
            Part { explicit_hash_key: Some(0), ..part.clone() },
            Part { data: None, ..part.clone() },
        ];
        for broken in broken {
            let message = Aggregate {
                partition_keys: vec!["key".to_owned()],
                explicit_hash_keys: vec!["no number".to_owned()],
                records: vec![part.clone(), broken],
            };
            let whole = record(seal(&message.encode_to_vec()));
            let handed_on = expand(whole.clone(), HashKeyRange::ALL);
            assert_eq!((handed_on.len(), &handed_on[0].data), (1, &whole.data));
        }
    }

    proptest! {
        #[test]
        fn what_was_put_together_comes_apart(
            put in vec(("[a-z]{1,9}", any::<Option<u128>>(), vec(any::<u8>(), 0..40)), 0..20),
        ) {
            let put: Vec<_> = put.iter().map(|(key, explicit, data)| (key.as_str(), *explicit, data.clone())).collect();
            let parts = expand(record(encode(&put)), HashKeyRange::ALL);
            prop_assert!(parts.is_sorted_by(|a, b| a.position < b.position));
            let read: Vec<_> = parts.iter().map(|part| (&*part.partition_key, part.data.to_vec())).collect();
            let put: Vec<_> = put.into_iter().map(|(key, _, data)| (key, data)).collect();
            prop_assert_eq!(read, put);
        }

        #[test]
        fn a_broken_aggregate_is_handed_on_whole(at: Index, bit in 0u8..8, cut: Index) {
            let sound = fixture();
            let mut flipped = sound.clone();
            let at = MAGIC.len() + at.index(sound.len() - MAGIC.len());
            flipped[at] ^= 1 << bit;
            let cut = sound[..cut.index(sound.len())].to_vec();
            for broken in [flipped, cut] {
                let handed_on = expand(record(broken.clone()), HashKeyRange::ALL);
                prop_assert_eq!(handed_on.len(), 1);
                prop_assert_eq!(&handed_on[0].data[..], &broken[..]);
            }
        }
    }
}
