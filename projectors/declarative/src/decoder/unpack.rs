//! Payloads that stand in their field as bytes, which a record of JSON holds in base64.

use std::io::Read;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// Far above the 10 MiB of a record of Kinesis, or the 400 KB of an item of DynamoDB
/// (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>), packed as JSON usually is not; a bomb
/// of that size unpacks to a thousand times as much.
pub(super) const MAX_UNPACKED_BYTES: u64 = 16 << 20;

/// The bytes behind a text in base64; what is wrong with it, if that cannot be read.
pub(super) fn base64(text: &str) -> Result<Bytes, String> {
    BASE64_STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("holds no base64: {error}"))
}

/// What was gzipped, in one member or several.
pub(super) fn gunzip(packed: &[u8]) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(packed).take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut unpacked);
    match read {
        Err(error) => Err(format!("holds no gzip: {error}")),
        Ok(_) if unpacked.len() as u64 > MAX_UNPACKED_BYTES => {
            Err(format!("unpacks to more than {MAX_UNPACKED_BYTES} bytes"))
        }
        Ok(_) => Ok(Bytes::from(unpacked)),
    }
}
