use foldstream_model::{Decimal, Timestamp, Value};

/// What times of records may look like, for messages.
pub const INSTANT: &str = "a time such as 2026-11-21T17:00:00Z, or a number since 1970";

/// The instant that a field of a record holds, if it is one.
///
/// A text is RFC 3339, in UTC if it has no offset. A number, or its digits as text, counts from 1970: seconds,
/// milliseconds, microseconds or nanoseconds, told apart by their size, which does from 1973 until the year
/// 5138. What is finer than microseconds is rounded.
pub fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => since_1970(number),
        Value::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = text.find('.').unwrap_or(text.len());
            // A year, or a day without its dashes, is no count of anything.
            let number = if digits >= 10 { text.parse::<Decimal>().ok() } else { None };
            match number {
                Some(number) => since_1970(&number),
                None => Timestamp::parse(text).or_else(|_| Timestamp::parse(&format!("{text}Z"))).ok(),
            }
        }
        _ => None,
    }
}

fn since_1970(number: &Decimal) -> Option<Timestamp> {
    let whole = number.divide_rounded(&Decimal::ONE, 0).ok()?.to_i64()?;
    let (factor, divisor): (i64, i64) = match whole.unsigned_abs() {
        0..100_000_000_000 => (1_000_000, 1),
        100_000_000_000..100_000_000_000_000 => (1_000, 1),
        100_000_000_000_000..100_000_000_000_000_000 => (1, 1),
        _ => (1, 1_000),
    };
    let micros = number.checked_mul(&Decimal::from(factor)).ok()?;
    let micros = micros.divide_rounded(&Decimal::from(divisor), 0).ok()?.to_i64()?;
    Some(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<String> {
        instant(&Value::parse(json.as_bytes()).unwrap()).map(|instant| instant.to_string())
    }

    #[test]
    fn an_instant_is_rfc_3339_or_a_number_whose_size_tells_its_unit() {
        let same = [
            "\"2026-01-01T00:00:00.5Z\"",
            "\"2026-01-01T01:00:00.5+01:00\"",
            "\"2026-01-01T00:00:00.5\"",
            "\"2026-01-01 00:00:00.5\"",
            "1767225600.5",
            "\"1767225600.5\"",
            "1767225600500",
            "\"1767225600500\"",
            "1767225600500000",
            "1767225600500000123",
        ];
        for json in same {
            assert_eq!(read(json).as_deref(), Some("2026-01-01T00:00:00.500000Z"), "{json}");
        }
        assert_eq!(read("0").as_deref(), Some("1970-01-01T00:00:00.000000Z"));
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for json in
            ["\"2026\"", "\"20260101\"", "\"\"", "\"soon\"", "1e30", "true", "null", "[]", "\"1767225600x\""]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
