//! Instants of events, and the clock and ids that are injected wherever time or chance is needed.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// An instant, in microseconds since 1970-01-01T00:00:00Z, between the years −9999 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// -009999-01-02T01:59:59Z, the first instant that the calendar library can show.
    pub const MIN: Self = Self(-377_705_023_201_000_000);
    /// 9999-12-30T22:00:00.999999Z, the last one.
    pub const MAX: Self = Self(253_402_207_200_999_999);
    pub const EPOCH: Self = Self(0);

    /// An instant from microseconds since the epoch; what lies outside the calendar is clamped to its ends.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this instant; nothing when `earlier` is the later one.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0).try_into().unwrap_or(0)
    }

    /// Reads RFC 3339 (`2026-11-21T17:00:00Z`, any offset, any number of decimals; finer than microseconds is cut off).
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(fast) = parse_canonical(text.as_bytes()) {
            return Ok(fast);
        }
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Self::from_micros(instant.as_microsecond())),
            Err(error) => Err(Error::invalid(format!(
                "not a timestamp: value={text:?} expected=RFC 3339 such as 2026-11-21T17:00:00Z ({error})"
            ))),
        }
    }

    /// The day in UTC, `2026-11-21`.
    pub fn date(self) -> String {
        self.to_string().split('T').next().unwrap_or_default().to_owned()
    }
}

/// The canonical form, `2026-11-21T17:00:00.000000Z`: of one length within years 0 to 9999, so that text sorts as time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By seconds and nanoseconds: by microseconds the calendar library does not take the last of its own.
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let nanos = i32::try_from(micros * 1_000).map_err(|_| fmt::Error)?;
        let instant = jiff::Timestamp::new(seconds, nanos).map_err(|_| fmt::Error)?;
        let civil = TimeZone::UTC.to_datetime(instant);
        let (year, micros) = (civil.year(), civil.subsec_nanosecond() / 1_000);
        if year < 0 {
            f.write_str("-00")?;
        }
        write!(f, "{:04}-{:02}-{:02}T", year.unsigned_abs(), civil.month(), civil.day())?;
        write!(f, "{:02}:{:02}:{:02}.{micros:06}Z", civil.hour(), civil.minute(), civil.second())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp in RFC 3339")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Reads exactly the canonical form, which is what stores hold; everything else goes the general way.
fn parse_canonical(text: &[u8]) -> Option<Timestamp> {
    if text.len() != 27 || text[26] != b'Z' || text[10] != b'T' || text[19] != b'.' {
        return None;
    }
    let separated = text[4] == b'-' && text[7] == b'-' && text[13] == b':' && text[16] == b':';
    if !separated {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, micros) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?);
    let plausible = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    if !plausible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp::from_micros(seconds * 1_000_000 + micros))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, by counting in 400-year eras that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Where the time comes from. Clocks decide lateness and lag, never safety.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Where ids that must not repeat come from.
pub trait Ids: Send + Sync {
    /// A text that no other call, here or on another machine, has returned.
    fn unique(&self) -> String;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_canonical_form_is_read_as_the_calendar_library_reads_it() {
        for text in
            ["1970-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z", "0001-03-01T12:00:00.000001Z"]
        {
            let library: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(parse_canonical(text.as_bytes()).unwrap().micros(), library.as_microsecond());
        }
        assert_eq!(parse_canonical(b"2023-02-29T00:00:00.000000Z"), None);
    }

    #[test]
    fn the_ends_of_the_calendar_can_be_shown() {
        assert!(Timestamp::MIN.to_string().starts_with("-009999-01-02T"));
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-30T22:00:00.999999Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn what_is_shown_is_read_back(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let instant = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::parse(&instant.to_string()).unwrap(), instant);
        }
    }
}
