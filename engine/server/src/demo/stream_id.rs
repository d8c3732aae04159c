//! Stream ids of file paths: `file/src/main.rs`.
//!
//! A path is any bytes without NUL; a stream id becomes a key in stores that take 512 bytes (OpenSearch) to 2,048
//! (DynamoDB), and that may treat letters beyond ASCII as equal when they look equal. So:
//!
//! - letters and digits of ASCII and `/ . - _ + @ , =` stand for themselves, every other byte is `%` and two upper-case
//!   hex digits;
//! - an id that would be longer than [`LONGEST`] bytes is cut, not inside of such a triple, and ends with `~` and the
//!   SHA-256 of the whole path in hex. `~` is not plain, so no short id looks like a long one.
//!
//! Different paths therefore have different ids: for short ones by the encoding, for long ones as surely as SHA-256.

use std::fmt::Write as _;

use foldstream_model::StreamId;
use sha2::{Digest, Sha256};

/// The longest stream id in bytes.
pub const LONGEST: usize = 512;

/// The stream with one event per commit.
pub const HISTORY: &str = "history";

const PREFIX: &str = "file/";

/// The hash of a long path: `~` and 64 hex digits.
const HASH_LENGTH: usize = 65;

/// The stream of a file path.
pub fn of_path(path: &[u8]) -> StreamId {
    let mut id = String::with_capacity(PREFIX.len() + path.len());
    id.push_str(PREFIX);
    let mut cut = None;
    for byte in path {
        let before = id.len();
        encode(*byte, &mut id);
        if cut.is_none() && id.len() > LONGEST - HASH_LENGTH {
            cut = Some(before);
        }
        if id.len() > LONGEST {
            return StreamId::new(hashed(id, cut.unwrap_or(before), path));
        }
    }
    StreamId::new(id)
}

fn encode(byte: u8, id: &mut String) {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => id.push(char::from(byte)),
        b'/' | b'.' | b'-' | b'_' | b'+' | b'@' | b',' | b'=' => id.push(char::from(byte)),
        _ => push_hex(byte, '%', id),
    }
}

fn push_hex(byte: u8, mark: char, id: &mut String) {
    id.push(mark);
    write!(id, "{byte:02X}").expect("writing to a string cannot fail");
}

fn hashed(mut id: String, cut: usize, path: &[u8]) -> String {
    id.truncate(cut);
    id.push('~');
    for byte in Sha256::digest(path) {
        write!(id, "{byte:02x}").expect("writing to a string cannot fail");
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Reads a short id back, by the rules of the encoding and not by its code.
    fn decode(id: &str) -> Option<Vec<u8>> {
        let mut rest = id.strip_prefix("file/")?.as_bytes();
        let mut path = Vec::new();
        while let Some((first, tail)) = rest.split_first() {
            match first {
                b'~' => return None,
                b'%' => {
                    path.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                    rest = &tail[2..];
                }
                plain => {
                    path.push(*plain);
                    rest = tail;
                }
            }
        }
        Some(path)
    }

    /// Paths that differ little, so that an encoding that loses anything makes two equal.
    fn path() -> impl Strategy<Value = Vec<u8>> {
        let alphabet = prop::sample::select(b"aA%~/2F7e \n\"\xc3\xa9\xff.".to_vec());
        prop_oneof![
            4 => prop::collection::vec(alphabet.clone(), 1..8),
            1 => prop::collection::vec(1u8..=255, 1..40),
            1 => (430usize..520, prop::collection::vec(alphabet, 0..4)).prop_map(|(length, tail)| {
                [vec![b'x'; length], tail].concat()
            }),
        ]
    }

    #[test]
    fn plain_paths_are_readable() {
        assert_eq!(of_path(b"src/main.rs").as_str(), "file/src/main.rs");
        assert_eq!(of_path(b"-n/a b%/\xff\n~").as_str(), "file/-n/a%20b%25/%FF%0A%7E");
    }

    #[test]
    fn the_longest_plain_id_stays_plain_and_the_next_one_is_hashed() {
        let longest = of_path(&vec![b'x'; LONGEST - PREFIX.len()]);
        assert_eq!((longest.as_str().len(), longest.as_str().contains('~')), (LONGEST, false));
        let hashed = of_path(&vec![b'x'; LONGEST - PREFIX.len() + 1]);
        assert_eq!((hashed.as_str().len(), hashed.as_str().contains('~')), (LONGEST, true));
    }

    #[test]
    fn a_long_id_is_not_cut_inside_of_a_triple() {
        for shift in 0..3 {
            let path = [vec![b'x'; shift], vec![0xff; 300]].concat();
            let id = of_path(&path);
            let (head, hash) = id.as_str().split_once('~').unwrap();
            assert_eq!(hash.len(), 64);
            assert!(id.as_str().len() <= LONGEST);
            assert!(head.ends_with("%FF"), "{head}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn an_id_is_ascii_short_and_short_ones_are_read_back(path in path()) {
            let id = of_path(&path);
            prop_assert!(id.as_str().len() <= LONGEST);
            prop_assert!(id.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            if let Some(decoded) = decode(id.as_str()) {
                prop_assert_eq!(decoded, path);
            } else {
                prop_assert!(id.as_str().len() > LONGEST - 3);
            }
        }

        #[test]
        fn different_paths_have_different_ids(paths in prop::collection::vec(path(), 2..60)) {
            let mut seen = BTreeMap::new();
            for path in paths {
                let other = seen.insert(of_path(&path), path.clone());
                prop_assert!(other.is_none_or(|other| other == path));
            }
        }
    }
}
