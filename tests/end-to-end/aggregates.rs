//! Records that hold several events, as the Kinesis Producer Library makes them.
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use aws_sdk_kinesis::{Client, primitives::Blob};
use md5::{Digest, Md5};

use crate::orders::{self, STREAM};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// Numbers of fields, with the kind of what they hold.
const PARTITION_KEYS: u8 = 1 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const KEY_OF_RECORD: u8 = 1 << 3;
const DATA_OF_RECORD: u8 = 3 << 3 | 2;

/// Where the events of an order fall among the hash keys.
pub fn hash_key(order: usize) -> u128 {
    u128::from_be_bytes(Md5::digest(format!("o-{order}").as_bytes()).into())
}

/// Puts the next events of these orders as one record, at the front of a shard's hash keys.
pub async fn put(kinesis: &Client, events: &[(usize, usize)], first_hash_key: u128) {
    let put = kinesis.put_record().stream_name(STREAM).partition_key("an aggregate");
    let put = put.explicit_hash_key(first_hash_key.to_string()).data(Blob::new(aggregate(events)));
    put.send().await.unwrap();
}

fn aggregate(events: &[(usize, usize)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (order, _) in events {
        field(&mut message, PARTITION_KEYS, format!("o-{order}").as_bytes());
    }
    for (index, (order, sequence)) in events.iter().enumerate() {
        let mut record = vec![KEY_OF_RECORD, u8::try_from(index).unwrap()];
        field(&mut record, DATA_OF_RECORD, orders::inserted(*order, *sequence).to_string().as_bytes());
        field(&mut message, RECORDS, &record);
    }
    [&MAGIC, &message[..], &Md5::digest(&message)].concat()
}

fn field(message: &mut Vec<u8>, tag: u8, value: &[u8]) {
    message.push(tag);
    let mut length = value.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap());
    message.extend(value);
}
