//! Numbers from text and to text.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;

use super::{Decimal, NumberError, Repr};

/// Digits that surely fit an `i64`.
const FAST_DIGITS: usize = 18;

/// The parts of a JSON number.
struct Parts<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl Decimal {
    /// Reads a number as JSON writes it (`-12`, `4.50`, `1e-7`), keeping every digit.
    pub fn parse(text: &[u8]) -> Result<Decimal, NumberError> {
        if let Some(integer) = short_integer(text) {
            return Ok(Decimal::from(integer));
        }
        let parts = Parts::read(text).ok_or_else(|| {
            NumberError::NotANumber(String::from_utf8_lossy(text).chars().take(80).collect())
        })?;
        parts.into_decimal()
    }
}

/// An integer of few digits, the usual case: one pass, no splitting into parts.
fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > FAST_DIGITS || (digits.len() > 1 && digits.first() == Some(&b'0'))
    {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

impl<'a> Parts<'a> {
    fn read(text: &'a [u8]) -> Option<Parts<'a>> {
        let (negative, rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let (integer, rest) = digits(rest)?;
        if integer.len() > 1 && integer.first() == Some(&b'0') {
            return None;
        }
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => digits(rest)?,
            _ => (&b""[..], rest),
        };
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => read_exponent(rest)?,
            Some(_) => return None,
        };
        Some(Parts { negative, integer, fraction, exponent })
    }

    fn into_decimal(self) -> Result<Decimal, NumberError> {
        let leading = self.integer.iter().chain(self.fraction).take_while(|digit| **digit == b'0').count();
        let digits = self.integer.len() + self.fraction.len();
        let exponent = self.exponent.saturating_sub(i32::try_from(self.fraction.len()).unwrap_or(i32::MAX));
        let significant = self.integer.iter().chain(self.fraction).skip(leading).copied();
        if leading == digits {
            return Ok(Decimal::ZERO);
        }
        if digits - leading <= FAST_DIGITS && (-255..=0).contains(&exponent) {
            let value = significant.fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
            let value = if self.negative { -value } else { value };
            return Decimal::from_i128(i128::from(value), exponent.unsigned_abs());
        }
        // Trailing zeros carry no information: a long text is judged by what remains.
        let mut significant: Vec<u8> = significant.collect();
        let length = significant.len();
        while significant.last() == Some(&b'0') {
            significant.pop();
        }
        let exponent = exponent.saturating_add((length - significant.len()) as i32);
        if significant.len() as u64 > Decimal::WORKING_DIGITS {
            return Err(NumberError::TooWide);
        }
        let coefficient = BigInt::parse_bytes(&significant, 10).ok_or(NumberError::TooWide)?;
        Decimal::from_big(if self.negative { -coefficient } else { coefficient }, exponent)
    }
}

/// At least one digit, and what follows.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 { None } else { text.split_at_checked(length) }
}

/// An exponent to the end of the text; one too large for an `i32` is as good as the largest.
fn read_exponent(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => (1, text),
    };
    let (digits, rest) = digits(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let value = digits
        .iter()
        .fold(0_i32, |value, digit| value.saturating_mul(10).saturating_add((digit - b'0').into()));
    Some(sign * value)
}

impl FromStr for Decimal {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Decimal::parse(text.as_bytes())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Repr::Small { coefficient, scale: 0 } = self.0 {
            return write!(f, "{coefficient}");
        }
        let (coefficient, exponent) = self.to_big();
        let digits = coefficient.magnitude().to_str_radix(10);
        if self.is_negative() {
            f.write_str("-")?;
        }
        let scientific = exponent + digits.len() as i32 - 1;
        if !(-7..38).contains(&scientific) {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            return write!(f, "{first}{point}{rest}e{scientific}");
        }
        if exponent >= 0 {
            return write!(f, "{digits}{:0<1$}", "", exponent.unsigned_abs() as usize);
        }
        let places = exponent.unsigned_abs() as usize;
        match digits.len().checked_sub(places) {
            Some(integer) if integer > 0 => write!(f, "{}.{}", &digits[..integer], &digits[integer..]),
            _ => write!(f, "0.{digits:0>places$}"),
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
