//! Where a record stands in its shard, and where an event enters documents.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Where a record stands in its shard: a number of any length (at least 1; Kinesis numbers have more than 128 bits and
/// no padding) and an index inside an aggregated record. Zero is before every record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    number: Number,
    index: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Number {
    Word(u128),
    /// Decimal digits without leading zeros, of a number that does not fit a word.
    Digits(Box<str>),
}

impl Position {
    pub const BEGINNING: Self = Self { number: Number::Word(0), index: 0 };

    pub fn new(number: u128) -> Self {
        Self { number: Number::Word(number), index: 0 }
    }

    /// The place of a sub-record inside the record at this number.
    #[must_use]
    pub fn with_index(mut self, index: u32) -> Self {
        self.index = index;
        self
    }

    /// The number without its index, if it fits 64 bits, as the embedded log's do.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.number {
            Number::Word(word) => (*word).try_into().ok(),
            Number::Digits(_) => None,
        }
    }

    /// The number's decimal digits, as the source gave them.
    pub fn number(&self) -> String {
        match &self.number {
            Number::Word(word) => word.to_string(),
            Number::Digits(digits) => digits.to_string(),
        }
    }

    pub fn index(&self) -> u32 {
        self.index
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Word(_), Self::Digits(_)) => Ordering::Less,
            (Self::Digits(_), Self::Word(_)) => Ordering::Greater,
            (Self::Digits(a), Self::Digits(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number).then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `123`, or `123.4` inside an aggregated record.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.number {
            Number::Word(word) => write!(f, "{word}")?,
            Number::Digits(digits) => f.write_str(digits)?,
        }
        if self.index > 0 { write!(f, ".{}", self.index) } else { Ok(()) }
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::invalid(format!("not a position: value={text:?} expected=a number such as 123 or 123.4"))
        };
        let (number, index) = match text.split_once('.') {
            Some((number, index)) => (number, index.parse().map_err(|_| refuse())?),
            None => (text, 0),
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let digits = number.trim_start_matches('0');
        let number = match digits {
            "" => Number::Word(0),
            _ => digits.parse().map(Number::Word).unwrap_or_else(|_| Number::Digits(digits.into())),
        };
        Ok(Self { number, index })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where an event enters documents: the record, or the journal's entry after a record, that released it, and which of
/// the events that were released there it is. A checkpoint is a place too, [`Place::end`] of all that was released there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub position: Position,
    /// 0 for the record itself, n for the nth entry that takes effect directly after it.
    pub entry: u32,
    /// The event's rank among all that this record or entry released; of what an entry lets come back, the event's sequence.
    /// `u64::MAX` is after the last.
    pub ordinal: u64,
}

impl Place {
    /// Before everything in a shard.
    pub const BEGINNING: Self = Self { position: Position::BEGINNING, entry: 0, ordinal: 0 };

    pub fn new(position: Position, entry: u32, ordinal: u64) -> Self {
        Self { position, entry, ordinal }
    }

    /// Whether all that the record released is before it.
    pub fn is_past_record(&self) -> bool {
        self.entry > 0 || self.ordinal == u64::MAX
    }

    /// Behind all that the record or entry released.
    pub fn end(position: Position, entry: u32) -> Self {
        Self { position, entry, ordinal: u64::MAX }
    }
}

/// `position/entry/ordinal`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.position, self.entry, self.ordinal)
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse =
            || Error::invalid(format!("not a place: value={text:?} expected=position/entry/ordinal"));
        let mut parts = text.split('/');
        let (Some(position), Some(entry), Some(ordinal), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        Ok(Self {
            position: position.parse()?,
            entry: entry.parse().map_err(|_| refuse())?,
            ordinal: ordinal.parse().map_err(|_| refuse())?,
        })
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digits() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{1,4}", "0{0,3}[0-9]{1,60}", "[1-9][0-9]{37,56}"]
    }

    /// Compares decimal texts as a person would: pad to one length, then letter by letter.
    fn naive(a: &str, b: &str) -> Ordering {
        let width = a.len().max(b.len());
        format!("{a:0>width$}").cmp(&format!("{b:0>width$}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn positions_compare_as_numbers_of_any_length(a in digits(), b in digits(), i in 0u32..3, j in 0u32..3) {
            let left: Position = a.parse::<Position>().unwrap().with_index(i);
            let right: Position = b.parse::<Position>().unwrap().with_index(j);
            prop_assert_eq!(left.cmp(&right), naive(&a, &b).then(i.cmp(&j)));
            prop_assert_eq!(left == right, left.cmp(&right) == Ordering::Equal);
        }

        #[test]
        fn positions_and_places_are_read_back(a in digits(), index in 0u32..9, entry: u32, ordinal: u64) {
            let position = a.parse::<Position>().unwrap().with_index(index);
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position.clone());
            let place = Place::new(position, entry, ordinal);
            prop_assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-1", "1e3", "1.x", "١"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
