//! The keys of parked events: texts whose bytes sort as the documents and the orders do, whatever these hold.
//!
//! `!` stands before a character that is not above it; so a space, which is none of what is left, ends a name and sorts
//! before all that could follow in it.

use std::fmt::Write as _;

use foldstream_model::{DocumentKey, Lot, ParkedOrder};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A name that is longer is cut. With it a key is within DynamoDB's 1024 bytes, and so is an order whose position has up
/// to a hundred digits.
const MAX_NAME_BYTES: usize = 800;
/// Stands between what is left of a name that was cut and the hash of the whole.
const CUT: &str = " ~";
/// Rows that share the number of events in a lot, so that few transactions meet at one.
const TOTALS: u64 = 64;

/// `parked-documents/{lot}`: a row for each document.
pub(super) fn documents(lot: &Lot) -> String {
    format!("parked-documents/{}", lot.row_name())
}

/// `parked-totals/{lot}`: how many events wait in the lot, by the hash of their document.
pub(super) fn totals(lot: &Lot) -> String {
    format!("parked-totals/{}", lot.row_name())
}

/// `parked-pieces/{lot}`: what of events is too large for a row.
pub(super) fn pieces(lot: &Lot) -> String {
    format!("parked-pieces/{}", lot.row_name())
}

/// `parked/{lot} {document}`: a row for each event of a document, by its name as [`document`] gives it.
pub(super) fn events(lot: &Lot, document: &str) -> String {
    format!("parked/{} {document}", plain(&lot.row_name()))
}

/// A document's name in keys.
pub(super) fn document(key: &DocumentKey) -> String {
    name(key.as_str())
}

pub(super) fn total(document: &str) -> String {
    format!("{:02}", xxh3_64(document.as_bytes()) % TOTALS)
}

/// An event's place among those of its document. Orders whose streams were cut to the same name, at one instant, are not
/// told apart by it: [`tie`].
pub(super) fn order(order: &ParkedOrder) -> String {
    let mut text = String::with_capacity(192);
    match &order.key {
        None => text.push('0'),
        Some(key) => {
            // The lowest instant is the lowest number without a sign.
            let recorded_at = key.recorded_at.micros() as u64 ^ (1 << 63);
            let stream = name(key.stream.as_str());
            let _ = write!(text, "1{recorded_at:016x}{stream} {:016x}", key.sequence.0);
        }
    }
    let place = &order.place;
    let number = place.position.number();
    let _ = write!(text, "{:08x}{:04x}{number}", order.shard.0, number.len());
    let _ = write!(text, "{:08x}{:08x}{:016x}", place.position.index(), place.entry, place.ordinal);
    text
}

/// What the keys of all orders begin with that this one is not told apart from: what follows in them is in the order of
/// hashes. None: the key says all.
pub(super) fn tie(order: &str) -> Option<&str> {
    order.find(CUT).map(|at| &order[..at + CUT.len()])
}

fn name(text: &str) -> String {
    let mut name = plain(text);
    if name.len() > MAX_NAME_BYTES {
        name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
        let _ = write!(name, "{CUT}{:032x}", xxh3_128(text.as_bytes()));
    }
    name
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(low @ ..=b'!') => plain.extend(['!', char::from(low + b'"')]),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use foldstream_model::{
        Epoch, OrderKey, Place, Position, ProjectionId, Sequence, ShardNumber, StreamId, Timestamp,
    };
    use proptest::prelude::*;

    use super::*;

    fn orders() -> impl Strategy<Value = ParkedOrder> {
        let key =
            (-2i64..3, "[a\u{0}\u{1} !\"~é]{0,3}", 0u64..3).prop_map(|(at, stream, sequence)| OrderKey {
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
        fn keys_sort_as_orders_do(a in orders(), b in orders()) {
            prop_assert_eq!(order(&a).cmp(&order(&b)), a.cmp(&b));
            prop_assert!(tie(&order(&a)).is_none());
        }

        #[test]
        fn names_sort_as_documents_do(a in "[a\u{0}\u{1} !\"#~é]{0,4}", b in "[a\u{0}\u{1} !\"#~é]{0,4}") {
            let (left, right) = (document(&DocumentKey::new(a.as_str())), document(&DocumentKey::new(b.as_str())));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert!(left.bytes().all(|byte| byte > b' '), "{:?}", left);
        }
    }

    #[test]
    fn a_long_name_fits_and_differs_from_all_others() {
        let long = |end: &str| document(&DocumentKey::new(format!("{}{end}", "é".repeat(1_000))));
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() <= 1_024 && long("a").starts_with("éé"));
        assert!(document(&DocumentKey::new("é".repeat(399))) < long("a"));
    }

    #[test]
    fn orders_of_long_streams_at_one_instant_tie() {
        let of = |at: i64, end: &str| {
            order(&ParkedOrder {
                key: Some(OrderKey {
                    recorded_at: Timestamp::from_micros(at),
                    stream: StreamId::new(format!("{}{end}", "s".repeat(2_000))),
                    sequence: Sequence(u64::MAX),
                }),
                shard: ShardNumber(u32::MAX),
                place: Place::end(
                    "9".repeat(100).parse::<Position>().unwrap().with_index(u32::MAX),
                    u32::MAX,
                ),
            })
        };
        assert_eq!(tie(&of(1, "a")), tie(&of(1, "b")));
        assert_ne!(tie(&of(1, "a")), tie(&of(2, "a")));
        assert!(tie(&of(2, "a")) > Some(of(1, "b").as_str()) && of(1, "a").len() <= 1_024);
    }

    #[test]
    fn no_document_of_one_lot_is_one_of_another() {
        let id = ProjectionId::new("orders", 3);
        let (documents, streams) = (Lot::of_documents(&id, Epoch(0)), Lot::of_streams(&id, Epoch(0)));
        let of = |lot: &Lot, key: &str| events(lot, &document(&DocumentKey::new(key)));
        assert_ne!(of(&documents, "streams/x"), of(&streams, "x"));
        assert_ne!(of(&documents, "/streams x"), of(&streams, "x"));
    }
}
