//! Where partition keys fall among the 128-bit hash keys.

use foldstream_model::HashKeyRange;
use md5::{Digest, Md5};

pub(crate) fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// All hash keys, cut into `shards` ranges whose sizes differ by at most one.
pub(super) fn even_ranges(shards: u32) -> Vec<HashKeyRange> {
    let count = u128::from(shards.max(1));
    // There are 2^128 keys, one more than a u128 can hold.
    let (size, larger) = match (u128::MAX / count, u128::MAX % count) {
        (quotient, remainder) if remainder == count - 1 => (quotient.wrapping_add(1), 0),
        (quotient, remainder) => (quotient, remainder + 1),
    };
    let mut first = 0u128;
    let mut ranges = Vec::new();
    for index in 0..count {
        let last = first.wrapping_add(size).wrapping_sub(u128::from(index >= larger));
        ranges.push(HashKeyRange { first, last });
        first = last.wrapping_add(1);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_md5_as_a_big_endian_number() {
        // md5("user-1") by md5sum
        assert_eq!(format!("{:032x}", hash_key("user-1")), "d6d7705392bc7af633328bea8c4c6904");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn ranges_cover_every_key_once_and_evenly(shards in 1u32..300) {
            let ranges = even_ranges(shards);
            prop_assert_eq!(ranges.len(), shards as usize);
            prop_assert_eq!((ranges[0].first, ranges[ranges.len() - 1].last), (0, u128::MAX));
            let sizes: Vec<u128> = ranges.iter().map(|range| range.last - range.first).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        }
    }
}
